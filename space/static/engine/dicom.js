// DICOM radiographs to grey levels; as aihealth/dicom.py.
import { items, text, texts } from "./dicom_tags.js";
import { readFile } from "./dicom_file.js";
import { BAD_FRAME, decodeFrame, layoutOf } from "./dicom_frame.js";
import { hasTables, modality, paddingOf, windowOf } from "./dicom_window.js";
import { endsOf, extremes, stretch } from "./grey.js";
import { checkMemory, checkSize } from "./limits.js";
import { Refusal } from "./refusal.js";

const FRAMES = "The file has {count} frames; only the first was used.";
const SIDEWAYS = "The file says that this is a lateral view: the answer means nothing.";
const NO_PHOTOMETRIC = "The file does not say whether low values are black or white (Photometric " +
  "Interpretation): black was taken.";
const INVERSE = "The file contradicts itself on black and white (MONOCHROME2 with Presentation LUT " +
  "Shape INVERSE): the shape was applied, and they may be exchanged.";
const IDENTITY = "The file contradicts itself on black and white (MONOCHROME1 with Presentation LUT " +
  "Shape IDENTITY): the shape was not applied, and they may be exchanged.";
const CONTRADICTION = "the DICOM file says Bits Stored {stored} and High Bit {high}, which contradict " +
  "each other; export it again";
// PS3.16, CID 4010: lateral, left lateral, right lateral, and their mediolateral kinds.
const LATERAL_CODES = ["399067008", "399173006", "399198007", "399352003", "399260004", "R-102CD",
  "R-10236", "R-10232", "R-10228", "R-10224"];
const SAMPLE = 2 ** 18; // pixels that a window is judged by
const UNSIGNED = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
const SIGNED = { 1: Int8Array, 2: Int16Array, 4: Int32Array };

/**
 * Decode the first frame: { picture, warnings, valueAt }, which gives the device's value
 * before the window at a place; null in colour.
 */
export const readDicom = async (bytes) => {
  const file = await readFile(bytes);
  const warnings = [];
  try {
    const layout = layoutOf(file);
    const { rows: height, columns: width, samples, allocated } = layout;
    checkSize(width, height, samples);
    checkMemory(width * height * (1 + Math.floor((3 * samples * allocated) / 8)));
    const { data, channels } = await decodeFrame(file, layout);
    if (layout.frames > 1) warnings.push({ key: FRAMES, args: { count: layout.frames } });
    if (isLateralFile(file.header)) warnings.push({ key: SIDEWAYS, args: {} });
    const { grey, valueAt } = channels === 1 && layout.isGrey
      ? greyOf(data, layout, file.header, warnings)
      : { grey: channels === 1 ? stretch(data, endsOf(data, width)) : ofColours(data), valueAt: null };
    return { picture: { width, height, data: grey }, warnings, valueAt };
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(BAD_FRAME);
  }
};

/** Whether a View Position names a lateral projection; see aihealth/dicom.py. */
const isLateral = (view) => {
  const words = view.toUpperCase().match(/[A-Z]+/g) ?? [];
  if (words.some((word) => ["AP", "PA"].includes(word) || /^(DEC|OBL)/.test(word))) return false;
  return words.some((word) => /^(LL|RL|(L|R|LT|RT)?LAT(ERAL)?)$/.test(word));
};

const isLateralFile = (header) => isLateral(texts(header, "ViewPosition").join(" ")) ||
  items(header, "ViewCodeSequence").some((item) =>
    [text(item, "CodeValue"), text(item, "LongCodeValue")].some((code) => LATERAL_CODES.includes(code)) ||
    isLateral(text(item, "CodeMeaning")));

/** Stored values to grey levels; notes for the reader go to `warnings`. */
const greyOf = (stored, layout, header, warnings) => {
  const shape = text(header, "PresentationLUTShape");
  let whiteIsLow = layout.photometric === "MONOCHROME1";
  const note = (key) => warnings.push({ key, args: {} });
  if (!layout.known) note(NO_PHOTOMETRIC);
  if (shape === "INVERSE" && !whiteIsLow) {
    whiteIsLow = true; // As most viewers show it: the shape is the later word.
    note(INVERSE);
  } else if (shape === "IDENTITY" && whiteIsLow) note(IDENTITY);
  let padding = paddingOf(stored, header, layout.allocated);
  const meant = valuesOf(stored, layout, header, padding);
  padding ??= paddingOf(meant, header, layout.stored);
  let pixels = meant;
  if (padding) { // It must not count as the film's darkest or brightest value.
    let least = Infinity;
    for (let i = 0; i < meant.length; i++) if (!padding[i] && meant[i] < least) least = meant[i];
    pixels = meant.map((value, i) => (padding[i] ? least : value));
  }
  const grey = shown(pixels, layout.columns, header, padding, warnings);
  for (let i = 0; i < grey.length; i++) {
    if (whiteIsLow) grey[i] = 255 - grey[i]; // PS3.3 C.7.6.3.1.2: the lowest value is white.
    if (padding?.[i]) grey[i] = 0;
  }
  const { change } = modality(header, meant.constructor.name.startsWith("Int"));
  return { grey, valueAt: (place) => change(meant[place]) };
};

