// The values that a DICOM file stores, for the viewer's window; as space/overlay.py.
import { extremes, rint } from "./grey.js";

const FITTED = 300_000; // pixels that a window is found from
const SIDE = 1024;

/**
 * The window that turns values into the grey levels of an answer, and both for the viewer:
 * { width, height, values (Uint16Array), window: [low, high] of it, unit: [value at 0, at 65535] };
 * null where no window explains the levels. `valueAt` gives the value at a place.
 */
export const storedOf = (valueAt, { width, height, luminance: seen }) => {
  const every = Math.max(1, Math.round(Math.sqrt(seen.length / FITTED)));
  const places = [];
  for (let y = 0; y < height; y += every)
    for (let x = 0; x < width; x += every) places.push(y * width + x);
  const inner = places.filter((at) => seen[at] > 0 && seen[at] < 255);
  if (new Set(inner.map((at) => seen[at])).size < 2) return null;
  const { slope, offset } = line(inner.map((at) => seen[at]), inner.map(valueAt));
  if (!slope) return null;
  const film = places.filter((at) => seen[at] > 0);
  const off = film.filter((at) => {
    const drawn = Math.min(255, Math.max(0, (valueAt(at) - offset) / slope));
    return Math.abs(rint(drawn) - seen[at]) > 2;
  });
  if (off.length > 0.02 * film.length) return null; // a curve, not a window
  const values = new Float32Array(seen.length);
  for (let at = 0; at < values.length; at++) values[at] = valueAt(at);
  let [darkest, brightest] = extremes(values);
  if (slope < 0) [darkest, brightest] = [brightest, darkest];
  const scale = 65535 / (brightest - darkest);
  const [low, high] = [offset, offset + 255 * slope].map((end) => scale * (end - darkest));
  for (let at = 0; at < values.length; at++) {
    values[at] = (values[at] - darkest) * scale;
    if (!seen[at] && values[at] > low + (high - low) / 64) values[at] = 0; // padding, whatever its value
  }
  return { ...shrunk(values, width, height), window: [low, high], unit: [darkest, brightest] };
};

/** The straight line through points (least squares). */
const line = (xs, ys) => {
  const mean = (all) => all.reduce((sum, value) => sum + value, 0) / all.length;
  const [x, y] = [mean(xs), mean(ys)];
  let [both, square] = [0, 0];
  xs.forEach((value, i) => {
    both += (value - x) * (ys[i] - y);
    square += (value - x) ** 2;
  });
  return { slope: both / square, offset: y - (both / square) * x };
};

/** Means of blocks, so that the longest side is at most SIDE. */
const shrunk = (values, width, height) => {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const [columns, rows] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const out = new Uint16Array(columns * rows);
  const bounds = (i, whole, parts) => [Math.floor((i * whole) / parts), Math.ceil(((i + 1) * whole) / parts)];
  for (let row = 0, at = 0; row < rows; row++) {
    const [top, bottom] = bounds(row, height, rows);
    for (let column = 0; column < columns; column++) {
      const [left, right] = bounds(column, width, columns);
      let sum = 0;
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += values[y * width + x];
      out[at++] = Math.min(65535, Math.max(0, rint(sum / ((bottom - top) * (right - left)))));
    }
  }
  return { width: columns, height: rows, values: out };
};
