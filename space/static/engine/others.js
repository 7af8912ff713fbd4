// Formats that radiographs rarely come in: WebP (by Google's own decoder), GIF and BMP.
import { latin1, orientationOf, startsWith, viewOf } from "./bytes.js";
import { checkMemory, checkSize } from "./limits.js";
import { luma } from "./grey.js";
import { DAMAGED, Refusal, UNKNOWN } from "./refusal.js";
import { emscripten } from "./vendor.js";

// === WebP ===

export const isWebp = (bytes) => startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8);

export const readWebp = async (bytes) => {
  const [view, found] = [viewOf(bytes), {}];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const [name, length] = [latin1(bytes.subarray(at, at + 4)), view.getUint32(at + 4, true)];
    found[name] ??= bytes.subarray(at + 8, at + 8 + length);
    at += 8 + length + (length & 1);
  }
  const exif = found.EXIF && (startsWith(found.EXIF, "Exif\0\0") ? found.EXIF.subarray(6) : found.EXIF);
  const [width, height] = sizeOfWebp(found);
  if (found.ANIM) throw new Refusal(UNKNOWN);
  checkSize(width, height);
  checkMemory(4 * width * height);
  const codec = await emscripten("@jsquash/webp/codec/dec/webp_dec.js");
  const read = codec.decode(bytes);
  if (!read) throw new Refusal(DAMAGED);
  return { width: read.width, height: read.height, data: luma(read.data, 4), form: "grey",
    orientation: orientationOf(exif, found["XMP "]) };
};

/** Width and height as the header says (RFC 9649). */
const sizeOfWebp = ({ VP8X: extended, "VP8L": lossless, "VP8 ": lossy }) => {
  const start = extended ?? lossless ?? lossy;
  if (!start || start.length < 10) throw new Refusal(DAMAGED);
  const view = viewOf(start);
  const long = (at) => view.getUint16(at, true) | (start[at + 2] << 16);
  if (extended) return [long(4) + 1, long(7) + 1];
  if (lossy) return [view.getUint16(6, true) & 0x3fff, view.getUint16(8, true) & 0x3fff];
  const bits = view.getUint32(1, true);
  return [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1];
};

// === GIF ===

const COMMENTS = 64 * 2 ** 10, EXTENSIONS = 10_000;

export const isGif = (bytes) => startsWith(bytes, "GIF87a") || startsWith(bytes, "GIF89a");

export const readGif = (bytes) => {
  const view = viewOf(bytes);
  if (bytes.length < 13) throw new Refusal(DAMAGED);
  const [width, height] = [view.getUint16(6, true), view.getUint16(8, true)];
  checkSize(width, height);
  const tableAt = (place, flags) =>
    flags & 0x80 ? bytes.subarray(place, place + 3 * (2 << (flags & 7))) : null;
  const general = tableAt(13, bytes[10]);
  let place = 13 + (general?.length ?? 0);
  let [first, frames, comments, extensions, clear] = [null, 0, 0, 0, 0];
  while (place + 1 < bytes.length && [0x21, 0x2c].includes(bytes[place])) {
    const blocks = [];
    let frame = null, comment = false;
    if (bytes[place] === 0x21) {
      extensions += 1;
      comment = bytes[place + 1] === 0xfe;
      if (bytes[place + 1] === 0xf9 && !frames && bytes[place + 3] & 1) clear = bytes[place + 6];
      place += 2;
    } else {
      if (place + 10 > bytes.length) break;
      frames += 1;
      const flags = bytes[place + 9];
      const palette = tableAt(place + 10, flags);
      const [x, y, w, h] = [1, 3, 5, 7].map((at) => view.getUint16(place + at, true));
      frame = { x, y, w, h, interlaced: flags & 0x40, palette: palette ?? general,
        bits: bytes[place + 10 + (palette?.length ?? 0)] };
      place += 11 + (palette?.length ?? 0);
    }
    while (place < bytes.length && bytes[place]) {
      comments += comment * bytes[place];
      if (frame && !first) blocks.push(bytes.subarray(place + 1, place + 1 + bytes[place]));
      place += 1 + bytes[place];
    }
    place += 1;
    if (comments > COMMENTS || extensions > EXTENSIONS)
      throw new Refusal("the GIF file has too many comments; save it anew");
    if (frame) first ??= { ...frame, blocks };
  }
  if (!first) throw new Refusal(DAMAGED);
  const colours = new Uint8Array(768).map((_, i) => first.palette?.[i] ?? (first.palette ? 0 : Math.floor(i / 3)));
  const table = luma(colours, 3);
  const data = new Uint8Array(width * height).fill(table[clear]);
  const numbers = unpackedGif(first);
  const order = first.interlaced
    ? [[0, 8], [4, 8], [2, 4], [1, 2]].flatMap(([start, step]) =>
      Array.from({ length: Math.ceil((first.h - start) / step) }, (_, i) => start + i * step))
    : Array.from({ length: first.h }, (_, i) => i);
  order.forEach((row, i) => {
    for (let x = 0; x < first.w; x++)
      if (first.x + x < width && first.y + row < height)
        data[(first.y + row) * width + first.x + x] = table[numbers[i * first.w + x]];
  });
  return { width, height, data, form: "grey", several: frames > 1 };
};

