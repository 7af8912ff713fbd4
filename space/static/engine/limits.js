// What one file may cost; as aihealth/limits.py. Its seconds are counted by the page, which ends
// and starts this worker anew.
import { Refusal } from "./refusal.js";

export const MAX_BYTES = 50 * 2 ** 20; // of a file
export const MAX_INFLATED = 64 * 2 ** 20; // of a deflated DICOM data set
const MAX_PIXELS = 64e6;
export const MIN_SIDE = 16;
const MAX_MEMORY = 320 * 2 ** 20;

/** Refuse what is too small to show anything or too large to decode. */
export const checkSize = (width, height, samples = 1) => {
  const limit = Math.floor(MAX_PIXELS / Math.max(samples, 1));
  if (width * height > limit)
    throw new Refusal("the image has more than {limit} million pixels", { limit: Math.floor(limit / 1e6) });
  if (Math.min(width, height) < MIN_SIDE)
    throw new Refusal("the image has {width} x {height} pixels; at least {side} a side are needed",
      { width, height, side: MIN_SIDE });
};

/** Refuse what would take more bytes than one file may. */
export const checkMemory = (need) => {
  if (need > MAX_MEMORY)
    throw new Refusal("the image takes too much memory to decode; save it smaller or with fewer bits");
};
