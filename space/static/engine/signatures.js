// What the first bytes of a file say that it is; as aihealth/signatures.py.
import { latin1, startsWith } from "./bytes.js";
import { UNKNOWN } from "./refusal.js";
import { UNREADABLE } from "./tiff.js";

const ARCHIVE = "this is an archive; unpack it and give the images in it";
const VIDEO = "this is a video; save one frame as PNG";
const HEIC = "this is a HEIC photo, as iPhones take them; save or export it as JPEG or PNG, or set " +
  'the camera to "Most Compatible"';
const HEIF = ["heic", "heix", "hevc", "heim", "heis", "hevm", "mif1", "msf1"];

/** What a file is that cannot be read as an image, and how to make an image of it. */
export const sentenceOf = (bytes) => {
  const head = bytes.subarray(0, 1024);
  const is = (...texts) => texts.some((text) => startsWith(head, text));
  const text = latin1(head);
  const brand = text.slice(8, 12);
  if (is("version https://git-lfs"))
    return "this is a git-lfs pointer, not the file itself; get that with: git lfs pull";
  if (text.trimStart().startsWith("%PDF")) return "this is a PDF; export its image as PNG or DICOM";
  if (is("PK")) return "this is a ZIP archive; unpack it and give the images in it";
  if (is("Rar!", "7z\xbc\xaf", "\x1f\x8b", "BZh", "\xfd7zXZ") || text.slice(257, 262) === "ustar")
    return ARCHIVE;
  if (text.slice(4, 8) === "ftyp")
    return ["avif", "avis"].includes(brand) ? "this is an AVIF image; save it as PNG or JPEG"
      : HEIF.includes(brand) ? HEIC : VIDEO;
  if (is("\0\0\0\x0cjP  ", "\xff\x4f\xff\x51")) return "this is a JPEG 2000 image; save it as PNG";
  if (is("\0\0\0\x0cJXL ", "\xff\x0a")) return "this is a JPEG XL image; save it as PNG or JPEG";
  if (is("GIF8", "BM")) return UNKNOWN;
  if (is("\x93NUMPY")) return "this is a NumPy file; load it and give the array";
  if (is("8BPS")) return "this is a Photoshop file; save it as PNG or JPEG";
  if (["n+1", "ni1"].includes(text.slice(344, 347))) return "this is a NIfTI volume; save it as PNG or JPEG";
  if (is("\x1aE\xdf\xa3", "\0\0\x01\xba", "RIFF")) return brand === "WEBP" ? "this is damaged" : VIDEO;
  if (is("II*\0", "MM\0*", "II+\0", "MM\0+")) return UNREADABLE;
  if (/^(\xef\xbb\xbf)?[ \t\r\n]*(<!doctype|<html|<\?xml|<svg|\{|<head)/i.test(text))
    return "this is a web page or other text, not an image; download the file itself";
  if (/^[A-Za-z0-9+/=_\-\s]{64,}$/.test(text))
    return "this is text, perhaps an image in base64; decode it first";
  return "this is not an image that can be read (PNG, JPEG, TIFF, DICOM)";
};
