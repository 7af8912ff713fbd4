// Bytes: unpacking, sums, and the tags of TIFF, which EXIF has too.

/** A view of the same bytes. */
export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Bytes as text, one sign a byte. */
export const latin1 = (bytes) => {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

export const startsWith = (bytes, text, at = 0) =>
  at + text.length <= bytes.length && [...text].every((sign, i) => bytes[at + i] === sign.charCodeAt(0));

const PIECE = 2 ** 14; // A browser unpacks all of a piece before it hands on any: up to 16 MB of this.

const stream = (parts) => {
  const pieces = (function* () {
    for (const part of parts)
      for (let at = 0; at < part.length; at += PIECE) yield part.subarray(at, at + PIECE);
  })();
  return new ReadableStream({ pull(to) {
    const { done, value } = pieces.next();
    if (done) to.close();
    else to.enqueue(value);
  } });
};

/**
 * Inflate parts, of which `limit` bytes are kept: { data, whole }, whole if the end was read and its
 * sum is right. What comes after the limit is unpacked only with `toEnd`.
 */
export const inflate = async (parts, format, limit, toEnd = false) => {
  const reader = stream(parts).pipeThrough(new DecompressionStream(format)).getReader();
  const chunks = [];
  let [length, whole] = [0, false];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      whole = done;
      if (done || (length === limit && !toEnd)) break;
      if (length === limit) continue; // An empty part of it would keep all of it.
      chunks.push(value.subarray(0, limit - length));
      length += chunks.at(-1).length;
    }
  } catch {
    whole = false;
  }
  reader.cancel().catch(() => {});
  const data = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    data.set(chunk, at);
    at += chunk.length;
  }
  return { data, whole };
};

const CRC = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? (i >>> 1) ^ 0xedb88320 : i >>> 1;
  return i;
});

export const crc32 = (bytes) => {
  let sum = -1;
  for (let i = 0; i < bytes.length; i++) sum = (sum >>> 8) ^ CRC[(sum ^ bytes[i]) & 255];
  return ~sum >>> 0;
};

// === Tags of TIFF 6.0 ===

// Those that are asked for; others may hold anything, of any length.
const KNOWN = new Set([254, 255, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324,
  325, 330, 339, 347]);
const SIZES = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 12: 8, 13: 4 };

/** Byte order of TIFF bytes: true for little-endian, null where they are no TIFF. */
export const tiffOrder = (bytes) =>
  startsWith(bytes, "II*\0") ? true : startsWith(bytes, "MM\0*") ? false : null;

/** The directory at a place: { tags: Map of number to numbers, next }; null where there is none. */
export const directory = (bytes, place, little) => {
  const view = viewOf(bytes);
  if (place < 8 || place + 2 > bytes.length) return null;
  const count = view.getUint16(place, little);
  if (place + 6 + 12 * count > bytes.length + 4) return null;
  const tags = new Map();
  for (let at = place + 2; at < place + 2 + 12 * count; at += 12) {
    const [tag, kind] = [view.getUint16(at, little), view.getUint16(at + 2, little)];
    const [number, size] = [view.getUint32(at + 4, little), SIZES[kind]];
    const start = size * number > 4 ? view.getUint32(at + 8, little) : at + 8;
    const fits = size && number <= 2 ** 20 && start + size * number <= bytes.length;
    if (!fits || !KNOWN.has(tag) || tags.has(tag)) continue;
    tags.set(tag, Array.from({ length: number }, (_, i) => {
      const here = start + i * size;
      return { 1: () => view.getUint8(here), 2: () => view.getUint8(here), 3: () => view.getUint16(here, little),
        4: () => view.getUint32(here, little), 6: () => view.getInt8(here), 7: () => view.getUint8(here),
        5: () => view.getUint32(here, little) / view.getUint32(here + 4, little),
        8: () => view.getInt16(here, little), 9: () => view.getInt32(here, little),
        11: () => view.getFloat32(here, little), 12: () => view.getFloat64(here, little),
        13: () => view.getUint32(here, little) }[kind]();
    }));
  }
  const end = place + 2 + 12 * count;
  return { tags, next: end + 4 <= bytes.length ? view.getUint32(end, little) : 0 };
};

const ORIENTATION = 0x112;

/** Orientation by a file's EXIF (bytes from its "II" or "MM"), else by its XMP; 1 without either. */
export const orientationOf = (exif, xmp) => {
  const little = exif && tiffOrder(exif);
  if (little !== null && little !== undefined) {
    const first = directory(exif, viewOf(exif).getUint32(4, little), little);
    const found = first?.tags.get(ORIENTATION)?.[0];
    if (found) return found;
  }
  return Number(/tiff:Orientation(?:="|>)([0-9])/.exec(xmp ? latin1(xmp) : "")?.[1] ?? 1);
};
