// From the bytes of a file to grey levels; as aihealth/images.py.
import { readDicom } from "./dicom.js";
import { isDicom } from "./dicom_file.js";
import { greyOf } from "./grey.js";
import { isJpeg, readJpeg } from "./jpeg.js";
import { MAX_BYTES } from "./limits.js";
import { isPng, readPng } from "./png.js";
import { Refusal } from "./refusal.js";
import { sentenceOf } from "./signatures.js";
import { isTiff, readTiff } from "./tiff.js";
import { isWebp, readWebp } from "./webp.js";

const SEVERAL_FRAMES = "The file has several frames; only the first was used.";
const IN_COLOUR = "This image is in colour, as a photograph of a screen is and a radiograph is not: " +
  "the answer is less certain.";
const READERS = [[isPng, readPng], [isJpeg, readJpeg], [isTiff, readTiff], [isWebp, readWebp]];

/**
 * What a file shows: { picture, warnings, valueAt }. `valueAt` gives the value before the window at
 * a place of a DICOM file in grey; it is null for others.
 */
export const decode = async (bytes) => {
  if (!bytes.length) throw new Refusal("the file is empty");
  if (bytes.length > MAX_BYTES)
    throw new Refusal("the file has more than {limit}", { limit: `${MAX_BYTES / 2 ** 20} MB` });
  if (isDicom(bytes)) return readDicom(bytes);
  const read = await READERS.find(([is]) => is(bytes))?.[1](bytes);
  if (!read) throw new Refusal(sentenceOf(bytes));
  const said = [[read.several, SEVERAL_FRAMES], [read.inColour, IN_COLOUR]].filter(([so]) => so);
  return { picture: greyOf(read), warnings: said.map(([, key]) => ({ key, args: {} })), valueAt: null };
};
