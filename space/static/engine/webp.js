// WebP, by Google's own decoder.
import { latin1, orientationOf, startsWith, viewOf } from "./bytes.js";
import { checkMemory, checkSize } from "./limits.js";
import { isInColour, luma } from "./grey.js";
import { DAMAGED, Refusal, UNKNOWN } from "./refusal.js";
import { emscripten } from "./vendor.js";

export const isWebp = (bytes) => startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8);

export const readWebp = async (bytes) => {
  const [view, found] = [viewOf(bytes), {}];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const [name, length] = [latin1(bytes.subarray(at, at + 4)), view.getUint32(at + 4, true)];
    found[name] ??= bytes.subarray(at + 8, at + 8 + length);
    at += 8 + length + (length & 1);
  }
  const exif = found.EXIF && (startsWith(found.EXIF, "Exif\0\0") ? found.EXIF.subarray(6) : found.EXIF);
  const [width, height] = sizeOfWebp(found);
  if (found.ANIM) throw new Refusal(UNKNOWN);
  checkSize(width, height);
  checkMemory(4 * width * height);
  const codec = await emscripten("@jsquash/webp/codec/dec/webp_dec.js");
  const read = codec.decode(bytes);
  if (!read) throw new Refusal(DAMAGED);
  return { width: read.width, height: read.height, data: luma(read.data, 4), form: "grey",
    inColour: isInColour(read.data, 4, read.width, read.height),
    orientation: orientationOf(exif, found["XMP "]) };
};

/** Width and height as the header says (RFC 9649). */
const sizeOfWebp = ({ VP8X: extended, "VP8L": lossless, "VP8 ": lossy }) => {
  const start = extended ?? lossless ?? lossy;
  if (!start || start.length < 10) throw new Refusal(DAMAGED);
  const view = viewOf(start);
  const long = (at) => view.getUint16(at, true) | (start[at + 2] << 16);
  if (extended) return [long(4) + 1, long(7) + 1];
  if (lossy) return [view.getUint16(6, true) & 0x3fff, view.getUint16(8, true) & 0x3fff];
  const bits = view.getUint32(1, true);
  return [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1];
};
