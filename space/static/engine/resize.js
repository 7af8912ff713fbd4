// Grey pictures made smaller, bit for bit as Pillow does it for the model that was trained on that.
//
// A picture is { width, height, data }, data a Uint8Array of rows, 0 black to 255 white.

const PRECISION = 22; // bits after the point of a weight: Pillow's 32 - 8 - 2
const GAP = 3; // `images.prepare` shrinks by a whole factor first, to this many times the size
const CLIP = new Uint8ClampedArray(1);

/** Grey levels at the size that a model takes; as `images.prepare`. */
export const prepare = (picture, size) => {
  const { width, height } = picture;
  if (width === size && height === size) return picture;
  const [x, y] = [width, height].map((side) => Math.trunc(side / size / GAP) || 1);
  const small = x > 1 || y > 1 ? reduce(picture, x, y) : picture;
  return resize(small, size, size, Math.fround(width / x), Math.fround(height / y));
};

/** Means of blocks of x by y pixels; those at the right and lower end may be smaller. */
export const reduce = ({ width, height, data }, x, y) => {
  const [columns, rows] = [Math.ceil(width / x), Math.ceil(height / y)];
  const out = new Uint8Array(columns * rows);
  const sums = new Uint32Array(columns);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    const end = Math.min(height, (row + 1) * y);
    for (let line = row * y; line < end; line++) {
      let at = line * width;
      for (let column = 0; column < columns; column++) {
        const stop = Math.min(line * width + width, at + x);
        let sum = 0;
        while (at < stop) sum += data[at++];
        sums[column] += sum;
      }
    }
    for (let column = 0; column < columns; column++) {
      const count = (Math.min(width, (column + 1) * x) - column * x) * (end - row * y);
      const factor = Math.trunc(Math.fround(2 ** 24 / count));
      out[row * columns + column] =
        Math.floor(((sums[column] + Math.trunc(count / 2)) * factor) / 2 ** 24);
    }
  }
  return { width: columns, height: rows, data: out };
};

/** Weights of the bilinear filter, widened where it shrinks: where each starts, and its numbers. */
const weights = (inside, box, outside) => {
  const scale = box / outside;
  const wide = Math.max(scale, 1);
  const [step, support] = [1 / wide, wide];
  return Array.from({ length: outside }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const stop = Math.min(inside, Math.trunc(centre + support + 0.5));
    const raw = [];
    let total = 0;
    for (let x = start; x < stop; x++) {
      const weight = Math.max(0, 1 - Math.abs((x - centre + 0.5) * step));
      raw.push(weight);
      total += weight;
    }
    const whole = raw.map((weight) =>
      Math.trunc(0.5 + (total ? weight / total : weight) * 2 ** PRECISION));
    return { start, whole: Int32Array.from(whole) };
  });
};

/** The part of `boxWidth` by `boxHeight` pixels at the upper left, at another size. */
const resize = (picture, width, height, boxWidth, boxHeight) => {
  const across = picture.width === width && boxWidth === width
    ? picture : alongRows(picture, weights(picture.width, boxWidth, width));
  return across.height === height && boxHeight === height
    ? across : alongColumns(across, weights(across.height, boxHeight, height));
};

const alongRows = ({ width, height, data }, all) => {
  const out = new Uint8Array(all.length * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (const { start, whole } of all) {
      let sum = 1 << (PRECISION - 1);
      for (let i = 0, from = y * width + start; i < whole.length; i++) sum += data[from + i] * whole[i];
      out[at++] = clipped(sum >> PRECISION);
    }
  }
  return { width: all.length, height, data: out };
};

const alongColumns = ({ width, data }, all) => {
  const out = new Uint8Array(width * all.length);
  const sums = new Int32Array(width);
  all.forEach(({ start, whole }, row) => {
    sums.fill(1 << (PRECISION - 1));
    whole.forEach((weight, i) => {
      for (let x = 0, from = (start + i) * width; x < width; x++) sums[x] += data[from + x] * weight;
    });
    for (let x = 0; x < width; x++) out[row * width + x] = clipped(sums[x] >> PRECISION);
  });
  return { width, height: all.length, data: out };
};

const clipped = (value) => {
  CLIP[0] = value;
  return CLIP[0];
};

/** Pillow's GaussianBlur of a small radius: three box blurs along rows, then along columns. */
export const blur = ({ width, height, data }, radius) => {
  const f = Math.fround; // Pillow reckons in single precision here.
  const sigma2 = f(f(f(radius) * f(radius)) / 3);
  const length = f(Math.sqrt(12 * sigma2 + 1));
  const whole = Math.floor((length - 1) / 2);
  const above = f((2 * whole + 1) * f(whole * (whole + 1) - f(3 * sigma2)));
  const reach = f(whole + f(above / f(6 * f(sigma2 - (whole + 1) ** 2))));
  let now = data;
  for (let pass = 0; pass < 3; pass++) now = boxBlur(now, width, height, 1, width, reach);
  for (let pass = 0; pass < 3; pass++) now = boxBlur(now, height, width, width, 1, reach);
  return { width, height, data: now };
};

/** One box blur of `lines` lines of `length` pixels, which lie `step` apart. */
const boxBlur = (data, length, lines, step, stride, reach) => {
  const whole = Math.trunc(reach);
  const inner = Math.trunc(Math.fround(2 ** 24 / Math.fround(Math.fround(reach * 2) + 1)));
  const outer = Math.trunc((2 ** 24 - (2 * whole + 1) * inner) / 2);
  const out = new Uint8Array(data.length);
  for (let line = 0; line < lines; line++) {
    const pixel = (x) => data[line * stride + Math.min(Math.max(x, 0), length - 1) * step];
    for (let x = 0; x < length; x++) {
      let sum = 0;
      for (let i = x - whole; i <= x + whole; i++) sum += pixel(i);
      const mixed = sum * inner + (pixel(x - whole - 1) + pixel(x + whole + 1)) * outer;
      out[line * stride + x * step] = Math.floor((mixed + 2 ** 23) / 2 ** 24);
    }
  }
  return out;
};

/** How alike the two halves of a picture are, -1 to 1; as `images.mirror_correlation`. */
export const mirrorCorrelation = (picture) => {
  const side = 16;
  const { data } = prepare(picture, side);
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
  let [power, alike] = [0, 0];
  data.forEach((value, at) => {
    const across = data[at - (at % side) + side - 1 - (at % side)];
    power += (value - mean) ** 2;
    alike += (value - mean) * (across - mean);
  });
  return power > 0 ? alike / power : 1;
};

// === Other versions of a picture (aihealth/upright.py) ===

const moved = (picture, width, height, from) => {
  const data = new Uint8Array(picture.data.length);
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++) data[at++] = picture.data[from(x, y)];
  return { width, height, data };
};

/** What a picture may be, and what sets it right. */
export const VERSIONS = {
  "is a negative": ({ width, height, data }) => ({ width, height, data: data.map((v) => 255 - v) }),
  "lies on its side": (p) => moved(p, p.height, p.width, (x, y) => x * p.width + p.width - 1 - y),
  "lies on its other side": (p) =>
    moved(p, p.height, p.width, (x, y) => (p.height - 1 - x) * p.width + y),
  "is upside down": (p) => moved(p, p.width, p.height, (x, y) => p.data.length - 1 - y * p.width - x),
};
