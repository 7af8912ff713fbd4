// Runs before Gradio is loaded, which then does the same: the scheme's colours from the first paint.
(() => {
  const theme = new URLSearchParams(location.search).get("__theme");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.body.classList.toggle("dark", theme === "dark" || (dark && theme !== "light"));
})();
