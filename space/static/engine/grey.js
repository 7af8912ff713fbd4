// From the samples of a file to grey levels; as aihealth/images.py and levels.py.
import { Refusal } from "./refusal.js";

const RARE = 0.005; // share of the pixels that may be defects, at each end

/** Round half to even, as NumPy does. */
export const rint = (value) => {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
};

/** Grey levels of colours (3 or 4 samples a pixel, 0..255), weighed as in ITU-R 601. */
export const luma = (samples, channels) => {
  const grey = new Uint8Array(samples.length / channels);
  for (let i = 0, at = 0; i < grey.length; i++, at += channels)
    grey[i] = (samples[at] * 19595 + samples[at + 1] * 38470 + samples[at + 2] * 7471 + 0x8000) >> 16;
  return grey;
};

/** Whether a picture is more than grey: at half of 64 x 64 places its channels differ by over 4. */
export const isInColour = (samples, channels, width, height) => {
  const place = (i, size) => Math.floor(((i + 0.5) * size) / 64);
  const spreads = Array.from({ length: 64 * 64 }, (_, i) => {
    const at = channels * (place(i >> 6, height) * width + place(i & 63, width));
    const rgb = samples.subarray(at, at + 3);
    return Math.max(...rgb) - Math.min(...rgb);
  });
  return spreads.sort((a, b) => a - b)[2047] + spreads[2048] > 8; // twice the median
};

/** The lowest and highest value. */
export const extremes = (values) => {
  let [low, high, sum] = [Infinity, -Infinity, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value < low) low = value;
    if (value > high) high = value;
    sum += value;
  }
  if (!Number.isFinite(low) || !Number.isFinite(high) || Number.isNaN(sum))
    throw new Refusal("the image has values that are not numbers");
  return [low, high];
};

/**
 * The lowest and highest value that are no defects of the detector: what lies beyond the outermost
 * half percent is left out from where a gap opens that is wider than the range of all the others.
 * `rows` of so many pixels are sampled a strip at a time.
 */
export const endsOf = (values, width, rows = Math.max(1, Math.floor(2 ** 20 / width))) => {
  let [low, high] = extremes(values);
  const sample = [];
  for (let start = 0; start < values.length; start += rows * width) {
    const stop = Math.min(values.length, start + rows * width);
    const step = Math.floor((stop - start) / 2 ** 14) | 1;
    for (let at = start; at < stop; at += step) sample.push(values[at]);
  }
  const ordered = Float64Array.from(sample).sort();
  const [inLow, inHigh] = [percentile(ordered, RARE), percentile(ordered, 1 - RARE)];
  const spread = inHigh - inLow;
  const tail = (keep) => Float64Array.from(new Set(values.filter(keep))).sort();
  if (spread > 0 && high - inHigh > spread)
    high = beforeGap(tail((value) => value > inHigh), inHigh, spread);
  if (spread > 0 && inLow - low > spread)
    low = beforeGap(tail((value) => value < inLow).reverse(), inLow, spread);
  return [low, high];
};

const percentile = (ordered, share) => {
  const place = share * (ordered.length - 1);
  const [from, to] = [ordered[Math.floor(place)], ordered[Math.min(Math.floor(place) + 1, ordered.length - 1)]];
  const part = place - Math.floor(place);
  return part < 0.5 ? from + (to - from) * part : to - (to - from) * (1 - part);
};

const beforeGap = (tail, start, width) => {
  const gap = tail.findIndex((value, i) => Math.abs(value - (i ? tail[i - 1] : start)) > width);
  if (gap < 0) return tail[tail.length - 1];
  if (gap > 0) return tail[gap - 1];
  return tail[0] < start ? Math.ceil(start) : Math.trunc(start);
};

/** Values stretched linearly so that the ends become 0 and 255, in single precision. */
export const stretch = (values, [from, to]) => {
  const f = Math.fround;
  const [low, high] = [f(from), f(to)];
  const scale = high > low ? f(255 / f(high - low)) : 0;
  const level = (stored) => {
    const value = f(f(f(stored) - low) * scale);
    return value >= 255 ? 255 : value > 0 ? rint(value) : 0;
  };
  const grey = new Uint8Array(values.length);
  if (!(values.BYTES_PER_ELEMENT <= 2)) {
    for (let i = 0; i < grey.length; i++) grey[i] = level(values[i]);
    return grey;
  }
  const table = Uint8Array.from({ length: 65536 }, (_, i) => level((i << 16) >> 16));
  if (!/^Int/.test(values.constructor.name)) for (let i = 32768; i < 65536; i++) table[i] = level(i);
  for (let i = 0; i < grey.length; i++) grey[i] = table[values[i] & 0xffff];
  return grey;
};

/** A picture turned as its EXIF orientation (1 to 8) says. */
const oriented = (picture, orientation) => {
  const { width, height, data } = picture;
  const [right, low] = [width - 1, height - 1];
  const from = {
    2: (x, y) => [right - x, y], 3: (x, y) => [right - x, low - y], 4: (x, y) => [x, low - y],
    5: (x, y) => [y, x], 6: (x, y) => [y, low - x], 7: (x, y) => [right - y, low - x],
    8: (x, y) => [right - y, x],
  }[orientation];
  if (!from) return picture;
  const [columns, rows] = orientation > 4 ? [height, width] : [width, height];
  const out = new data.constructor(data.length);
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const [column, row] = from(x, y);
      out[at++] = data[row * width + column];
    }
  }
  return { width: columns, height: rows, data: out };
};

/**
 * The grey picture of what a format's reader gives: { width, height, data, form, orientation,
 * whiteIsZero }, where `data` has one number a pixel and form says what it is: "grey" as it is,
 * "levels" to be stretched, "upper" the upper 8 of 16 bits of a colour.
 */
export const greyOf = (read) => {
  const { width, height, data } = oriented(read, read.orientation ?? 1);
  if (read.form === "grey") return { width, height, data };
  const ends = read.form === "levels" ? endsOf(data, width) : endsOf(data, width, height);
  if (read.form === "upper" && Math.trunc(ends[1]) - Math.trunc(ends[0]) < 128)
    throw new Refusal("the image uses less than half of its 16 bits a colour; save it in grey or with 8 bits");
  const grey = stretch(data, ends);
  return { width, height, data: read.whiteIsZero ? grey.map((value) => 255 - value) : grey };
};
