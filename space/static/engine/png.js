// PNG of every kind (W3C PNG), read as Pillow reads it; checks as in aihealth/structure.py.
import { crc32, inflate, latin1, orientationOf, startsWith, viewOf } from "./bytes.js";
import { checkMemory, checkSize } from "./limits.js";
import { luma } from "./grey.js";
import { DAMAGED, Refusal } from "./refusal.js";

const CHUNKS = 20_000, OTHER_CHUNKS = 500;
const GREY = 0, PALETTE = 3, GREY_ALPHA = 4;
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
// Adam7: first column and row, and steps, of each pass.
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2],
  [0, 1, 1, 2]];

export const isPng = (bytes) => startsWith(bytes, "\x89PNG\r\n\x1a\n");

export const readPng = async (bytes) => {
  const found = chunks(bytes);
  const head = found.IHDR?.[0];
  if (!head || head.length < 13) throw new Refusal(DAMAGED);
  const view = viewOf(head);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, kind, , , interlaced] = head.subarray(8, 13);
  if (!DEPTHS[kind]?.includes(depth) || interlaced > 1 || !found.IDAT) throw new Refusal(DAMAGED);
  checkSize(width, height);
  checkMemory(width * height * (kind === GREY || kind === PALETTE ? (depth === 16 ? 2 : 1) : 4));
  const bits = CHANNELS[kind] * depth;
  const passes = (interlaced ? PASSES : [[0, 0, 1, 1]]).map(([x, y, dx, dy]) => ({ x, y, dx, dy,
    columns: Math.ceil((width - x) / dx), rows: Math.ceil((height - y) / dy) }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
  const length = ({ columns }) => Math.ceil((columns * bits) / 8);
  const need = passes.reduce((sum, pass) => sum + pass.rows * (length(pass) + 1), 0);
  const { data: packed } = await inflate(found.IDAT, "deflate", need);
  if (packed.length < need) throw new Refusal(DAMAGED);
  const values = valuesOf({ depth, kind, palette: found.PLTE?.[0] });
  const data = new (kind === GREY && depth === 16 ? Uint16Array : Uint8Array)(width * height);
  let at = 0;
  for (const pass of passes) {
    let above = new Uint8Array(length(pass));
    for (let row = 0; row < pass.rows; row++) {
      const line = unfiltered(packed[at], packed.subarray(at + 1, at + 1 + above.length), above,
        Math.max(1, bits >> 3));
      values(line, data, (pass.y + row * pass.dy) * width + pass.x, pass.dx, pass.columns);
      at += above.length + 1;
      above = line;
    }
  }
  const xmp = found.iTXt?.find((text) => startsWith(text, "XML:com.adobe.xmp\0"));
  const deep = depth === 16 ? (kind === GREY ? "levels" : "upper") : "grey";
  return { width, height, data, form: deep, orientation: orientationOf(found.eXIf?.[0], xmp),
    several: found.acTL !== undefined && viewOf(found.acTL[0]).getUint32(0) > 1 };
};

/** The chunks by name. */
const chunks = (bytes) => {
  const [view, found] = [viewOf(bytes), {}];
  let [place, count, others] = [8, 0, 0];
  while (place + 12 <= bytes.length) {
    const end = place + 8 + view.getUint32(place);
    const name = latin1(bytes.subarray(place + 4, place + 8));
    count += 1;
    others += name !== "IDAT";
    if (count > CHUNKS || others > OTHER_CHUNKS)
      throw new Refusal("the PNG file has too many chunks; save it anew");
    // A name in capitals is that of a chunk without which there is no image.
    if (/^[A-Z]/.test(name) && end + 4 <= bytes.length &&
        crc32(bytes.subarray(place + 4, end)) !== view.getUint32(end))
      throw new Refusal("the image is damaged: a checksum in the PNG file is wrong");
    (found[name] ??= []).push(bytes.subarray(place + 8, end));
    if (name === "IEND") break;
    place = end + 4;
  }
  return found;
};

/** Undo a row's filter (W3C PNG, 9.2). */
const unfiltered = (filter, line, above, step) => {
  const out = line.slice();
  const left = (i) => (i < step ? 0 : out[i - step]);
  if (filter === 1) for (let i = step; i < out.length; i++) out[i] += out[i - step];
  else if (filter === 2) for (let i = 0; i < out.length; i++) out[i] += above[i];
  else if (filter === 3) for (let i = 0; i < out.length; i++) out[i] += (left(i) + above[i]) >> 1;
  else if (filter === 4) {
    for (let i = 0; i < out.length; i++) {
      const [a, b, c] = [left(i), above[i], i < step ? 0 : above[i - step]];
      const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
      out[i] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    }
  } else if (filter) throw new Refusal(DAMAGED);
  return out;
};

/** How a row becomes numbers, written to every `step`-th place from `at`. */
const valuesOf = ({ depth, kind, palette }) => {
  const bytes = depth >> 3;
  if (kind === GREY && depth === 16)
    return (line, out, at, step, count) => {
      for (let i = 0; i < count; i++) out[at + i * step] = (line[2 * i] << 8) | line[2 * i + 1];
    };
  if (kind === GREY || kind === PALETTE) {
    const most = (1 << depth) - 1;
    const table = Uint8Array.from({ length: most + 1 }, (_, i) => (i * 255) / most);
    if (kind === PALETTE) {
      const colours = new Uint8Array(3 * (most + 1));
      colours.set((palette ?? []).subarray?.(0, colours.length) ?? []);
      table.set(luma(colours, 3));
    }
    return (line, out, at, step, count) => {
      for (let i = 0; i < count; i++) {
        const bit = i * depth;
        out[at + i * step] = table[(line[bit >> 3] >> (8 - depth - (bit & 7))) & most];
      }
    };
  }
  const grey = kind === GREY_ALPHA;
  const channels = CHANNELS[kind];
  return (line, out, at, step, count) => { // Of 16 bits the upper 8.
    for (let i = 0, from = 0; i < count; i++, from += channels * bytes) {
      out[at + i * step] = grey ? line[from]
        : (line[from] * 19595 + line[from + bytes] * 38470 + line[from + 2 * bytes] * 7471 + 0x8000) >> 16;
    }
  };
};
