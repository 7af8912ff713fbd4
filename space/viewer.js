// A viewer of radiographs: window and level, zoom, heatmap with its legend, keys, cover, export.
// A plain module that knows no server: whoever has an image and an answer calls `show`.
//
// image: { width, height, values, size, window, unit, maps: { side: [rows, columns], of: { class:
//          bytes } }, top, mapShown, names: { class: shown name }, lines: [text for the export] }
// values: grey levels (Uint8Array), or what the file stores (Uint16Array) with window: [low, high]
// of it as the model saw it, and unit: [value at 0, value at 65535]. size: of the file.

// Black body colours: order is seen without hue, also by people who do not tell red from green.
const STOPS = [[60, 0, 60], [180, 20, 60], [245, 110, 30], [255, 215, 110]];
const MAP_SIDE = 224;
const MAX_ZOOM = 8;
const slider = (set, min, max, step) => `<label class="slider"><span data-t="${set}"></span>
  <input type="range" data-set="${set}" min="${min}" max="${max}" step="${step}"></label>`;
const toggle = (name) => `<label class="toggle"><input type="checkbox" data-set="${name}">
  <span data-t="${name}"></span></label>`;
const button = (name) => `<button type="button" data-do="${name}" data-t="${name}"></button>`;
const LAYOUT = `<section class="viewer">
  <div class="stage" tabindex="0" role="application">
    <div class="film"><canvas class="base" role="img"></canvas></div>
    <p class="readout" aria-hidden="true"></p>
  </div>
  <fieldset class="controls overlay"><legend data-t="overlay"></legend>
    <div class="choices"></div>
    ${slider("strength", 0, 1, 0.05)}
    <div class="legend" aria-hidden="true"><span data-t="legend_low"></span><i></i>
      <span data-t="legend_high"></span></div>
    <p class="hint" data-t="overlay_note"></p>
  </fieldset>
  <fieldset class="controls image"><legend data-t="image_controls"></legend>
    ${slider("brightness", -1, 1, 0.02)}
    ${slider("contrast", -2, 4, 0.05)}
    ${slider("zoom", 1, MAX_ZOOM, 0.25)}
    <div class="buttons">${["invert", "cover"].map(toggle).join("")}
      ${["reset", "ask", "save", "compare", "remove"].map(button).join("")}</div>
    <details class="hint"><summary data-t="help"></summary><p data-t="help_text"></p></details>
  </fieldset>
</section>`;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Colour and opacity (0..255) of a heatmap's value, 0..1. */
export const colour = (value) => {
  const place = value * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  const mixed = STOPS[low].map((c, i) => c + (STOPS[low + 1][i] - c) * (place - low));
  return [...mixed, 255 * Math.min(1, value * 1.5)];
};

const cubic = (a, b, c, d, t) =>
  b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));

/** A heatmap's coarse grid (bytes) as a smooth picture in colour. */
export const paintMap = (grid, [rows, columns]) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = MAP_SIDE;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(MAP_SIDE, MAP_SIDE);
  const at = (row, column) =>
    grid[clamp(row, 0, rows - 1) * columns + clamp(column, 0, columns - 1)] / 255;
  for (let y = 0; y < MAP_SIDE; y++) {
    const v = ((y + 0.5) * rows) / MAP_SIDE - 0.5, row = Math.floor(v);
    for (let x = 0; x < MAP_SIDE; x++) {
      const u = ((x + 0.5) * columns) / MAP_SIDE - 0.5, column = Math.floor(u);
      const lines = [-1, 0, 1, 2].map((i) => cubic(
        ...[-1, 0, 1, 2].map((j) => at(row + i, column + j)), u - column));
      picture.data.set(colour(clamp(cubic(...lines, v - row), 0, 1)), 4 * (y * MAP_SIDE + x));
    }
  }
  context.putImageData(picture, 0, 0);
  return canvas;
};

