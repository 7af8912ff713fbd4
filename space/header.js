// Runs before Gradio is loaded: one language of the header stays, in the colours of the scheme.
(() => {
  document.querySelector(`.top:not([lang=${document.documentElement.lang}])`).remove();
  const theme = new URLSearchParams(location.search).get("__theme"); // as Gradio reads it
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.body.classList.toggle("dark", theme === "dark" || (dark && theme !== "light"));
})();