/** Numbers of colours of a frame (GIF89a, appendix F). */
const unpackedGif = ({ w, h, bits, blocks }) => {
  const out = new Uint8Array(w * h);
  const [clear, before, last, length] =
    [1 << bits, new Uint16Array(4096), new Uint8Array(4096), new Uint16Array(4096)];
  for (let i = 0; i < clear; i++) [last[i], length[i]] = [i, 1];
  let [size, next, old, held, count, at] = [bits + 1, clear + 2, -1, 0, 0, 0];
  const write = (code) => {
    const end = at + length[code];
    for (let place = end - 1; place >= at; place--, code = before[code])
      if (place < out.length) out[place] = last[code];
    at = end;
    return code;
  };
  const root = (code) => {
    while (length[code] > 1) code = before[code];
    return last[code];
  };
  for (const block of blocks) {
    for (const byte of block) {
      held |= byte << count;
      count += 8;
      while (count >= size && at < out.length) {
        const code = held & ((1 << size) - 1);
        held >>>= size;
        count -= size;
        if (code === clear) {
          [size, next, old] = [bits + 1, clear + 2, -1];
          continue;
        }
        if (code === clear + 1) break;
        if (code > next || (old < 0 && code >= clear)) throw new Refusal(DAMAGED);
        if (old >= 0 && next < 4096) {
          [before[next], last[next], length[next]] = [old, root(code < next ? code : old), length[old] + 1];
          next += 1;
          if (next === 1 << size && size < 12) size += 1;
        }
        write(code);
        old = code;
      }
    }
  }
  if (at < out.length) throw new Refusal(DAMAGED);
  return out;
};

// === BMP ===

export const isBmp = (bytes) => startsWith(bytes, "BM");

/** Uncompressed BMP of 1, 4, 8, 24 or 32 bits; null for others. */
export const readBmp = (bytes) => {
  const view = viewOf(bytes);
  if (bytes.length < 54 || view.getUint32(14, true) < 40) return null;
  const [width, tall] = [view.getInt32(18, true), view.getInt32(22, true)];
  const [bits, packing] = [view.getUint16(28, true), view.getUint32(30, true)];
  const height = Math.abs(tall);
  if (width <= 0 || ![1, 4, 8, 24, 32].includes(bits) || packing) return null;
  checkSize(width, height);
  checkMemory(4 * width * height);
  const start = view.getUint32(10, true);
  const stride = ((width * bits + 31) >> 5) << 2;
  if (start + stride * height > bytes.length) throw new Refusal(DAMAGED);
  const count = view.getUint32(46, true) || 2 ** Math.min(bits, 8);
  const colours = new Uint8Array(768); // In the file, blue comes first and a fourth byte last.
  for (let i = 0; i < Math.min(count, 256); i++)
    for (let part = 0; part < 3; part++)
      colours[3 * i + part] = bytes[14 + view.getUint32(14, true) + 4 * i + 2 - part] ?? 0;
  const table = luma(colours, 3);
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const line = bytes.subarray(start + (tall < 0 ? y : height - 1 - y) * stride);
    for (let x = 0; x < width; x++) {
      if (bits > 8) {
        const at = (x * bits) >> 3;
        data[y * width + x] =
          (line[at + 2] * 19595 + line[at + 1] * 38470 + line[at] * 7471 + 0x8000) >> 16;
      } else {
        const bit = x * bits;
        data[y * width + x] = table[(line[bit >> 3] >> (8 - bits - (bit & 7))) & ((1 << bits) - 1)];
      }
    }
  }
  return { width, height, data, form: "grey" };
};