export class Viewer {
  /**
   * @param root an empty element, which the viewer fills while there is an image.
   * @param texts its words by key.
   * @param on what the page does: ask({ width, height, luminance }, covered), remove(), compare(),
   *   view(state); all optional.
   */
  constructor(root, texts, on = {}) {
    Object.assign(this, { root, texts, on, image: null, pointers: new Map() });
    root.innerHTML = LAYOUT;
    this.find = (selector) => root.querySelector(selector);
    root.querySelectorAll("[data-t]").forEach((e) => (e.textContent = texts[e.dataset.t]));
    const stops = STOPS.map((c) => `rgb(${c})`);
    this.find(".legend i").style.background = `linear-gradient(to right, ${stops})`;
    this.section = this.find(".viewer");
    this.stage = this.find(".stage");
    this.stage.setAttribute("aria-label", texts.stage);
    this.film = this.find(".film");
    this.canvas = this.find(".base");
    for (const name of ["compare", "ask", "remove"])
      if (!on[name]) this.find(`[data-do=${name}]`).remove();
    if (!on.ask) this.find("[data-set=cover]").parentNode.remove();
    this.listen();
    this.clear();
  }

  /** No image. */
  clear() {
    this.wait();
    this.section.hidden = true;
    this.find(".overlay").hidden = false;
  }

  /** An empty stage: an image is on its way. */
  wait() {
    this.image = null;
    this.canvas.width = this.canvas.height = 0;
    this.film.querySelectorAll(".layer").forEach((layer) => layer.remove());
    this.section.hidden = false;
    this.section.classList.add("waiting");
    this.find(".readout").textContent = "";
  }

  /** Show an image; nothing of the one before is kept. */
  show(image) {
    const { values, width: columns, height: rows } = image;
    Object.assign(this, { image, values, covers: [], range: values.BYTES_PER_ELEMENT > 1 ? 65535 : 255 });
    this.first = image.window || [0, this.range];
    this.canvas.width = this.width = columns;
    this.canvas.height = this.height = rows;
    this.picture = this.canvas.getContext("2d").createImageData(this.width, this.height);
    const [width, height] = image.size;
    this.canvas.setAttribute("aria-label",
      this.texts.image_alt.replace("{width}", width).replace("{height}", height));
    this.stage.style.setProperty("--ratio", width / height);
    this.section.hidden = false;
    this.section.classList.remove("waiting");
    this.setMaps(image.maps, image.mapShown ? image.top : "");
    this.reset();
  }

  /** Offer these heatmaps, and show that of one class, or none ("). */
  setMaps(maps, shown = "") {
    this.film.querySelectorAll(".layer").forEach((layer) => layer.remove());
    const choices = this.find(".choices");
    choices.textContent = "";
    this.find(".overlay").hidden = !Object.keys(maps.of).length;
    for (const name of ["", ...Object.keys(maps.of)]) {
      const [label, input, text] = ["label", "input", "span"].map((e) => document.createElement(e));
      Object.assign(input, { type: "radio", name: `overlay-${this.root.id}`, value: name });
      text.textContent = name ? this.image?.names?.[name] ?? name : this.texts.overlay_off;
      label.append(input, text);
      choices.append(label);
      if (!name) continue;
      const layer = paintMap(maps.of[name], maps.side);
      layer.className = "layer";
      layer.dataset.class = name;
      this.film.append(layer);
    }
    this.showMap(shown);
  }

  showMap(name) {
    this.map = name;
    this.film.querySelectorAll(".layer").forEach((x) => (x.hidden = x.dataset.class !== name));
    this.root.querySelectorAll(".choices input").forEach((x) => (x.checked = x.value === name));
    this.find(".legend").classList.toggle("off", !name);
  }

  /** The window as the model saw it, the whole image, nothing covered. */
  reset() {
    this.covers = [];
    const cover = this.find("[data-set=cover]");
    if (cover) cover.checked = false;
    this.set({ low: this.first[0], high: this.first[1], zoom: 1, x: 0, y: 0, strength: 0.4,
      invert: false });
  }

  /** Change some of the state; x and y are pixels of the page. */
  set(change, silent = false) {
    const state = (this.state = { ...this.state, ...change });
    state.zoom = clamp(state.zoom, 1, MAX_ZOOM);
    const { offsetWidth: width, offsetHeight: height } = this.film;
    const spare = state.zoom > 1 ? state.zoom / 2 : 0; // its middle stays within sight
    state.x = clamp(state.x, -spare * width, spare * width);
    state.y = clamp(state.y, -spare * height, spare * height);
    this.film.style.transform = `translate(${state.x}px, ${state.y}px) scale(${state.zoom})`;
    this.stage.style.setProperty("--strength", state.strength);
    this.stage.classList.toggle("zoomed", state.zoom > 1);
    const [middle, width0] = this.firstWindow;
    const shown = { ...state,
      brightness: (middle - (state.low + state.high) / 2) / (this.range / 2),
      contrast: Math.log2(width0 / (state.high - state.low)) };
    this.root.querySelectorAll("input[data-set]").forEach((input) => {
      const value = shown[input.dataset.set];
      if (input.dataset.set === "cover") return;
      if (input.type === "checkbox") input.checked = value;
      else if (Number(input.value) !== value) input.value = value;
    });
    const ask = this.find("[data-do=ask]");
    if (ask) ask.disabled = !this.changed;
    this.draw();
    if (!silent) this.on.view?.(state);
  }