/** The numbers that stored bits mean, where High Bit, Bits Stored and the sign leave doubt. */
const valuesOf = (pixels, { stored, high, signed: said }, header, padding) => {
  const size = pixels.BYTES_PER_ELEMENT;
  const width = 8 * size;
  if (width > 16 || (width === stored && high === stored - 1 && said !== null)) return pixels;
  let bits = new UNSIGNED[size](pixels.buffer, pixels.byteOffset, pixels.length);
  let used = 0;
  for (let i = 0; i < bits.length; i++) if (!padding?.[i]) used |= bits[i];
  const shift = high + 1 - stored;
  const below = shift > 0 ? used & ((1 << shift) - 1) : 0;
  const fits = !(used >> stored) || isSignedFit(new SIGNED[size](bits.buffer, bits.byteOffset, bits.length), stored);
  if (shift > 0 && (!below || (high === width - 1 && stored >= 8 && !fits))) {
    bits = bits.map((value) => value >> shift);
    used >>= shift;
  } else if (shift < 0 && !(used >> (high + 1)) && said && used >> high)
    throw new Refusal(CONTRADICTION, { stored, high });
  const mask = 2 ** stored - 1;
  if (used & ~mask && hasEmbeddedOverlay(header)) {
    bits = bits.map((value) => value & mask);
    used &= mask;
  }
  if (said === false) return bits;
  const spare = used & ~mask ? 0 : width - stored; // More bits are in use than announced.
  const signed = new SIGNED[size](bits.length);
  const rest = 32 - width + spare;
  for (let i = 0; i < bits.length; i++) signed[i] = (bits[i] << rest) >> rest;
  if (said && !spare) return signed;
  // The reading in which the values lie close together is right.
  return spreadOf(signed, padding) < spreadOf(bits, padding) ? signed : bits;
};

const spreadOf = (values, padding) => {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    if (padding?.[i]) continue;
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return high - low;
};

const isSignedFit = (values, stored) => {
  const [low, high] = extremes(values);
  const half = 2 ** (stored - 1);
  return low < 0 && low >= -half && high < half;
};

/** Whether graphics lie in the spare bits of the pixels (PS3.5, 8.1.2), as they once did. */
const hasEmbeddedOverlay = (header) => Array.from({ length: 16 }, (_, i) => 0x6000 + 2 * i)
  .some((group) => header.has(group * 0x10000 + 0x0102) && !header.has(group * 0x10000 + 0x3000));

/** Apply modality and window, each value once. */
const shown = (pixels, width, header, padding, warnings) => {
  const signed = pixels.constructor.name.startsWith("Int");
  const { change, notes } = modality(header, signed);
  const [low, high] = endsOf(pixels, width).map(Math.trunc);
  warnings.push(...notes);
  if (!hasTables(header)) {
    const grey = stretch(pixels, [low, high]);
    return change(1) < change(0) ? grey.map((value) => 255 - value) : grey;
  }
  const within = (value) => Math.min(high, Math.max(low, value));
  if (pixels.BYTES_PER_ELEMENT > 2) {
    checkMemory(pixels.length * 32);
    const found = new Map();
    const step = Math.floor(pixels.length / 2 ** 16) + 1;
    for (let i = 0; i < pixels.length; i += step) found.set(pixels[i], (found.get(pixels[i]) ?? 0) + 1);
    const { voi, notes: said } = windowOf(header, [...found.keys()].map(change), [...found.values()], signed);
    warnings.push(...said);
    const seen = Float64Array.from(pixels, (value) => voi(change(within(value))));
    return stretch(seen, extremes(seen));
  }
  const every = Math.max(1, Math.floor(Math.sqrt(pixels.length / SAMPLE)));
  const counts = new Uint32Array(high - low + 1);
  for (let start = 0; start < pixels.length; start += every * width)
    for (let i = start; i < start + width; i += every) if (!padding?.[i]) counts[within(pixels[i]) - low] += 1;
  const values = Array.from(counts, (_, i) => change(low + i));
  const { voi, notes: said } = windowOf(header, values, counts, signed);
  warnings.push(...said);
  const seen = values.map(voi);
  const used = seen.filter((_, i) => counts[i] || i === 0 || i === counts.length - 1);
  const table = stretch(seen, extremes(used));
  const grey = new Uint8Array(pixels.length);
  for (let i = 0; i < grey.length; i++) grey[i] = table[within(pixels[i]) - low];
  return grey;
};

/** Weigh colours as in ITU-R 601, stretched. */
const ofColours = (samples) => {
  const grey = new Float64Array(samples.length / 3);
  for (let i = 0; i < grey.length; i++)
    grey[i] = samples[3 * i] * 0.299 + samples[3 * i + 1] * 0.587 + samples[3 * i + 2] * 0.114;
  return stretch(grey, extremes(grey));
};
