// From stored values to what is meant to be seen: modality LUT or rescale, VOI LUT or window; as
// aihealth/dicom_window.py.
import { rint } from "./grey.js";
import { has, hasValue, items, number, numbers, text, whole, words } from "./dicom_tags.js";

const HIDING = "The window in the file hides nearly all of the image and was left out.";
const UNREADABLE = "The file's {tag} cannot be read and was left out.";
const LEAST_INSIDE = 0.1; // share of the image that a window has to leave between black and white

const unreadable = (tag) => ({ key: UNREADABLE, args: { tag } });

/** How a stored value becomes the device's: { change, notes }. */
export const modality = (header, signed) => {
  for (const item of items(header, "ModalityLUTSequence")) {
    const table = tableOf(item, signed);
    if (table) return { change: table.apply, notes: [] };
  }
  const [slope, intercept] = [number(header, "RescaleSlope"), number(header, "RescaleIntercept")];
  const notes = [["RescaleSlope", "Rescale Slope", slope], ["RescaleIntercept", "Rescale Intercept", intercept]]
    .filter(([name, , value]) => value === null && hasValue(header, name))
    .map(([, words]) => unreadable(words));
  const [factor, more] = [slope || 1, intercept || 0]; // A slope of 0 would make all alike.
  return { change: (value) => value * factor + more, notes };
};

/** Whether there may be more to apply than a slope and an intercept. */
export const hasTables = (header) =>
  ["ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth"].some((name) => has(header, name));

/** How the device's values become grey, by the first VOI LUT or window that shows the image. */
export const windowOf = (header, values, counts, signed) => {
  const notes = [];
  for (const voi of vois(header, signed, notes)) {
    if (shows(voi, values, counts)) return { voi: voi.apply, notes };
    notes.push({ key: HIDING, args: {} });
  }
  const told = new Map(notes.map((note) => [note.key + note.args.tag, note]));
  return { voi: (value) => value, notes: [...told.values()] };
};

/** Whether a window leaves enough of the image between black and white. */
const shows = ({ apply, low, high }, values, counts) => {
  const ends = (all) => all.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const [least, most] = ends(values.map(apply));
  if (least === most) return false;
  const [first, last] = ends(values);
  let [total, inside] = [0, 0];
  values.forEach((value, i) => {
    if (value <= first || value >= last) return;
    total += counts[i];
    if (value > low && value < high) inside += counts[i];
  });
  return total === 0 || inside >= LEAST_INSIDE * total;
};

function* vois(header, signed, notes) {
  for (const item of items(header, "VOILUTSequence")) {
    const table = tableOf(item, signed);
    if (table) yield table;
  }
  const kind = text(header, "VOILUTFunction").replaceAll(" ", "_") || "LINEAR";
  if (!["LINEAR", "LINEAR_EXACT", "SIGMOID"].includes(kind)) {
    notes.push(unreadable("VOI LUT Function"));
    return;
  }
  const [centres, widths] = [numbers(header, "WindowCenter"), numbers(header, "WindowWidth")];
  const least = kind === "LINEAR" ? 1 : 0;
  for (let i = 0; i < Math.min(centres.length, widths.length); i++) {
    const [centre, width] = [centres[i], widths[i]];
    if (centre !== null && width !== null && width >= least && width > 0) yield ofWindow(centre, width, kind);
  }
  for (const [name, words, found] of [["WindowCenter", "Window Center", centres], ["WindowWidth", "Window Width", widths]])
    if (hasValue(header, name) && found.every((value) => value === null)) notes.push(unreadable(words));
}

const ofWindow = (centre, width, kind) => {
  const half = kind === "LINEAR" ? (width - 1) / 2 : width / 2; // PS3.3, C.11.2.1.2.1
  const middle = kind === "LINEAR" ? centre - 0.5 : centre;
  const [low, high] = [middle - half, middle + half];
  const clamp = (value, a, b) => Math.min(b, Math.max(a, value));
  const apply = kind === "SIGMOID"
    ? (value) => 1 / (1 + Math.exp(clamp((-4 * (value - centre)) / width, -700, 700)))
    : low === high ? (value) => Number(value > low)
      : (value) => clamp((value - low) / (high - low), 0, 1);
  return { low, high, apply };
};

/** A look-up table (PS3.3, C.11.1.1), null where an item is none. */
const tableOf = (item, signed) => {
  const [length, start, bits] = words(item, "LUTDescriptor");
  if (bits === undefined) return null;
  let data = words(item, "LUTData");
  const count = length || 65536;
  const first = signed && start >= 32768 ? start - 65536 : start;
  if ([count, count + 1].includes(data.length * 2) && bits <= 8) // two entries a word
    data = data.flatMap((word) => [word & 255, word >> 8]);
  if (count < 2 || count > data.length) return null;
  const apply = (value) => data[Math.min(Math.max(rint(value) - first, 0), count - 1)];
  return { low: first, high: first + count - 1, apply };
};

/** Where stored values are no film but fill the frame: a Uint8Array of 0 and 1, or null. */
export const paddingOf = (pixels, header, bits) => {
  const value = whole(header, "PixelPaddingValue");
  if (value === null) return null;
  const signed = /^Int/.test(pixels.constructor.name);
  const ends = [value, whole(header, "PixelPaddingRangeLimit")].filter((end) => end !== null)
    .map((end) => asStored(end, bits, signed));
  if (ends.includes(null)) return null;
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const found = new Uint8Array(pixels.length);
  for (let i = 0; i < found.length; i++) found[i] = pixels[i] >= low && pixels[i] <= high ? 1 : 0;
  return found.includes(1) && found.includes(0) ? found : null;
};

/** What a value of the tag is as a stored value; null where it has more bits than those have. */
const asStored = (value, bits, signed) => {
  const all = 2 ** bits;
  if (value === -1 || value === 0xffff) return signed ? -1 : all - 1;
  if (bits >= 16) {
    const kept = ((value % all) + all) % all;
    return signed && kept >= all / 2 ? kept - all : kept;
  }
  if (signed) {
    const read = value >> 15 === 1 ? value - 0x10000 : value;
    return read >= -all / 2 && read < all / 2 ? read : null;
  }
  return value >= 0 && value < all ? value : null;
};
