// What the page does in the browser alone: film controls, paste and drop, sorting.
// Listeners sit on the document, because Gradio replaces the parts of the page at each answer.
(() => {
  const DEFAULTS = { "--strength": "0.4", "--brightness": "1", "--contrast": "1", "--zoom": "1" };
  const shown = (selector) =>
    [...document.querySelectorAll(selector)].find((element) => element.offsetParent !== null);

  // === Film ===
  const zoom = (stage, factor) => {
    // Keep the middle of the view where it is.
    const before = stage.scrollWidth;
    const x = stage.scrollLeft + stage.clientWidth / 2;
    const y = stage.scrollTop + stage.clientHeight / 2;
    stage.style.setProperty("--zoom", factor);
    const grown = stage.scrollWidth / before;
    stage.scrollLeft = x * grown - stage.clientWidth / 2;
    stage.scrollTop = y * grown - stage.clientHeight / 2;
  };

  const apply = (viewer, input) => {
    const name = input.dataset.set;
    const value = input.type === "checkbox" ? Number(input.checked) : input.value;
    const stage = viewer.querySelector(".stage");
    if (name === "--zoom") zoom(stage, value);
    else stage.style.setProperty(name, value);
  };

  document.addEventListener("input", (event) => {
    const viewer = event.target.closest?.(".viewer");
    if (!viewer) return;
    if (event.target.dataset.set) apply(viewer, event.target);
    if (event.target.name === "overlay")
      viewer.querySelectorAll(".layer").forEach((layer) => {
        layer.hidden = layer.dataset.class !== event.target.value;
      });
  });

  document.addEventListener("click", (event) => {
    const viewer = event.target.closest?.(".viewer");
    if (!viewer || !event.target.closest("[data-reset]")) return;
    viewer.querySelectorAll("[data-set]").forEach((input) => {
      if (input.type === "checkbox") input.checked = false;
      else input.value = DEFAULTS[input.dataset.set];
      apply(viewer, input);
    });
  });

  let grip = null;
  document.addEventListener("pointerdown", (event) => {
    const stage = event.target.closest?.(".stage");
    if (!stage || event.pointerType !== "mouse" || event.button !== 0) return;
    grip = { stage, x: event.clientX + stage.scrollLeft, y: event.clientY + stage.scrollTop };
  });
  document.addEventListener("pointermove", (event) => {
    if (!grip) return;
    grip.stage.scrollLeft = grip.x - event.clientX;
    grip.stage.scrollTop = grip.y - event.clientY;
  });
  document.addEventListener("pointerup", () => (grip = null));

  // === Paste, and drop anywhere on the page ===
  const send = (files) => {
    const input = shown("#upload, #upload-many")?.querySelector("input[type=file]");
    if (!input || !files.length) return;
    const transfer = new DataTransfer();
    for (const file of input.multiple ? files : [...files].slice(0, 1)) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) send(event.clipboardData.files);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (event.defaultPrevented) return; // Gradio's own upload area took it.
    event.preventDefault();
    send(event.dataTransfer?.files ?? []);
  });

  // === Bring the answer into view; app.py calls this after each one ===
  window.showAnswer = () => {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const panel = document.getElementById("panel");
    panel.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
  };

  // === Table ===
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-sort]");
    if (!button) return;
    const heading = button.closest("th");
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    const body = heading.closest("table").tBodies[0];
    const value = (row) => row.cells[heading.cellIndex].dataset.value;
    const order =
      button.dataset.sort === "number"
        ? (a, b) => value(a) - value(b)
        : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
    heading.parentNode.querySelectorAll("[aria-sort]").forEach((other) =>
      other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    body.append(...[...body.rows].sort((a, b) => (rising ? order(a, b) : order(b, a))));
  });

  // === Screen readers ===
  document.documentElement.lang = navigator.language.startsWith("fr") ? "fr" : "en";
  new MutationObserver(() => {
    const panel = document.getElementById("panel");
    if (panel && !panel.hasAttribute("aria-live")) panel.setAttribute("aria-live", "polite");
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
