// How far features lie from those of the training images; as aihealth/ood.py, whose file it reads.
import { entries, unpack } from "../zip.js";

export const LEAST_FOR_SHIFT = 20; // images

/** Distances to the training data, one whitening matrix and some centres for each depth. */
export class FeatureDistance {
  constructor(depths, scales) {
    this.depths = depths; // each { whitening, centres: { rows, columns, values } }
    this.scales = scales;
    this.width = depths.reduce((sum, { whitening }) => sum + whitening.rows, 0);
  }

  /** Distance of one image's features, from 0; 1 is about the farthest training image. */
  score(features) {
    return Math.max(...this.whitened(features).map((point, depth) => {
      const { square } = nearest(point, this.depths[depth].centres);
      return Math.sqrt(square / point.length) / this.scales[depth];
    }));
  }

  /** How far many images as a whole lie from the training data, from 0. */
  shift(all) {
    const points = all.map((features) => this.whitened(features));
    const squares = this.depths.map(({ centres, whitening: { columns } }, depth) => {
      const away = points.map((point) => {
        const { start } = nearest(point[depth], centres);
        return point[depth].map((value, i) => value - centres.values[start + i]);
      });
      let [square, byChance] = [0, 0];
      for (let i = 0; i < columns; i++) {
        const mean = away.reduce((sum, one) => sum + one[i], 0) / away.length;
        const spread = away.reduce((sum, one) => sum + (one[i] - mean) ** 2, 0) / (away.length - 1);
        square += mean ** 2 / columns;
        byChance += spread / columns / away.length;
      }
      return square - byChance;
    });
    const mean = squares.reduce((sum, square) => sum + square, 0) / squares.length;
    return Math.sqrt(Math.max(mean, 0));
  }

  whitened(features) {
    let first = 0;
    return this.depths.map(({ whitening: { rows, columns, values } }) => {
      const out = new Float64Array(columns);
      for (let row = 0; row < rows; row++) {
        const feature = features[first + row];
        for (let i = 0; i < columns; i++) out[i] += feature * values[row * columns + i];
      }
      first += rows;
      return out;
    });
  }

  /** Read `ood.npz`; null where it is no such file. */
  static async of(bytes) {
    const arrays = {};
    const parts = await entries(new Blob([bytes]));
    for (const part of parts) {
      const file = await unpack(part);
      arrays[part.name.replace(/\.npy$/, "")] = file && ofNpy(await file.arrayBuffer());
    }
    const { scales } = arrays;
    if (!scales?.values.length) return null;
    const depths = Array.from(scales.values, (_, depth) =>
      ({ whitening: arrays[`whitening_${depth}`], centres: arrays[`centres_${depth}`] }));
    const fits = depths.every(({ whitening, centres }) => whitening && centres &&
      whitening.rows === whitening.columns && centres.columns === whitening.rows);
    return fits ? new FeatureDistance(depths, scales.values) : null;
  }
}

/** The nearest centre: where its numbers start, and the square of the distance. */
const nearest = (point, { rows, columns, values }) => {
  let best = { start: 0, square: Infinity };
  for (let row = 0; row < rows; row++) {
    let square = 0;
    for (let i = 0; i < columns; i++) square += (point[i] - values[row * columns + i]) ** 2;
    if (square < best.square) best = { start: row * columns, square };
  }
  return best;
};

/** An array of NumPy's format (1.0) of one or two dimensions; null for others. */
const ofNpy = (buffer) => {
  const view = new DataView(buffer);
  const start = 10 + view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, 10, start - 10));
  const kind = { "<f4": Float32Array, "<f8": Float64Array }[/'descr': '([^']+)'/.exec(header)?.[1]];
  const shape = /'shape': \(([\d, ]*)\)/.exec(header)?.[1].match(/\d+/g)?.map(Number);
  if (!kind || !shape || shape.length > 2) return null;
  const values = new kind(buffer.slice(start));
  const [columns, rows = 1] = shape.reverse();
  if (values.length !== rows * columns || !values.every(Number.isFinite)) return null;
  if (!/'fortran_order': True/.test(header) || shape.length < 2) return { rows, columns, values };
  const at = (i) => (i % columns) * rows + Math.floor(i / columns); // column after column
  return { rows, columns, values: values.map((_, i) => values[at(i)]) };
};
