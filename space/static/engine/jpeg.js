// JPEG, decoded by libjpeg-turbo as Pillow does it; checks as in aihealth/structure.py.
import { orientationOf, startsWith, viewOf } from "./bytes.js";
import { checkMemory, checkSize } from "./limits.js";
import { isInColour, luma } from "./grey.js";
import { DAMAGED, Refusal, UNKNOWN } from "./refusal.js";
import { decodeWith } from "./vendor.js";

const SEGMENTS = 1000, OTHERS = 8 * 2 ** 20, SCANS = 100, FILL = 1000, ZEROS = 64;
const PROGRESSIVE = [0xc2, 0xc6, 0xca, 0xce];
const isFrame = (marker) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

export const isJpeg = (bytes) => startsWith(bytes, "\xff\xd8\xff");

export const readJpeg = async (bytes) => {
  const { exif, xmp, progressive, ended } = structure(bytes);
  const read = await decoded(bytes, ended);
  if (await isShort(bytes, read, progressive))
    throw new Refusal("the image is cut short: a part of the JPEG file is missing");
  return { ...read, form: "grey", orientation: orientationOf(exif, xmp) };
};

/** Samples of a baseline or progressive JPEG: { width, height, components, bytes, whole }. */
export const decodeJpeg = async (bytes) => {
  const read = await decodeWith(
    "@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm_decode.js",
    "libjpegturbowasm_decode", "JPEGDecoder", bytes);
  // A mere warning, of bytes too many, ends in a picture all the same: its last row was written.
  const { width, height, components, bytes: samples, whole } = read;
  const written = whole || samples.subarray(-width * components).some(Boolean);
  if (samples.length !== width * height * components || !samples.length || !written)
    throw new Refusal(DAMAGED);
  return read;
};

const decoded = async (bytes, ended) => {
  const { width, height, components, bytes: samples, whole } = await decodeJpeg(bytes);
  if (!whole && !ended) throw new Refusal(DAMAGED);
  if (components === 1) return { width, height, data: samples };
  return { width, height, data: luma(samples, components),
    inColour: isInColour(samples, components, width, height) };
};

/** Whether coded data is missing, for which the decoder puts grey in without a word. */
const isShort = async (bytes, { width, height, data }, progressive) => {
  let level = true; // What is missing of the last scan of a progressive one is nowhere grey.
  if (!progressive) {
    for (let y = (height - 1) & ~7; y < height; y++)
      for (let x = (width - 1) & ~7; x < width; x++)
        level &&= data[y * width + x] === 127 || data[y * width + x] === 128;
  }
  const end = level ? lastEnd(bytes) : -1;
  if (end <= 0) return false;
  const more = Uint8Array.from({ length: 254 * 16 }, (_, i) => (i % 254) + 1);
  const longer = new Uint8Array(bytes.length + more.length);
  longer.set(bytes.subarray(0, end));
  longer.set(more, end);
  longer.set(bytes.subarray(end), end + more.length);
  const other = await decoded(longer, true);
  return data.some((value, i) => value !== other.data[i]);
};

const lastEnd = (bytes) => {
  for (let at = bytes.length - 2; at > 0; at--)
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return at;
  return -1;
};