  get firstWindow() {
    return [(this.first[0] + this.first[1]) / 2, this.first[1] - this.first[0]];
  }

  /** Whether the model would see something else than before. */
  get changed() {
    return this.covers.length > 0 || this.state.low !== this.first[0] ||
      this.state.high !== this.first[1];
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      if (!this.image) return;
      this.paint();
      const [from, to] = this.image.unit || [0, this.range];
      const unit = (value) => from + (value / this.range) * (to - from);
      const { low, high } = this.state;
      this.find(".readout").textContent =
        `W ${Math.round(Math.abs(unit(high) - unit(low)))} L ${Math.round(unit((low + high) / 2))}`;
    });
  }

  /** Grey levels of the image with its window and covers. */
  levels() {
    const { low, high } = this.state;
    const table = new Uint8ClampedArray(this.range + 1);
    for (let v = 0; v <= this.range; v++) table[v] = (255 * (v - low)) / (high - low);
    const out = new Uint8Array(this.values.length);
    let sum = 0;
    for (let i = 0; i < out.length; i++) sum += out[i] = table[this.values[i]];
    const grey = Math.round(sum / out.length); // Neither black nor white says anything.
    for (const [x, y, width, height] of this.covers) {
      const [left, right] = [x, x + width].map((share) => Math.round(share * this.width));
      const [top, bottom] = [y, y + height].map((share) => Math.round(share * this.height));
      for (let row = top; row < bottom; row++)
        out.fill(grey, row * this.width + left, row * this.width + right);
    }
    return out;
  }

  paint() {
    const out = new Uint32Array(this.picture.data.buffer);
    const flip = this.state.invert ? 0xffffff : 0;
    this.levels().forEach((grey, i) => (out[i] = 0xff000000 | ((grey * 0x010101) ^ flip)));
    this.canvas.getContext("2d").putImageData(this.picture, 0, 0);
  }

  ask() {
    const { width, height, covers } = this;
    this.on.ask({ width, height, luminance: this.levels() }, covers.length > 0);
  }

  /** All that is seen as one PNG. */
  export() {
    const line = 26, margin = 16;
    const scale = Math.max(1, 900 / this.width);
    const [width, height] = [this.width, this.height].map((side) => Math.round(side * scale));
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d");
    context.font = "18px system-ui, sans-serif";
    const lines = [];
    for (const text of this.image.lines) {
      let row = "";
      for (const word of text.split(" ")) {
        if (row && context.measureText(`${row} ${word}`).width > width - 2 * margin) {
          lines.push(row);
          row = word;
        } else row = row ? `${row} ${word}` : word;
      }
      lines.push(row);
    }
    canvas.width = width;
    canvas.height = height + lines.length * line + 2 * margin;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.canvas, 0, 0, width, height);
    const layer = this.map && this.film.querySelector(".layer:not([hidden])");
    if (layer) {
      context.globalAlpha = this.state.strength;
      context.drawImage(layer, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    context.fillStyle = "#14222a";
    lines.forEach((text, i) => {
      context.font = `${i ? "" : "bold "}18px system-ui, sans-serif`;
      context.fillText(text, margin, height + margin + (i + 0.75) * line);
    });
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  async save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await this.export());
    link.download = "aihealth.png";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  zoomAt(factor, event) {
    const box = this.stage.getBoundingClientRect();
    const { zoom, x, y } = this.state;
    const px = event ? event.clientX - box.left - box.width / 2 : 0;
    const py = event ? event.clientY - box.top - box.height / 2 : 0;
    const next = clamp(zoom * factor, 1, MAX_ZOOM);
    this.set({ zoom: next, x: px - ((px - x) * next) / zoom, y: py - ((py - y) * next) / zoom });
  }

  setWindow(middle, width) {
    const half = clamp(width, this.range / 255, 4 * this.range) / 2;
    const centre = clamp(middle, 0, this.range);
    this.set({ low: centre - half, high: centre + half });
  }

  listen() {
    const { root, stage } = this;
    const actions = { reset: () => this.reset(), ask: () => this.ask(), save: () => this.save(),
      remove: () => this.on.remove(), compare: () => this.on.compare() };
    root.addEventListener("click", ({ target }) => {
      actions[target.closest("[data-do]")?.dataset.do]?.();
    });
    root.addEventListener("input", ({ target }) => {
      if (target.type === "radio") return this.showMap(target.value);
      const name = target.dataset.set;
      const value = Number(target.value);
      const { low, high, zoom } = this.state;
      const [middle, width0] = this.firstWindow;
      if (name === "zoom") this.zoomAt(value / zoom);
      else if (name === "strength") this.set({ strength: value });
      else if (name === "invert") this.set({ invert: target.checked });
      else if (name === "brightness") this.setWindow(middle - value * (this.range / 2), high - low);
      else if (name === "contrast") this.setWindow((low + high) / 2, width0 / 2 ** value);
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(2 ** (-clamp(event.deltaY, -100, 100) / 250), event);
    }, { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dblclick", () => this.reset());
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"])
      stage.addEventListener(name, (event) => this.release(event));

    // Keys work while the viewer has the focus or the pointer.
    let hidden = null;
    document.addEventListener("keydown", (event) => {
      const here = root.contains(document.activeElement) || root.matches(":hover");
      if (!this.image || !here || event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = { "+": () => this.zoomAt(1.25),
        "-": () => this.zoomAt(0.8), i: () => this.set({ invert: !this.state.invert }),
        r: () => this.reset(), 0: () => this.set({ zoom: 1, x: 0, y: 0 }),
        h: () => { if (hidden === null) { hidden = this.map; this.showMap(""); } } };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    document.addEventListener("keyup", (event) => {
      if (event.key !== "h" || hidden === null) return;
      this.showMap(hidden);
      hidden = null;
    });
    new ResizeObserver(() => this.image && this.set({}, true)).observe(stage);
  }

  // === Pointer: left sets the window or covers; another button, or a second finger, pans ===

  press(event) {
    if (!this.image) return;
    if (event.button === 1) event.preventDefault(); // no scrolling by the browser
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const pans = event.button > 0 || this.pointers.size > 1;
    const covers = this.find("[data-set=cover]")?.checked;
    this.grip = { kind: pans ? "pan" : covers ? "cover" : "window", from: this.place(event),
      state: { ...this.state }, start: event, spread: this.spread() };
    if (this.grip.kind === "cover") this.covers = [...this.covers, [0, 0, 0, 0]];
  }

  drag(event) {
    if (!this.grip || !this.pointers.has(event.pointerId)) return;
    const last = this.pointers.get(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const { kind, state, start, from } = this.grip;
    if (kind === "pan") {
      const share = 1 / this.pointers.size; // Each of two fingers moves it by half.
      this.set({ x: this.state.x + (event.clientX - last.clientX) * share,
        y: this.state.y + (event.clientY - last.clientY) * share });
      if (this.pointers.size === 2) {
        const spread = this.spread();
        this.zoomAt(spread / this.grip.spread, this.centre());
        this.grip.spread = spread;
      }
    } else if (kind === "cover") {
      const to = this.place(event);
      const corner = [0, 1].map((i) => Math.min(from[i], to[i]));
      this.covers[this.covers.length - 1] = [...corner, ...[0, 1].map((i) => Math.abs(to[i] - from[i]))];
      this.draw();
    } else {
      const step = (state.high - state.low) / 300;
      const dx = event.clientX - start.clientX, dy = event.clientY - start.clientY;
      if (Math.hypot(dx, dy) < 3) return;
      this.setWindow((state.low + state.high) / 2 + dy * step,
        (state.high - state.low) * 2 ** (dx / 200));
    }
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    if (this.grip?.kind === "cover" && event.type === "pointerup") {
      this.covers = this.covers.filter(([, , width, height]) => width * height > 1e-4);
      this.set({});
      if (this.covers.length) this.ask();
    }
    this.grip = null;
  }

  place(event) {
    const box = this.film.getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width, 0, 1),
      clamp((event.clientY - box.top) / box.height, 0, 1)];
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return b ? Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1 : 1;
  }

  centre() {
    const all = [...this.pointers.values()];
    const mean = (name) => all.reduce((sum, p) => sum + p[name], 0) / all.length;
    return { clientX: mean("clientX"), clientY: mean("clientY") };
  }
}
