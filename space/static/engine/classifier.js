// Answering for one image exactly as aihealth/classifier.py does.
import { FeatureDistance, LEAST_FOR_SHIFT } from "./distance.js";
import { extremes } from "./grey.js";
import { content, cut, putBack } from "./margins.js";
import { openNetwork } from "./network.js";
import { Refusal } from "./refusal.js";
import { blur, mirrorCorrelation, prepare, VERSIONS } from "./resize.js";

const MODEL_BROKEN = "the model of this page is damaged or incomplete; load the page again";
const SMOOTHED = "This image is like the training images only when it is smoothed, as noisy or " +
  "strongly compressed ones are: the answer is less certain.";
const UNLIKE = "This image differs from nearly all training images, as drawings and photographs " +
  "of a screen do: the answer is less certain.";
const LATERAL = "The two halves of this image differ more than in frontal radiographs: if it is " +
  "a lateral radiograph, the answer means nothing.";
const SHIFTED = "Taken together, these {n} images differ from those of the hospitals that the model " +
  "knows ({value}; theirs stay below {limit}): expect what its card says of hospitals that it has " +
  "not seen.";
const MASK = "the array has no values but 0 and 1, as a mask has; values from 0 to 255 are needed";
const SMOOTHING = 0.7; // pixels of the network's input
const NEARER = 0.85; // of the score of the image as it is, at most

/** Fetch a file of the page. */
const fetched = async (url) => {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Refusal(MODEL_BROKEN);
  return answer.arrayBuffer();
};

/** Open the model of a page whose folder is `base`, which ends in a slash. */
export const openClassifier = async (base) => {
  const [text, model, far] = await Promise.all([fetched(`${base}model/aihealth.json`),
    fetched(`${base}model/model.tflite`), fetched(`${base}model/ood.npz`).catch(() => null)]);
  let config, distance, network;
  try {
    config = JSON.parse(new TextDecoder().decode(text));
    distance = (config.ood_threshold ?? null) === null ? null : await FeatureDistance.of(far);
    network = await openNetwork(new Uint8Array(model));
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(MODEL_BROKEN);
  }
  const [size, count] = [config.input_size, config.classes?.length];
  const { image } = network.inputs;
  const { probabilities, features, heatmaps } = network.outputs;
  const fits = String(image) === String([1, size, size, 1]) && probabilities?.[1] === count &&
    features?.length === 2 && (!distance || features[1] === distance.width) &&
    (!heatmaps || heatmaps[1] === count) && (distance || (config.ood_threshold ?? null) === null);
  if (!fits) throw new Refusal(MODEL_BROKEN);
  return new Classifier(config, network, distance);
};

class Classifier {
  constructor(config, network, distance) {
    Object.assign(this, { config, network, distance });
  }

  /** The answer for a decoded picture; `warnings` is what was said of its file. */
  async answer(picture, warnings = []) {
    if (extremes(picture.data)[1] === 1) throw new Refusal(MASK);
    const { classes, ood_threshold: limit, abstain_below: least, lateral_threshold: lateral,
      versions_above: above } = this.config;
    let { box, inside, outputs } = await this.look(picture);
    const wrong = await this.whatIsWrong(inside, outputs.features);
    if (wrong) {
      picture = VERSIONS[wrong](picture);
      ({ box, inside, outputs } = await this.look(picture));
    }
    const { probabilities, features } = outputs;
    const [score, smoothed] = await this.distanceOf(inside, features);
    const isChest = !this.distance || score <= limit;
    const most = Math.max(...probabilities);
    const abstained = isChest && most < least;
    warnings = [...warnings];
    const warn = (key, args = {}) => warnings.push({ key, args });
    if (isChest && wrong)
      warn(`This image looks as if it ${wrong}; it was set right before it was judged.`);
    if (isChest && smoothed) warn(SMOOTHED);
    if (isChest && (lateral ?? null) !== null && mirrorCorrelation(inside) < lateral) warn(LATERAL);
    if (isChest && !warnings.length && (above ?? null) !== null && score > above) warn(UNLIKE);
    return {
      label: isChest && !abstained ? classes[probabilities.indexOf(most)] : null,
      probabilities: Object.fromEntries(classes.map((name, i) => [name, probabilities[i]])),
      is_chest_radiograph: isChest,
      ood_score: score,
      abstained,
      warnings,
      width: picture.width,
      height: picture.height,
      luminance: picture.data,
      heatmaps: this.scaled(outputs.heatmaps, box, picture),
      features,
    };
  }

  /** Whether images with these features come, as a whole, from elsewhere than the training data. */
  shift(features) {
    const limit = this.config.shift_limit ?? null;
    const known = this.distance && limit !== null && features.length >= LEAST_FOR_SHIFT;
    const value = known ? Number(this.distance.shift(features).toFixed(4)) : null;
    const warning = value !== null && value > limit ? { key: SHIFTED,
      args: { n: features.length, value: value.toFixed(2), limit: limit.toFixed(2) } } : null;
    return { n: features.length, value, limit, warning };
  }

  /** What the network says of a picture without its plain margins, and where that lies. */
  async look(picture) {
    const box = content(picture);
    const inside = cut(picture, box);
    return { box, inside, outputs: await this.outputs(inside) };
  }

  /** Run the network once: a browser compiles it in the first run, which is slow. */
  async warm() {
    await this.network.run(new Uint8Array(this.config.input_size ** 2));
  }

  outputs(picture) {
    return this.network.run(prepare(picture, this.config.input_size).data);
  }

  /** Distance from the training images, and whether it is that of a smoothed copy. */
  async distanceOf(picture, features) {
    if (!this.distance) return [0, false];
    const score = this.distance.score(features);
    if (score <= this.config.ood_threshold) return [score, false];
    const smooth = blur(prepare(picture, this.config.input_size), SMOOTHING);
    const second = this.distance.score((await this.outputs(smooth)).features);
    return [Math.min(score, second), second < score];
  }

  /** Which of VERSIONS a picture should be looked at in, null for most. */
  async whatIsWrong(picture, features) {
    const above = this.config.versions_above ?? null;
    if (!this.distance || above === null) return null;
    const score = this.distance.score(features);
    if (score <= above) return null;
    const small = prepare(picture, this.config.input_size);
    let best = { score: Infinity };
    for (const [name, change] of Object.entries(VERSIONS)) {
      const found = this.distance.score((await this.outputs(change(small))).features);
      if (found < best.score) best = { name, score: found };
    }
    return best.score <= Math.min(this.config.ood_threshold, NEARER * score) ? best.name : null;
  }

  /** Heatmaps with 1 at the strongest place over all classes; null where there are none. */
  scaled(maps, box, picture) {
    if (!maps) return null;
    const [, , h, w] = this.network.outputs.heatmaps;
    const positive = maps.map((value) => Math.max(value, 0));
    const { data, ...grid } = putBack({ h, w, data: positive }, box, picture);
    const peak = data.reduce((most, value) => Math.max(most, value), 0) || 1;
    return { names: this.config.classes, ...grid, data: data.map((value) => value / peak) };
  }
}