/** Walk over segments with a marker and a length, and coded data after each start of a scan. */
const structure = (bytes) => {
  const [view, scans, found] = [viewOf(bytes), new Scans(), { ended: false, progressive: false }];
  const last = lastEnd(bytes);
  let [place, segments, others] = [2, 0, 0];
  while (place + 2 <= bytes.length) {
    const start = place;
    while (bytes[place] === 0xff && bytes[place + 1] === 0xff) {
      place += 1;
      if (place - start > FILL) throw new Refusal("the JPEG file has too many fill bytes; save it anew");
    }
    const [fill, marker] = [bytes[place], bytes[place + 1]];
    if (fill !== 0xff || marker === 0xd9) break;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      place += 2;
      continue;
    }
    if (place + 4 > bytes.length) break;
    const length = view.getUint16(place + 2);
    segments += 1;
    others += length;
    if (segments > SEGMENTS || others > OTHERS)
      throw new Refusal("the JPEG file has too many segments; save it anew");
    const body = bytes.subarray(place + 4, place + 2 + length);
    place += 2 + length;
    if (isFrame(marker) && body.length >= 6) {
      const [height, width] = [viewOf(body).getUint16(1), viewOf(body).getUint16(3)];
      scans.begin(marker, body);
      found.progressive = scans.progressive;
      checkSize(width, height);
      if (body[5] > 3) throw new Refusal(UNKNOWN); // four inks
      checkMemory(width * height * ((body[5] === 1 ? 1 : 4) + 2 * body[5] * scans.progressive));
    } else if (marker === 0xc4) scans.tables(body);
    else if (marker === 0xe1 && startsWith(body, "Exif\0\0")) found.exif ??= body.subarray(6);
    else if (marker === 0xe1 && startsWith(body, "http://ns.adobe.com/xap/1.0/\0")) found.xmp ??= body;
    else if (marker === 0xda) {
      found.ended ||= last >= place; // Within a damaged scan, anything may be a marker.
      const end = endOfScan(bytes, place);
      scans.add(body, bytes.subarray(place, end));
      if (scans.count > SCANS) throw new Refusal("the JPEG file has too many scans; save it anew");
      place = end;
    }
  }
  scans.check();
  return found;
};

/** Where the next marker stands in coded data (ISO 10918-1, B.1.1.5). */
const endOfScan = (bytes, place) => {
  for (let at = bytes.indexOf(0xff, place); at >= 0 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return at;
  }
  return bytes.length;
};

/** What the scans of a JPEG hold of each component's 64 coefficients. */
class Scans {
  count = 0;
  progressive = false;
  missing = new Map(); // component * 64 + coefficient: bits to come
  first = new Map(); // of a Huffman table: the symbol that zeros stand for

  begin(marker, frame) {
    this.progressive = PROGRESSIVE.includes(marker);
    this.arithmetic = marker > 0xc8;
    this.missing.clear();
    if (!this.progressive) return;
    for (let i = 0; i < Math.min(frame[5], Math.floor((frame.length - 6) / 3)); i++)
      for (let coefficient = 0; coefficient < 64; coefficient++)
        this.missing.set(frame[6 + 3 * i] * 64 + coefficient, 99);
  }

  tables(body) {
    while (body.length > 17) {
      this.first.set(body[0], body[17]);
      body = body.subarray(17 + body.subarray(1, 17).reduce((sum, count) => sum + count, 0));
    }
  }

  add(header, coded) {
    this.count += 1;
    if (header.length < 4 || header.length < 4 + 2 * header[0]) return;
    const [start, end, bits] = header.subarray(-3);
    const chosen = Array.from({ length: header[0] }, (_, i) => [header[1 + 2 * i], header[2 + 2 * i]]);
    for (const [component] of chosen)
      for (let coefficient = start; coefficient <= Math.min(end, 63); coefficient++)
        if (this.missing.has(component * 64 + coefficient))
          this.missing.set(component * 64 + coefficient, bits & 15);
    if (bits >> 4 || this.arithmetic || !hasZeros(coded)) return;
    // No encoder writes so many zeros but where they mean "nothing changes, block after block".
    for (const [, tables] of chosen) {
      const [dc, ac] = [this.first.get(tables >> 4) ?? 0, this.first.get(16 + (tables & 15)) ?? 0];
      if ((start === 0 && dc) || (end > 0 && ac & 15))
        throw new Refusal("the image is damaged: a part of it is overwritten with zeros");
    }
  }

  check() {
    if (this.count && [...this.missing.values()].some(Boolean))
      throw new Refusal("the image is cut short: the last scans of the JPEG file are missing");
  }
}

const hasZeros = (coded) => {
  let run = 0;
  for (let i = 0; i < coded.length && run < ZEROS; i++) run = coded[i] ? 0 : run + 1;
  return run === ZEROS;
};
