// A DICOM file taken apart: the tags before the pixels, and the pixels as bytes; as
// aihealth/dicom_file.py, with the checks of aihealth/structure.py.
import { inflate, latin1, startsWith, viewOf } from "./bytes.js";
import { CUT_SHORT, DICOM_DAMAGED, Refusal } from "./refusal.js";
import { MAX_BYTES, MAX_INFLATED } from "./limits.js";
import { has, text, texts } from "./dicom_tags.js";

const NO_IMAGE = "the DICOM file has no image in it";
const HOLDS_NONE = "the file is of a kind that holds no image";
const VRS = new Set(("AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM " +
  "UC UI UL UN UR US UT UV").split(" "));
const LONG_VRS = new Set("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split(" "));
const BULK_VRS = new Set("OB OD OF OL OV OW UN UT".split(" "));
const FIRST_GROUPS = [0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028];
const PIXELS = 0x7fe00010, FLOATS = [0x7fe00008, 0x7fe00009];
const ITEM = 0xfffee000, ITEM_END = 0xfffee00d, END = 0xfffee0dd;
const UNDEFINED = 0xffffffff;
const ELEMENTS = 20_000, VALUE = 64 * 2 ** 10, TABLE = 512 * 2 ** 10, DEPTH = 16;
const DEFLATED = "1.2.840.10008.1.2.1.99";
const IMPLICIT = "1.2.840.10008.1.2", BIG = "1.2.840.10008.1.2.2";
const WITHOUT_IMAGE = ["1.2.840.10008.1.3.10", ...["11.", "88.", "104.", "9.", "66", "67", "481."]
  .map((end) => `1.2.840.10008.5.1.4.1.1.${end}`)];
const MODALITIES = ["SR", "PR", "KO", "DOC", "REG", "ECG", "RTPLAN", "RTSTRUCT", "PLAN"];

export const isDicom = (bytes) =>
  startsWith(bytes, "DICM", 128) || startsWith(bytes, "DICM") || encodingOf(bytes) !== null;

/** How the data set that begins here is encoded, told from its first two elements; or null. */
const encodingOf = (bytes) => {
  for (const little of [true, false])
    for (const implicit of [false, true])
      if (beginsAs(bytes, little, implicit)) return { implicit, little };
  return null;
};

const tagAt = (view, place, little) =>
  view.getUint16(place, little) * 0x10000 + view.getUint16(place + 2, little);

const beginsAs = (bytes, little, implicit) => {
  const view = viewOf(bytes);
  let [place, last] = [0, -1];
  for (let i = 0; i < 2; i++) {
    if (place + 8 > bytes.length) return last >= 0 && place > 8;
    const [tag, group] = [tagAt(view, place, little), view.getUint16(place, little)];
    const vr = latin1(bytes.subarray(place + 4, place + 6));
    if (tag <= last || !(FIRST_GROUPS.includes(group) || (last >= 0 && group <= 0x7fe0))) return false;
    if (!implicit && !VRS.has(vr)) return false;
    const long = !implicit && LONG_VRS.has(vr) && vr !== "SV" && vr !== "UV" && place + 12 <= bytes.length;
    const length = implicit ? view.getUint32(place + 4, little)
      : long ? view.getUint32(place + 8, little) : view.getUint16(place + 6, little);
    if (last < 0 && length > 1024) return false;
    [place, last] = [place + (long ? 12 : 8) + length, tag];
  }
  return true;
};

/** Reads elements one after another, and remembers whether the bytes end too early. */
class Reader {
  constructor(bytes, { implicit, little }) {
    Object.assign(this, { bytes, view: viewOf(bytes), implicit, little, short: false, count: 0 });
  }

  /** The next element's { tag, vr, length, start }, null at the end of the bytes. */
  head(place) {
    const { bytes, view, little } = this;
    if (place + 8 > bytes.length) {
      this.short ||= place < bytes.length;
      return null;
    }
    const tag = tagAt(view, place, little);
    if (this.implicit || tag >= 0xfffe0000)
      return { tag, vr: "", length: view.getUint32(place + 4, little), start: place + 8 };
    const vr = latin1(bytes.subarray(place + 4, place + 6));
    if (!LONG_VRS.has(vr)) return { tag, vr, length: view.getUint16(place + 6, little), start: place + 8 };
    if (place + 12 > bytes.length) {
      this.short = true;
      return null;
    }
    return { tag, vr, length: view.getUint32(place + 8, little), start: place + 12 };
  }

  /** A data set from a place to `end`, or to where `stop` says; { dataset, place }. */
  read(place, end, stop = () => false, depth = 0) {
    const dataset = new Map();
    if (depth > DEPTH) throw new Refusal(DICOM_DAMAGED);
    if (place + 6 <= end && !stop(tagAt(this.view, place, this.little)))
      this.implicit = !/^[A-Z]{2}$/.test(latin1(this.bytes.subarray(place + 4, place + 6)));
    for (let head; place < end && (head = this.head(place)) && !stop(head.tag); ) {
      const { tag, vr, length, start } = head;
      if (tag === ITEM_END) return { dataset, place: start };
      this.count += 1;
      if (this.count > ELEMENTS)
        throw new Refusal("the DICOM file has more than {count} elements", { count: ELEMENTS });
      if (length === UNDEFINED) {
        const { found, place: next } = this.sequence(start, Infinity, depth);
        dataset.set(tag, { vr, little: this.little, items: () => found });
        place = next;
        continue;
      }
      if (vr !== "SQ" && length > longest(tag >>> 16, vr) && tag >>> 16 !== 0x7fe0)
        throw new Refusal("the DICOM file has a value that is too long");
      this.short ||= start + length > this.bytes.length;
      const bytes = this.bytes.subarray(start, start + length);
      const encoding = { implicit: this.implicit || vr === "UN", little: this.little };
      dataset.set(tag, { vr, little: this.little, bytes, items: () => itemsOf(bytes, encoding) });
      place = Math.min(start + length, this.bytes.length);
    }
    return { dataset, place };
  }

  /** Items up to the end of their sequence. */
  sequence(place, end, depth) {
    const found = [];
    const { implicit } = this;
    for (let head; place < end && (head = this.head(place)); ) {
      if (head.tag === END) return { found, place: head.start };
      if (head.tag !== ITEM) throw new Refusal(DICOM_DAMAGED);
      const stop = head.length === UNDEFINED ? Infinity : head.start + head.length;
      const { dataset, place: next } = this.read(head.start, stop, undefined, depth + 1);
      this.implicit = implicit;
      found.push(dataset);
      place = next;
    }
    if (end === Infinity) this.short = true;
    return { found, place };
  }
}

const itemsOf = (bytes, encoding) => {
  try {
    return new Reader(bytes, encoding).sequence(0, bytes.length, 0).found;
  } catch {
    return [];
  }
};

/** Bytes that a value may have: pixels and what is no text or number may be long. */
const longest = (group, vr) => {
  const bulk = BULK_VRS.has(vr) || !vr;
  if (group === 0x0028) return bulk ? TABLE : VALUE;
  return bulk || group % 2 ? MAX_BYTES : VALUE;
};

/** What is read of a file: { header, syntax, pixels, fragments (null for uncompressed) }. */
export const readFile = async (bytes) => {
  const start = startsWith(bytes, "DICM", 128) ? 132 : startsWith(bytes, "DICM") ? 4 : 0;
  let [meta, body] = [new Map(), bytes.subarray(start)];
  if (body[0] === 2 && body[1] === 0) {
    const reader = new Reader(body, { implicit: false, little: true });
    const { dataset, place } = reader.read(0, body.length, (tag) => tag >>> 16 !== 2);
    [meta, body] = [dataset, body.subarray(place)];
  }
  const declared = texts(meta, "TransferSyntaxUID")[0] ?? "";
  if (declared === DEFLATED) body = await inflated(body);
  const encoding = encodingOf(body) ??
    { implicit: ["", IMPLICIT].includes(declared), little: declared !== BIG };
  const reader = new Reader(body, encoding);
  const isPixels = (tag) => tag === PIXELS || FLOATS.includes(tag);
  const { dataset: header, place } = guarded(reader, () => reader.read(0, body.length, isPixels));
  const { little } = encoding;
  let { implicit } = reader;
  if (!["OB", "OW", "UN", "OF", "OD"].includes(latin1(body.subarray(place + 4, place + 6)))) implicit = true;
  const value = place + (implicit ? 8 : 12);
  if (value > body.length) {
    if (reader.short || place + 8 <= body.length) throw new Refusal(CUT_SHORT);
    if (!header.size) throw new Refusal(DICOM_DAMAGED);
    throw withoutImage(meta, header);
  }
  const tag = tagAt(reader.view, place, little);
  if (FLOATS.includes(tag))
    throw new Refusal("the DICOM file has its pixels as floating-point numbers; export it with whole ones");
  if (tag !== PIXELS) throw new Refusal(reader.short ? CUT_SHORT : DICOM_DAMAGED);
  const length = reader.view.getUint32(value - 4, little);
  if (length === 0) throw withoutImage(meta, header);
  if (length === UNDEFINED) {
    const fragments = fragmentsOf(body.subarray(value));
    return { header, syntax: syntaxOf(declared, fragments.slice(1)), pixels: null, fragments, little: true };
  }
  if (value + length > body.length) throw new Refusal(CUT_SHORT);
  return { header, syntax: declared, pixels: body.subarray(value, value + length), fragments: null, little };
};

const guarded = (reader, work) => {
  try {
    return work();
  } catch (error) {
    throw error.key && error.key !== DICOM_DAMAGED ? error
      : new Refusal(reader.short ? CUT_SHORT : DICOM_DAMAGED);
  }
};

const inflated = async (body) => {
  for (const rest of [0, 1, 8, 9]) { // Some writers pad it, or add the sum and length of gzip.
    const { data, whole } =
      await inflate([body.subarray(0, body.length - rest)], "deflate-raw", MAX_INFLATED + 1);
    if (data.length > MAX_INFLATED)
      throw new Refusal("the DICOM file inflates to more than {limit} MB", { limit: MAX_INFLATED / 2 ** 20 });
    if (whole) return data;
  }
  throw new Refusal("the DICOM file is damaged or cut short");
};

/** Why a whole file has no pixels: by its nature, or because they were taken out. */
const withoutImage = (meta, header) => {
  const kinds = [...texts(header, "SOPClassUID"), ...texts(meta, "MediaStorageSOPClassUID")];
  const byNature = kinds.some((kind) => WITHOUT_IMAGE.some((start) => kind.startsWith(start))) ||
    MODALITIES.includes(text(header, "Modality")) || has(header, "DirectoryRecordSequence");
  return new Refusal(byNature ? HOLDS_NONE : NO_IMAGE);
};

/** The items of compressed pixels; the first is the table of offsets. */
const fragmentsOf = (value) => {
  const [view, found] = [viewOf(value), []];
  for (let place = 0; place + 8 <= value.length; ) {
    const [tag, length] = [tagAt(view, place, true), view.getUint32(place + 4, true)];
    if (tag === END) break;
    if (tag !== ITEM) throw new Refusal(DICOM_DAMAGED);
    if (place + 8 + length > value.length) throw new Refusal(CUT_SHORT);
    found.push(value.subarray(place + 8, place + 8 + length));
    place += 8 + length;
  }
  if (found.length < 2) throw new Refusal(CUT_SHORT);
  return found;
};

// === Codestreams (aihealth/dicom_codestream.py) ===

const SYNTAX = "1.2.840.10008.1.2.4.";
export const RLE = "1.2.840.10008.1.2.5";
const FAMILIES = [["50", "51"], ["57", "70"], ["80", "81"], ["90", "91", "92", "93", "201", "202", "203"]];
const JPEG_KINDS = { 0xc0: "50", 0xc1: "51", 0xc2: "50", 0xc3: "57", 0xf7: "80" };
const isFrameHeader = (marker) =>
  marker === 0xf7 || (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker));

