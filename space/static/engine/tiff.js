// TIFF 6.0: the page that is the radiograph, its samples, and what its tags say of them.
import { directory, inflate, tiffOrder, viewOf } from "./bytes.js";
import { codestreamOf } from "./dicom_file.js";
import { checkMemory, checkSize } from "./limits.js";
import { luma } from "./grey.js";
import { decodeJpeg } from "./jpeg.js";
import { DAMAGED, Refusal } from "./refusal.js";

export const UNREADABLE =
  "this is a TIFF of a kind that cannot be read here; save it as 8 or 16 bits of grey";
const PAGES = 32; // that are looked at
const NONE = 1, LZW = 5, JPEG = 7, DEFLATE = [8, 32946], PACKBITS = 32773;
const WHITE_IS_ZERO = 0, PALETTE = 3, YCBCR = 6;
const UNSIGNED = 1; // other formats of samples: 2 signed, 3 floating point

export const isTiff = (bytes) => tiffOrder(bytes) !== null;

export const readTiff = async (bytes) => {
  const little = tiffOrder(bytes);
  const { page, several } = filmOf(pagesOf(bytes, little));
  const layout = layoutOf(page);
  const { width, height, bits, samples, format, photometric } = layout;
  const parts = partsOf(layout, page, bytes);
  if (layout.packing === NONE && photometric !== YCBCR && !layout.tiled) {
    const stored = (page.get(279) ?? []).reduce((sum, count) => sum + count, 0);
    if (stored > 0 && stored < Math.ceil((width * samples * bits) / 8) * height)
      throw new Refusal("the image is cut short: its strips in the TIFF file are too short");
  }
  const kind = { 8: { 1: Uint8Array, 2: Int8Array }, 16: { 1: Uint16Array, 2: Int16Array },
    32: { 1: Uint32Array, 2: Int32Array, 3: Float32Array }, 64: { 3: Float64Array },
    1: { 1: Uint8Array }, 4: { 1: Uint8Array }, 12: { 1: Uint16Array } }[bits]?.[format];
  if (!kind) throw new Refusal(UNREADABLE);
  const values = new kind(width * height * samples);
  for (const part of parts) {
    const unpacked = await unpackedOf(part, layout, page);
    copy(numbersOf(unpacked, layout, part, kind, little), part, layout, values);
  }
  const read = { width, height, orientation: page.get(274)?.[0] ?? 1, several,
    whiteIsZero: photometric === WHITE_IS_ZERO };
  if (samples > 2 || photometric === PALETTE) {
    const colours = photometric === PALETTE ? ofPalette(values, page.get(320), bits) : values;
    const channels = photometric === PALETTE ? 3 : samples;
    const upper = bits === 16 && photometric !== PALETTE;
    return { ...read, form: upper ? "upper" : "grey",
      data: luma(upper ? new Uint8Array(colours.map((value) => value >> 8)) : colours, channels) };
  }
  const grey = samples === 1 ? values : values.filter((_, i) => i % samples === 0);
  if (bits > 8 || format !== UNSIGNED) return { ...read, form: "levels", data: grey };
  const most = 2 ** bits - 1;
  return { ...read, form: "grey", data: grey.map((value) =>
    read.whiteIsZero ? 255 - Math.trunc((value * 255) / most) : Math.trunc((value * 255) / most)) };
};

const pagesOf = (bytes, little) => {
  const pages = [];
  let place = viewOf(bytes).getUint32(4, little);
  for (let page; pages.length < PAGES && (page = directory(bytes, place, little)); place = page.next)
    pages.push(page.tags);
  if (!pages.length) throw new Refusal(UNREADABLE);
  return pages;
};

/** The first page that is no preview and no mask, and whether there are more such pages. */
const filmOf = (all) => {
  const size = (page) => [page.get(256)?.[0] ?? 0, page.get(257)?.[0] ?? 0];
  const isReduced = (page) => (page.get(254)?.[0] ?? 0) & 5 || page.get(255)?.[0] === 2;
  const isPreviewOf = (small, large) => {
    const [[w, h], [wide, high]] = [size(small), size(large)];
    return Math.abs(w * high - h * wide) <= 0.1 * h * wide && 4 * w <= wide && 4 * h <= high;
  };
  let pages = all.filter((page) => !isReduced(page));
  if (!pages.length) {
    if (all.length > 1 || all[0].get(330))
      throw new Refusal("the TIFF file has a preview where its image should be; save it anew");
    pages = all;
  }
  const page = pages.find((other) => isPreviewOf(pages[0], other)) ?? pages[0];
  return { page, several: pages.some((other) => other !== page && !isPreviewOf(other, page)) };
};

