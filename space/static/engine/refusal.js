// What ends the reading of one file: a sentence that the reader can act on.

/**
 * A file, or the model itself, cannot be used.
 * `key` is the English sentence of `space/sentences.py`, with its blanks; `args` fills these.
 */
export class Refusal extends Error {
  constructor(key, args = {}) {
    super(key);
    Object.assign(this, { key, args });
  }
}

export const DAMAGED = "the image is damaged or cut short";
export const UNKNOWN = "the image is of a kind that this page cannot read; save it as PNG or JPEG";
export const CUT_SHORT = "the DICOM file is cut short; copy or export it again";
export const DICOM_DAMAGED = "the DICOM file is damaged";
