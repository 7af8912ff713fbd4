// Runs before Gradio: all words of the page, Gradio's own too, are in one language.
(() => {
  const asked = new URLSearchParams(location.search).get("lang") || navigator.language || "";
  const language = asked.toLowerCase().startsWith("fr") ? "fr" : "en";
  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });
  document.documentElement.lang = language;
})();