const layoutOf = (page) => {
  const one = (tag, otherwise) => page.get(tag)?.[0] ?? otherwise;
  const [width, height] = [one(256, 0), one(257, 0)];
  const tiled = page.has(322);
  const layout = { width, height, tiled, bits: one(258, 1), samples: one(277, 1), format: one(339, 1),
    photometric: one(262, 0), packing: one(259, NONE), planar: one(284, 1) === 2 && one(277, 1) > 1,
    predictor: one(317, 1), partWidth: tiled ? one(322, 0) : width,
    partHeight: tiled ? one(323, 0) : Math.min(one(278, height), height) };
  checkSize(width, height);
  const { partWidth, partHeight, bits, samples, packing, photometric } = layout;
  if (tiled && partWidth * partHeight > Math.max(4 * width * height, 2 ** 20))
    throw new Refusal("the TIFF file has tiles that are larger than the image; save it anew");
  checkMemory(width * height * 4 + Math.ceil((width * samples * bits) / 8) * partHeight);
  const known = [NONE, LZW, JPEG, PACKBITS, ...DEFLATE].includes(packing) && [0, 1, 2, 3, 6].includes(photometric);
  const alike = (page.get(258) ?? [1]).every((value) => value === bits) && samples <= 4;
  const colours = photometric === YCBCR ? packing === JPEG : samples < 3 || photometric === 2;
  if (!known || !alike || !colours || !partWidth || !partHeight || (bits < 8 && samples > 1))
    throw new Refusal(UNREADABLE);
  return layout;
};

/** Strips or tiles: where each lies in the image, and its bytes. */
const partsOf = ({ width, height, tiled, partWidth, partHeight, planar, samples }, page, bytes) => {
  const [offsets, counts] = tiled ? [page.get(324), page.get(325)] : [page.get(273), page.get(279)];
  if (!offsets) throw new Refusal(DAMAGED);
  const [across, down] = [Math.ceil(width / partWidth), Math.ceil(height / partHeight)];
  return offsets.slice(0, across * down * (planar ? samples : 1)).map((offset, i) => {
    const place = i % (across * down);
    const [x, y] = [(place % across) * partWidth, Math.floor(place / across) * partHeight];
    return { x, y, plane: planar ? Math.floor(i / (across * down)) : 0,
      rows: tiled ? partHeight : Math.min(partHeight, height - y),
      data: bytes.subarray(offset, offset + (counts?.[i] ?? bytes.length)) };
  });
};

const unpackedOf = async ({ data, rows }, { packing, partWidth, bits, samples, planar }, page) => {
  const need = Math.ceil((partWidth * bits * (planar ? 1 : samples)) / 8) * rows;
  if (packing === NONE && data.length < need) throw new Refusal(DAMAGED);
  if (packing === NONE) return data;
  if (packing === LZW) return lzw(data, need);
  if (packing === PACKBITS) return packBits(data, need);
  if (packing === JPEG) return jpegOf(data, page.get(347), partWidth);
  let { data: out, whole } = await inflate([data], "deflate", need, true);
  if (!whole && out.length === need) // Strips may be padded to even lengths.
    ({ data: out, whole } = await inflate([data.subarray(0, -1)], "deflate", need, true));
  if (!whole) throw new Refusal("the image is damaged: a strip of the TIFF file is not whole");
  return out;
};

const jpegOf = async (data, tables, most) => {
  const shared = tables ? Uint8Array.from(tables).subarray(0, -2) : data.subarray(0, 2);
  const whole = new Uint8Array(shared.length + data.length - 2);
  whole.set(shared);
  whole.set(data.subarray(2), shared.length);
  const { width, height } = codestreamOf(whole) ?? {};
  if (width > most) throw new Refusal(DAMAGED);
  checkMemory(4 * width * height);
  return (await decodeJpeg(whole)).bytes;
};

const packBits = (data, need) => {
  const out = new Uint8Array(need);
  for (let at = 0, from = 0; at < need && from < data.length; ) {
    const head = data[from++];
    if (head < 128) {
      out.set(data.subarray(from, from + Math.min(head + 1, need - at)), at);
      from += head + 1;
      at += head + 1;
    } else if (head > 128) {
      out.fill(data[from++], at, at + 257 - head);
      at += 257 - head;
    }
  }
  return out;
};

