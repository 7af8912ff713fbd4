// Plain margins are not looked at, as in aihealth/margins.py.

import { MIN_SIDE } from "./limits.js";

const PLAIN = 4; // grey levels that a line of a margin differs by
const SIDE = 28; // pixels of a heatmap that is put back onto the whole picture

/** Where a picture is more than a plain margin: { top, bottom, left, right }. */
export const content = ({ width, height, data }) => {
  const box = { top: 0, bottom: height, left: 0, right: width };
  const plain = (from, step, count) => {
    let [low, high] = [255, 0];
    for (let i = 0, at = from; i < count && high - low <= PLAIN; i++, at += step) {
      low = Math.min(low, data[at]);
      high = Math.max(high, data[at]);
    }
    return high - low <= PLAIN;
  };
  const row = (y) => plain(y * width + box.left, 1, box.right - box.left);
  const column = (x) => plain(box.top * width + x, width, box.bottom - box.top);
  const [rows, columns] = [height, width].map((side) => Math.max(MIN_SIDE, Math.floor(side / 4)));
  let before;
  do {
    before = { ...box };
    while (box.bottom - box.top >= rows && row(box.top)) box.top++;
    while (box.bottom - box.top >= rows && row(box.bottom - 1)) box.bottom--;
    while (box.right - box.left >= columns && column(box.left)) box.left++;
    while (box.right - box.left >= columns && column(box.right - 1)) box.right--;
  } while (Object.keys(box).some((end) => box[end] !== before[end]));
  const little = box.bottom - box.top < rows || box.right - box.left < columns;
  return little ? { top: 0, bottom: height, left: 0, right: width } : box;
};

/** The part of a picture that lies in a box. */
export const cut = (picture, { top, bottom, left, right }) => {
  const [width, height] = [right - left, bottom - top];
  if (width === picture.width && height === picture.height) return picture;
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * picture.width + left;
    data.set(picture.data.subarray(start, start + width), y * width);
  }
  return { width, height, data };
};

/** Heatmaps of what lies in a box, over the whole picture. */
export const putBack = ({ h, w, data }, { top, bottom, left, right }, { width, height }) => {
  if (right - left === width && bottom - top === height) return { h, w, data };
  const [rows, columns] = [places(top, bottom, height, h), places(left, right, width, w)];
  const count = data.length / h / w;
  const out = new Float32Array(count * SIDE * SIDE);
  for (let map = 0, at = 0; map < count; map++)
    for (const row of rows)
      for (const column of columns) {
        for (const [y, high] of row)
          for (const [x, wide] of column) out[at] += high * wide * data[(map * h + y) * w + x];
        at++;
      }
  return { h: SIDE, w: SIDE, data: out };
};

/** For each place of a whole side the places in the box that count there, and how much. */
const places = (start, stop, length, count) => Array.from({ length: SIDE }, (_, i) => {
  const within = ((i + 0.5) * length / SIDE - start) / (stop - start);
  if (within <= 0 || within >= 1) return [];
  const place = Math.min(Math.max(within * count - 0.5, 0), count - 1);
  const [low, part] = [Math.floor(place), place % 1];
  return part ? [[low, 1 - part], [low + 1, part]] : [[low, 1]];
});
