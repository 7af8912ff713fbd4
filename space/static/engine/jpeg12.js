// JPEG of 12 bits (ISO 10918-1, extended sequential), which no package for the browser decodes:
// Huffman codes and the integer transform of the Independent JPEG Group, in 12 bits.
import { viewOf } from "./bytes.js";
import { DAMAGED, Refusal } from "./refusal.js";

const ZIGZAG = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34,
  27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
  52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63];

/** Values of a frame of one component, or of several that are not subsampled: Uint16Array. */
export const decodeDeepJpeg = (bytes) => {
  const view = viewOf(bytes);
  const [quantization, huffman] = [{}, {}];
  let [place, frame, interval] = [2, null, 0];
  for (;;) {
    if (place + 4 > bytes.length || bytes[place] !== 0xff) throw new Refusal(DAMAGED);
    const [marker, length] = [bytes[place + 1], view.getUint16(place + 2)];
    if (marker === 0xff) {
      place += 1;
      continue;
    }
    const body = bytes.subarray(place + 4, place + 2 + length);
    place += 2 + length;
    if (marker === 0xdb) quantizationOf(body, quantization);
    else if (marker === 0xc4) huffmanOf(body, huffman);
    else if (marker === 0xdd) interval = (body[0] << 8) | body[1];
    else if (marker === 0xc0 || marker === 0xc1) {
      frame = { height: viewOf(body).getUint16(1), width: viewOf(body).getUint16(3),
        components: Array.from({ length: body[5] }, (_, i) =>
          ({ id: body[6 + 3 * i], sampling: body[7 + 3 * i], table: body[8 + 3 * i] })) };
    } else if (marker === 0xda) return scan(bytes, place, frame, body, { quantization, huffman, interval });
  }
};

const quantizationOf = (body, tables) => {
  for (let at = 0; at < body.length; ) {
    const [wide, id] = [body[at] >> 4, body[at] & 15];
    at += 1;
    tables[id] = ZIGZAG.map((_, i) => (wide ? (body[at + 2 * i] << 8) | body[at + 2 * i + 1] : body[at + i]));
    at += wide ? 128 : 64;
  }
};

/** Tables of codes: by their length and number, the symbol. */
const huffmanOf = (body, tables) => {
  for (let at = 0; at + 17 <= body.length; ) {
    const [id, counts] = [body[at], body.subarray(at + 1, at + 17)];
    const codes = new Map();
    let code = 0;
    at += 17;
    counts.forEach((count, i) => {
      for (let k = 0; k < count; k++) codes.set(((i + 1) << 16) | code++, body[at++]);
      code <<= 1;
    });
    tables[id] = codes;
  }
};

const scan = (bytes, place, frame, header, { quantization, huffman, interval }) => {
  const alike = frame?.components.every(({ sampling }) => sampling === 0x11);
  if (!frame || header[0] !== frame.components.length || (!alike && header[0] > 1)) throw new Refusal(DAMAGED);
  const { width, height, components } = frame;
  const parts = components.map(({ table }, i) => ({ scale: quantization[table], last: 0,
    dc: huffman[header[2 + 2 * i] >> 4], ac: huffman[16 | (header[2 + 2 * i] & 15)] }));
  if (parts.some(({ scale, dc, ac }) => !scale || !dc || !ac)) throw new Refusal(DAMAGED);
  const out = new Uint16Array(width * height * parts.length);
  const [across, down] = [Math.ceil(width / 8), Math.ceil(height / 8)];
  let [held, count] = [0, 0];
  const bit = () => {
    if (!count) {
      held = bytes[place++];
      if (held === undefined || (held === 0xff && bytes[place++] !== 0)) throw new Refusal(DAMAGED);
      count = 8;
    }
    count -= 1;
    return (held >> count) & 1;
  };
  const symbol = (codes) => {
    for (let length = 1, code = 0; length <= 16; length++) {
      code = (code << 1) | bit();
      const found = codes.get((length << 16) | code);
      if (found !== undefined) return found;
    }
    throw new Refusal(DAMAGED);
  };
  const number = (size) => {
    let value = 0;
    for (let i = 0; i < size; i++) value = (value << 1) | bit();
    return size && value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
  };
  const block = new Float64Array(64);
  for (let unit = 0; unit < across * down; unit++) {
    if (interval && unit && unit % interval === 0) {
      while (bytes[place] !== 0xff && place < bytes.length) place += 1;
      [place, count] = [place + 2, 0];
      for (const part of parts) part.last = 0;
    }
    parts.forEach((part, channel) => {
      block.fill(0);
      part.last += number(symbol(part.dc));
      block[0] = part.last * part.scale[0];
      for (let k = 1; k < 64; k++) {
        const found = symbol(part.ac);
        if (found === 0) break;
        k += found >> 4;
        if (k > 63) throw new Refusal(DAMAGED);
        block[ZIGZAG[k]] = number(found & 15) * part.scale[k];
      }
      transform(block);
      const [x, y] = [(unit % across) * 8, Math.floor(unit / across) * 8];
      for (let i = 0; i < 64; i++) {
        const [column, row] = [x + (i & 7), y + (i >> 3)];
        if (column < width && row < height)
          out[(row * width + column) * parts.length + channel] = Math.min(4095, Math.max(0, block[i] + 2048));
      }
    });
  }
  return out;
};

/** Inverse cosine transform of 8 x 8 values: along columns, then along rows. */
const transform = (block) => {
  for (let i = 0; i < 8; i++) line(block, i, 8, 2 ** 12);
  for (let i = 0; i < 8; i++) line(block, 8 * i, 1, 2 ** 17);
};

/** Loeffler, Ligtenberg and Moschytz, with constants of 13 bits after the point. */
const line = (v, start, step, scale) => {
  const at = (i) => v[start + i * step];
  const even = (at(2) + at(6)) * 4433;
  const [low, high] = [even - at(6) * 15137, even + at(2) * 6270];
  const [sum, difference] = [(at(0) + at(4)) * 8192, (at(0) - at(4)) * 8192];
  const evens = [sum + high, difference + low, difference - low, sum - high];
  const all = (at(7) + at(3) + at(5) + at(1)) * 9633;
  const [z1, z2] = [(at(7) + at(1)) * -7373, (at(5) + at(3)) * -20995];
  const [z3, z4] = [(at(7) + at(3)) * -16069 + all, (at(5) + at(1)) * -3196 + all];
  const odds = [at(1) * 12299 + z1 + z4, at(3) * 25172 + z2 + z3, at(5) * 16819 + z2 + z4,
    at(7) * 2446 + z1 + z3];
  for (let i = 0; i < 4; i++) {
    v[start + i * step] = Math.floor((evens[i] + odds[i] + scale / 2) / scale);
    v[start + (7 - i) * step] = Math.floor((evens[i] - odds[i] + scale / 2) / scale);
  }
};
