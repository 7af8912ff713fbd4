// A viewer of radiographs: window and level, zoom, heatmap with its legend, keys, cover, export.
// It knows no server: whoever has an image and an answer calls `show`. Its parts and their words
// are in templates/viewer.html.
//
// image: { width, height, values, size, window, unit, maps: { side: [rows, columns], of: { class:
//          bytes } }, top, mapShown, names: { class: shown name }, lines: [text for the export] }
// values: grey levels (Uint8Array), or what the file stores (Uint16Array) with window: [low, high]
// of it as the model saw it, and unit: [value at 0, value at 65535]. size: of the file.

// Black body colours: order is seen without hue, also by people who do not tell red from green.
const STOPS = [[60, 0, 60], [180, 20, 60], [245, 110, 30], [255, 215, 110]];
const MAP_SIDE = 224;
const MAX_ZOOM = 8;

/** The element in a <template> of the page. */
export const copyOf = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

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

/** Draw grey levels on a canvas of their size; `flip`: 255 for the negative, else 0. */
export const drawGrey = (canvas, levels, flip = 0) => {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  levels.forEach((grey, i) => (pixels[i] = 0xff000000 | (0x010101 * (grey ^ flip))));
  context.putImageData(picture, 0, 0);
  return canvas;
};

export class Viewer {
  /**
   * @param root an empty element, which the viewer fills while there is an image.
   * @param on what the page does: ask({ width, height, luminance }, covered), remove(), compare(),
   *   view(state). style.css hides the buttons of those that a place lacks.
   */
  constructor(root, on = {}) {
    this.section = copyOf("viewer");
    Object.assign(this, { root, on, image: null, pointers: new Map() });
    root.append(this.section);
    this.find = (selector) => root.querySelector(selector);
    const stops = STOPS.map((c) => `rgb(${c})`);
    this.find(".legend i").style.background = `linear-gradient(to right, ${stops})`;
    this.find(".choices input").name = `overlay-${root.id}`;
    this.cover = this.find("[data-set=cover]");
    this.stage = this.find(".stage");
    this.film = this.find(".film");
    this.canvas = this.find(".base");
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
    this.film.replaceChildren(this.canvas);
    this.section.hidden = false;
    this.section.classList.add("waiting");
    this.find(".readout").textContent = "";
  }

  /** Show an image; nothing of the one before is kept. */
  show(image) {
    this.image = image;
    this.range = image.values.BYTES_PER_ELEMENT > 1 ? 65535 : 255;
    const [low, high] = image.window || [0, this.range];
    this.first = { middle: (low + high) / 2, width: high - low };
    this.canvas.width = image.width;
    this.canvas.height = image.height;
    this.canvas.setAttribute("aria-label", image.alt);
    this.stage.style.setProperty("--ratio", image.size[0] / image.size[1]);
    this.section.hidden = false;
    this.section.classList.remove("waiting");
    this.setMaps(image.maps, image.mapShown ? image.top : "");
    this.reset();
  }

  /** Offer these heatmaps, and show that of one class, or none (""). */
  setMaps(maps, shown = "") {
    this.film.replaceChildren(this.canvas);
    const [off] = this.find(".choices").children;
    off.parentNode.replaceChildren(off);
    for (const [name, grid] of Object.entries(maps.of)) {
      const choice = off.cloneNode(true);
      choice.querySelector("input").value = name;
      choice.querySelector("span").textContent = this.image.names[name];
      off.parentNode.append(choice);
      const layer = paintMap(grid, maps.side);
      layer.className = "layer";
      layer.dataset.class = name;
      this.film.append(layer);
    }
    this.find(".overlay").hidden = this.film.children.length === 1;
    this.showMap(shown);
  }

  showMap(name) {
    this.map = name;
    this.film.querySelectorAll(".layer").forEach((x) => (x.hidden = x.dataset.class !== name));
    this.root.querySelectorAll(".choices input").forEach((x) => (x.checked = x.value === name));
  }

  /** The window as the model saw it, the whole image, nothing covered. */
  reset() {
    this.covers = [];
    this.cover.checked = false;
    this.set({ ...this.first, zoom: 1, x: 0, y: 0, strength: 0.4, invert: false });
  }

  /** Change some of the state; x and y are pixels of the page. */
  set(change, silent = false) {
    const { first, range } = this;
    const state = (this.state = { ...this.state, ...change });
    state.zoom = clamp(state.zoom, 1, MAX_ZOOM);
    const { offsetWidth: width, offsetHeight: height } = this.film;
    const spare = state.zoom > 1 ? state.zoom / 2 : 0; // its middle stays within sight
    state.x = clamp(state.x, -spare * width, spare * width);
    state.y = clamp(state.y, -spare * height, spare * height);
    this.film.style.transform = `translate(${state.x}px, ${state.y}px) scale(${state.zoom})`;
    this.stage.style.setProperty("--strength", state.strength);
    this.stage.classList.toggle("zoomed", state.zoom > 1);
    const { zoom, strength } = state;
    const shown = { zoom, strength, brightness: (first.middle - state.middle) / (range / 2),
      contrast: Math.log2(first.width / state.width) };
    for (const [name, value] of Object.entries(shown)) this.find(`[data-set=${name}]`).value = value;
    this.find("[data-set=invert]").checked = state.invert;
    this.find("[data-do=ask]").disabled = !this.changed;
    this.draw();
    if (!silent) this.on.view?.(state);
  }