/** The transfer syntax of compressed pixels: the file's word, unless the bytes say otherwise. */
const syntaxOf = (declared, [first]) => {
  const found = codecOf(first);
  const family = (syntax) => syntax === RLE ? 9
    : FAMILIES.findIndex((ends) => ends.some((end) => syntax === SYNTAX + end));
  return !found || family(found) === family(declared) ? declared : found;
};

const codecOf = (frame) => {
  if (startsWith(frame, "\xff\x4f\xff\x51") || startsWith(frame, "\0\0\0\x0cjP  ")) return `${SYNTAX}91`;
  if (startsWith(frame, "\xff\xd8")) {
    for (let place = 2; place + 4 <= frame.length && frame[place] === 0xff; ) {
      const marker = frame[place + 1];
      if (JPEG_KINDS[marker]) return SYNTAX + JPEG_KINDS[marker];
      place += marker === 0xff ? 1 : 2 + viewOf(frame).getUint16(place + 2);
    }
    return null;
  }
  if (frame.length >= 64) {
    const [count, first] = [viewOf(frame).getUint32(0, true), viewOf(frame).getUint32(4, true)];
    if (count >= 1 && count <= 15 && first === 64) return RLE;
  }
  return null;
};

/** Size, components and bits by a frame's own header: null for an encoding without one. */
export const codestreamOf = (frame) => {
  const view = viewOf(frame);
  try {
    let start = 0;
    if (startsWith(frame, "\0\0\0\x0cjP  ")) { // boxes around the codestream (ISO 15444-1 I.4)
      while (!startsWith(frame, "jp2c", start + 4)) start += Math.max(8, view.getUint32(start));
      start += 8;
    }
    if (startsWith(frame, "\xff\x4f\xff\x51", start)) { // ISO 15444-1 A.5.1
      const at = (place) => view.getUint32(start + 8 + place);
      return { width: at(0) - at(8), height: at(4) - at(12),
        components: view.getUint16(start + 40), bits: (frame[start + 42] & 127) + 1 };
    }
    if (!startsWith(frame, "\xff\xd8")) return null;
    for (start = 2; frame[start] === 0xff; ) {
      const marker = frame[start + 1];
      if (isFrameHeader(marker))
        return { bits: frame[start + 4], height: view.getUint16(start + 5),
          width: view.getUint16(start + 7), components: view.getUint8(start + 9) };
      start += marker === 0xff ? 1 : 2 + view.getUint16(start + 2);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return { width: 0, height: 0, components: 0, bits: 0 };
};