const lzw = (data, need) => {
  const out = new Uint8Array(need);
  const [start, length] = [new Uint32Array(4097), new Uint32Array(4097)]; // of strings within `out`
  let [size, next, old, held, count, at] = [9, 258, -1, 0, 0, 0];
  for (const byte of data) {
    held = ((held << 8) | byte) & 0xffffff;
    count += 8;
    if (count < size) continue;
    const code = (held >> (count - size)) & ((1 << size) - 1);
    count -= size;
    if (code === 257 || at >= need) break;
    if (code === 256) {
      [size, next, old] = [9, 258, -1];
      continue;
    }
    if (code > next || (code === next && old < 0) || next > 4095) throw new Refusal(DAMAGED);
    if (old >= 0) {
      [start[next], length[next]] = [at - (old < 256 ? 1 : length[old]), (old < 256 ? 1 : length[old]) + 1];
      next += 1;
    }
    if (code < 256) out[at++] = code;
    else for (let i = 0; i < length[code]; i++) out[at + i] = out[start[code] + i];
    if (code > 255) at += length[code];
    old = code;
    if (next + 1 >= 1 << size && size < 12) size += 1;
  }
  if (at < need) throw new Refusal(DAMAGED);
  return out;
};

/** Bytes of a part as numbers, predictor undone. */
const numbersOf = (bytes, { bits, samples, planar, partWidth, predictor, packing }, { rows }, kind, little) => {
  const [across, channels] = [partWidth * (planar ? 1 : samples), planar ? 1 : samples];
  const numbers = new kind(across * rows);
  const view = viewOf(bytes);
  if (bits < 8 || bits === 12) {
    const stride = Math.ceil((across * bits) / 8);
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < across; x++) {
        const [bit, at] = [(x * bits) & 7, y * stride + ((x * bits) >> 3)];
        const pair = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
        numbers[y * across + x] = (pair >> (16 - bits - bit)) & (2 ** bits - 1);
      }
    }
    return numbers;
  }
  const read = { Uint8Array: "getUint8", Int8Array: "getInt8", Uint16Array: "getUint16",
    Int16Array: "getInt16", Uint32Array: "getUint32", Int32Array: "getInt32",
    Float32Array: "getFloat32", Float64Array: "getFloat64" }[kind.name];
  const size = bits / 8;
  if (predictor === 3) return ofFloats(bytes, numbers, across, channels, size);
  const count = Math.min(numbers.length, Math.floor(bytes.length / size));
  for (let i = 0; i < count; i++) numbers[i] = view[read](i * size, little);
  if (predictor === 2 && packing !== NONE)
    for (let y = 0; y < rows; y++)
      for (let x = channels; x < across; x++) numbers[y * across + x] += numbers[y * across + x - channels];
  return numbers;
};

/** Floating-point prediction (Adobe, TIFF technical note 3): bytes apart, highest first. */
const ofFloats = (bytes, numbers, across, channels, size) => {
  const view = new DataView(numbers.buffer);
  for (let at = 0; at + across <= numbers.length; at += across) {
    const line = bytes.slice(at * size, (at + across) * size);
    for (let i = channels; i < line.length; i++) line[i] += line[i - channels];
    for (let x = 0; x < across; x++)
      for (let part = 0; part < size; part++)
        view.setUint8((at + x) * size + size - 1 - part, line[part * across + x]);
  }
  return numbers;
};

const copy = (numbers, { x, y, plane, rows }, { width, height, samples, planar, partWidth }, out) => {
  const channels = planar ? 1 : samples;
  const columns = Math.min(partWidth, width - x);
  for (let row = 0; row < rows && y + row < height; row++) {
    const line = numbers.subarray(row * partWidth * channels, (row * partWidth + columns) * channels);
    const at = ((y + row) * width + x) * samples;
    if (planar) line.forEach((value, i) => (out[at + i * samples + plane] = value));
    else out.set(line, at);
  }
};

const ofPalette = (values, colours, bits) => {
  if (!colours) throw new Refusal(DAMAGED);
  const out = new Uint8Array(values.length * 3);
  for (let i = 0; i < values.length; i++)
    for (let part = 0; part < 3; part++) out[3 * i + part] = colours[part * 2 ** bits + values[i]] >> 8;
  return out;
};