  /** Whether the model would see something else than before. */
  get changed() {
    const { covers, first, state } = this;
    return covers.length > 0 || state.middle !== first.middle || state.width !== first.width;
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      if (!this.image) return;
      const { middle, width, invert } = this.state;
      drawGrey(this.canvas, this.levels(), invert ? 255 : 0);
      const [from, to] = this.image.unit || [0, this.range];
      const step = (to - from) / this.range;
      this.find(".readout").textContent =
        `W ${Math.round(Math.abs(width * step))} L ${Math.round(from + middle * step)}`;
    });
  }

  /** Grey levels of the image with its window and covers. */
  levels() {
    const { image: { values, width: columns, height: rows }, state: { middle, width } } = this;
    const table = new Uint8ClampedArray(this.range + 1);
    for (let v = 0; v <= this.range; v++) table[v] = 255 * ((v - middle) / width + 0.5);
    const levels = new Uint8Array(values.length);
    let sum = 0;
    for (let i = 0; i < levels.length; i++) sum += levels[i] = table[values[i]];
    const grey = Math.round(sum / levels.length); // Neither black nor white says anything.
    for (const [left, top, right, bottom] of this.covers)
      for (let row = Math.round(top * rows); row < Math.round(bottom * rows); row++)
        levels.fill(grey, row * columns + Math.round(left * columns),
          row * columns + Math.round(right * columns));
    return levels;
  }

  ask() {
    const { width, height } = this.image;
    this.on.ask({ width, height, luminance: this.levels() }, this.covers.length > 0);
  }

  /** All that is seen as one PNG. */
  export() {
    const line = 26, margin = 16;
    const { width: columns, height: rows, lines: texts } = this.image;
    const scale = Math.max(1, 900 / columns);
    const [width, height] = [columns, rows].map((side) => Math.round(side * scale));
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const font = "18px system-ui, sans-serif";
    context.font = font;
    const lines = [];
    for (const text of texts) {
      let row = "";
      for (const word of text.split(" ")) {
        if (row && context.measureText(`${row} ${word}`).width > width - 2 * margin) {
          lines.push(row);
          row = word;
        } else row = row ? `${row} ${word}` : word;
      }
      lines.push(row);
    }
    canvas.height = height + lines.length * line + 2 * margin;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, canvas.height);
    context.drawImage(this.canvas, 0, 0, width, height);
    const layer = this.film.querySelector(".layer:not([hidden])");
    if (layer) {
      context.globalAlpha = this.state.strength;
      context.drawImage(layer, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    context.fillStyle = "#14222a";
    lines.forEach((text, i) => {
      context.font = i ? font : `bold ${font}`;
      context.fillText(text, margin, height + margin + (i + 0.75) * line);
    });
    return canvas.convertToBlob();
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
    this.set({ middle: clamp(middle, 0, this.range),
      width: clamp(width, this.range / 255, 4 * this.range) });
  }

  listen() {
    const { root, stage } = this;
    const actions = { reset: () => this.reset(), ask: () => this.ask(), save: () => this.save(),
      remove: () => this.on.remove(), compare: () => this.on.compare() };
    root.addEventListener("click", ({ target }) => actions[target.dataset.do]?.());
    const settings = { zoom: (value) => this.zoomAt(value / this.state.zoom),
      strength: (strength) => this.set({ strength }),
      invert: () => this.set({ invert: !this.state.invert }),
      brightness: (value) =>
        this.setWindow(this.first.middle - value * (this.range / 2), this.state.width),
      contrast: (value) => this.setWindow(this.state.middle, this.first.width / 2 ** value) };
    root.addEventListener("input", ({ target }) => {
      if (target.type === "radio") this.showMap(target.value);
      else settings[target.dataset.set]?.(Number(target.value));
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
    const bare = (on) => this.film.classList.toggle("bare", on);
    const keys = { "+": () => this.zoomAt(1.25), "-": () => this.zoomAt(0.8),
      0: () => this.set({ zoom: 1, x: 0, y: 0 }), r: () => this.reset(), i: settings.invert,
      h: () => bare(true) };
    document.addEventListener("keydown", (event) => {
      const here = root.contains(document.activeElement) || root.matches(":hover");
      if (!this.image || !here || event.ctrlKey || event.metaKey || event.altKey) return;
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    document.addEventListener("keyup", ({ key }) => key === "h" && bare(false));
    new ResizeObserver(() => this.image && this.set({}, true)).observe(stage);
  }

  // === Pointer: left sets the window or covers; another button, or a second finger, pans ===

  press(event) {
    if (!this.image) return;
    if (event.button === 1) event.preventDefault(); // no scrolling by the browser
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const pans = event.button > 0 || this.pointers.size > 1;
    this.grip = { kind: pans ? "pan" : this.cover.checked ? "cover" : "window",
      from: this.place(event), state: this.state, start: event, spread: this.spread() };
    if (this.grip.kind === "cover") this.covers.push([0, 0, 0, 0]);
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
      const [x, y] = this.place(event);
      this.covers[this.covers.length - 1] = [Math.min(from[0], x), Math.min(from[1], y),
        Math.max(from[0], x), Math.max(from[1], y)];
      this.draw();
    } else {
      const dx = event.clientX - start.clientX, dy = event.clientY - start.clientY;
      if (Math.hypot(dx, dy) < 3) return;
      this.setWindow(state.middle + (dy * state.width) / 300, state.width * 2 ** (dx / 200));
    }
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    if (this.grip?.kind === "cover" && event.type === "pointerup") {
      this.covers = this.covers.filter(([x, y, right, bottom]) => (right - x) * (bottom - y) > 1e-4);
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
