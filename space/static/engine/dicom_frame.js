// The first frame of a DICOM file: how its values lie, and these decoded; as
// aihealth/dicom_layout.py and dicom_frame.py.
import { latin1, viewOf } from "./bytes.js";
import { codestreamOf, RLE } from "./dicom_file.js";
import { has, text, whole, words } from "./dicom_tags.js";
import { checkMemory } from "./limits.js";
import { CUT_SHORT, Refusal } from "./refusal.js";
import { decodeJpeg } from "./jpeg.js";
import { decodeWith, module } from "./vendor.js";
import { decodeDeepJpeg } from "./jpeg12.js";

export const BAD_FRAME = "the DICOM file is damaged or cut short";
const OTHER_SIZE = "the DICOM file is damaged: its pixels have another size than its tags say";
const UNREADABLE = "the DICOM file is compressed as {name}, which cannot be read here; {remedy}";
const EXPORT = "export it uncompressed (Explicit VR Little Endian) or as JPEG 2000";
const JPEG = "1.2.840.10008.1.2.4."; // and what came after it
const NAMES = { 110: "JPEG XL", 111: "JPEG XL", 112: "JPEG XL", 100: "MPEG2", 101: "MPEG2" };
const PHOTOMETRIC = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL",
  "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "HSV"];
const plain = (name) => name.replace(/[ _-]/g, "");

/** How stored values lie in the pixels; see `Layout` in aihealth/dicom_layout.py. */
export const layoutOf = ({ header, syntax, pixels, fragments }) => {
  const stream = fragments && (codestreamOf(joined(fragments.slice(1))) ??
    { width: 0, height: 0, components: 0, bits: 0 });
  const rows = whole(header, "Rows") || stream?.height;
  const columns = whole(header, "Columns") || stream?.width;
  if (!rows || !columns || Math.min(rows, columns) < 0)
    throw new Refusal("the DICOM file does not say its Rows and Columns; export it again");
  const frames = Math.max(1, whole(header, "NumberOfFrames") || 1);
  const said = plain(text(header, "PhotometricInterpretation"));
  let photometric = PHOTOMETRIC.find((name) => plain(name) === said) ?? "";
  let [samples, allocated] = [whole(header, "SamplesPerPixel"), whole(header, "BitsAllocated")];
  const likely = /^(RGB|YBR|HSV)/.test(photometric) ? 3 : 1;
  if (stream) {
    if (![1, 3].includes(samples)) samples = stream.components || likely;
    if (![8, 16, 32].includes(allocated)) allocated = stream.bits > 8 ? 16 : 8;
  } else {
    [samples, allocated] =
      nativeSize(pixels.length, rows * columns * frames, [samples, likely], allocated, photometric);
  }
  const known = Boolean(photometric) && (samples === 1) === (likely === 1);
  if (!known)
    photometric = samples === 1 ? "MONOCHROME2" : stream && /\.4\.5[01]$/.test(syntax) ? "YBR_FULL" : "RGB";
  let [stored, high] = [whole(header, "BitsStored"), whole(header, "HighBit")];
  if (!stored || stored < 0 || stored > allocated)
    stored = stream?.bits ? Math.min(stream.bits, allocated) : allocated;
  if (high === null || high < 0 || high >= allocated) high = stored - 1;
  const flag = (name) => ({ 0: false, 1: true })[whole(header, name)] ?? null;
  return { rows, columns, samples, photometric, known: known || samples === 3, allocated, stored, high,
    signed: flag("PixelRepresentation"), planar: flag("PlanarConfiguration"), frames,
    isGrey: photometric.startsWith("MONOCHROME") };
};

const nativeSize = (length, count, samples, allocated, photometric) => {
  const said = samples.filter((value) => [1, 3].includes(value));
  const depths = [1, 8, 16, 32].includes(allocated) ? [allocated] : [16, 8, 32];
  for (const depth of depths)
    for (const value of new Set([...said, 1, 3])) {
      const need = byteCount(count, value, depth, photometric);
      if (need <= length && length <= need + 1) return [value, depth];
    }
  return [said[0], depths[0]];
};

/** Bytes of so many pixels that are not compressed; in YBR_FULL_422, two share their colour. */
const byteCount = (count, samples, allocated, photometric) =>
  Math.floor((count * (samples === 3 && photometric.endsWith("_422") ? 2 : samples) * allocated + 7) / 8);

/**
 * The first frame's values, `samples` for each pixel side by side; palettes are applied.
 * Returns { data, channels }.
 */
export const decodeFrame = async (file, layout) => {
  const { rows, columns, samples, allocated, photometric, frames } = layout;
  const count = rows * columns;
  if (!file.fragments) {
    const need = (of) => byteCount(count * of, samples, allocated, photometric);
    if (file.pixels.length < need(frames)) throw new Refusal(CUT_SHORT);
    const data = nativeFrame(file.pixels.subarray(0, need(1)), file.little, layout);
    return coloured(data, file.header, layout, !photometric.endsWith("_422") && isPlanar(file, layout));
  }
  const frame = firstFrame(file.fragments, frames);
  if (file.syntax === RLE) return coloured(rle(frame, layout), file.header, layout, true);
  if (!file.syntax.startsWith(JPEG)) throw unreadable(file.syntax);
  const stream = codestreamOf(frame);
  if (!stream) throw unreadable(file.syntax);
  if (stream.width !== columns || stream.height !== rows || stream.components !== samples)
    throw new Refusal(OTHER_SIZE);
  const data = await codedFrame(frame, file.syntax.slice(JPEG.length), stream, layout);
  if (data.length !== count * samples) throw new Refusal(BAD_FRAME);
  return photometric === "PALETTE COLOR" ? coloured(data, file.header, layout, false)
    : { data, channels: samples };
};

const joined = (parts) => {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
};

const unreadable = (syntax) => new Refusal(UNREADABLE,
  { name: NAMES[syntax.slice(JPEG.length)] ?? (syntax || "an unknown encoding"), remedy: EXPORT });

/** The fragments of the first frame: by the table of offsets, else by their number or their ends. */
const firstFrame = ([table, ...fragments], frames) => {
  let count = frames === 1 ? fragments.length : 1;
  if (table.length > 4) {
    let place = viewOf(table).getUint32(4, true) - viewOf(table).getUint32(0, true);
    for (count = 0; count < fragments.length && place > 0; count++) place -= fragments[count].length + 8;
  } else if (!table.length && frames > 1 && fragments.length !== frames) {
    const ends = (part) => part.subarray(-10).some((byte, i, all) => byte === 0xff && all[i + 1] === 0xd9);
    count = fragments.findIndex(ends) + 1 || fragments.length;
  }
  return joined(fragments.slice(0, count));
};

/** Uncompressed values, as many bits as are allocated. */
const nativeFrame = (pixels, little, { allocated, signed, rows, columns, samples, photometric }) => {
  if (allocated === 1)
    return Uint8Array.from({ length: rows * columns * samples }, (_, i) => (pixels[i >> 3] >> (i & 7)) & 1);
  const kind = { 8: signed ? Int8Array : Uint8Array, 16: signed ? Int16Array : Uint16Array,
    32: signed ? Int32Array : Uint32Array }[allocated];
  const copy = pixels.slice(0, pixels.length - (pixels.length % (allocated / 8)));
  if (!little && allocated > 8)
    for (let at = 0; at < copy.length; at += allocated / 8) copy.subarray(at, at + allocated / 8).reverse();
  const data = new kind(copy.buffer);
  if (samples !== 3 || !photometric.endsWith("_422")) return data.subarray(0, rows * columns * samples);
  const out = new kind(rows * columns * 3);
  for (let pair = 0; 6 * pair < out.length; pair++)
    for (const part of [0, 1])
      out.set([data[4 * pair + part], data[4 * pair + 2], data[4 * pair + 3]], 6 * pair + 3 * part);
  return out;
};

/** Whether colours lie plane after plane; where the tag does not say it, by the pixels. */
const isPlanar = ({ pixels }, { planar, samples, allocated, rows, columns }) => {
  if (samples === 1 || planar !== null) return Boolean(planar);
  const [size, count] = [Math.max(1, allocated >> 3), rows * columns];
  const same = (a, b, step) => {
    for (let i = 0; i < count; i++)
      for (let byte = 0; byte < size; byte++)
        if (pixels[(a + i * step) * size + byte] !== pixels[(b + i * step) * size + byte]) return false;
    return true;
  };
  return !same(0, 1, 3) && same(0, count, 1);
};

/** Colours side by side and as RGB; a palette's numbers as its colours. */
const coloured = (data, header, { samples, photometric, rows, columns }, planar) => {
  const count = rows * columns;
  if (photometric === "PALETTE COLOR") return { data: ofPalette(data, header), channels: 3 };
  if (samples === 1) return { data, channels: 1 };
  let out = data;
  if (planar) out = data.map((_, i) => data[(i % 3) * count + Math.floor(i / 3)]);
  return { data: photometric.startsWith("YBR_FULL") ? ofYbr(out) : out, channels: 3 };
};

/** YBR_FULL to RGB (PS3.3 C.7.6.3.1.2). */
const ofYbr = (data) => {
  const out = new Uint8ClampedArray(data.length);
  const level = (value) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));
  for (let i = 0; i < data.length; i += 3) {
    const [y, b, r] = [data[i], data[i + 1] - 128, data[i + 2] - 128];
    out[i] = level(y + 1.402 * r);
    out[i + 1] = level(y - (0.114 * 1.772 / 0.587) * b - (0.299 * 1.402 / 0.587) * r);
    out[i + 2] = level(y + 1.772 * b);
  }
  return out;
};

const ofPalette = (data, header) => {
  checkMemory(data.length * 12);
  const tables = ["Red", "Green", "Blue"].map((colour) => {
    const name = `${colour}PaletteColorLookupTable`;
    if (!has(header, `${name}Descriptor`) || !has(header, `${name}Data`))
      throw new Refusal("the DICOM file lacks the palette of its colours; export it again");
    const [count, first, bits] = words(header, `${name}Descriptor`);
    let entries = words(header, `${name}Data`);
    if (bits === 8 && entries.length * 2 >= (count || 65536) && entries.length < (count || 65536))
      entries = entries.flatMap((word) => [word & 255, word >> 8]);
    return { first: data instanceof Int8Array || data instanceof Int16Array ? (first << 16) >> 16 : first,
      entries: entries.slice(0, count || 65536) };
  });
  if (tables.some(({ entries }) => !entries.length)) throw new Refusal(BAD_FRAME);
  const out = new Uint16Array(data.length * 3);
  data.forEach((value, i) => tables.forEach(({ first, entries }, part) => {
    out[3 * i + part] = entries[Math.min(Math.max(value - first, 0), entries.length - 1)];
  }));
  return out;
};

/** Runs (PS3.5 annex G): a plane of bytes for each byte of each sample, the highest first. */
const rle = (frame, { rows, columns, samples, allocated, signed }) => {
  const [view, count, size] = [viewOf(frame), rows * columns, allocated >> 3];
  if (frame.length < 64 || view.getUint32(0, true) !== samples * size) throw new Refusal(BAD_FRAME);
  const bytes = new Uint8Array(count * samples * size);
  for (let segment = 0; segment < samples * size; segment++) {
    const plane = Math.floor(segment / size);
    const [shift, start] = [size - 1 - (segment % size), view.getUint32(4 + 4 * segment, true)];
    const end = segment + 1 < samples * size ? view.getUint32(8 + 4 * segment, true) : frame.length;
    let [done, idle] = [0, 0];
    const put = (value) => {
      if (done < count) bytes[(plane * count + done) * size + shift] = value;
      done += 1;
    };
    for (let place = start; place < Math.min(end, frame.length); ) {
      const head = frame[place++];
      if (head < 128) for (let i = 0; i <= head && place < end; i++) put(frame[place++]);
      else if (head > 128) {
        for (let i = 0; i < 257 - head; i++) put(frame[place]);
        place += 1;
      } else if (++idle > 100) throw new Refusal(BAD_FRAME); // the runs are made of nothing
      if (done > 2 * count) throw new Refusal(OTHER_SIZE); // Some encoders pad.
    }
    if (done < count) throw new Refusal(BAD_FRAME);
  }
  return new { 1: signed ? Int8Array : Uint8Array, 2: signed ? Int16Array : Uint16Array,
    4: signed ? Int32Array : Uint32Array }[size](bytes.buffer);
};

/** A frame of a JPEG family, by the last number of its transfer syntax. */
const codedFrame = async (frame, kind, stream, { signed, samples, photometric }) => {
  const { bits } = stream;
  const numbers = (bytes, wide, isSigned) => new (wide ? (isSigned ? Int16Array : Uint16Array)
    : isSigned ? Int8Array : Uint8Array)(bytes.buffer, 0, bytes.length >> (wide ? 1 : 0));
  if (["50", "51"].includes(kind)) {
    if (bits > 8) return numbers(bytesOf(decodeDeepJpeg(frame)), true, signed);
    const { bytes } = await decodeJpeg(samples === 3 ? asItIs(frame) : frame).catch(() => {
      throw new Refusal(BAD_FRAME);
    });
    if (samples === 3) return photometric.startsWith("YBR_FULL") ? ofYbr(bytes) : bytes;
    return numbers(bytes, false, signed);
  }
  if (["57", "70"].includes(kind)) {
    const { Decoder } = (await module("jpeg-lossless-decoder-js/release/lossless.js"));
    const own = frame.slice();
    const out = new Decoder().decode(own.buffer, 0, own.length, bits > 8 ? 2 : 1);
    return numbers(bytesOf(out), bits > 8, signed && samples === 1);
  }
  const [path, global, name] = ["80", "81"].includes(kind)
    ? ["@cornerstonejs/codec-charls/dist/charlswasm_decode.js", "CharLSWASM", "JpegLSDecoder"]
    : ["90", "91", "92", "93", "201", "202", "203"].includes(kind)
      ? ["@cornerstonejs/codec-openjpeg/dist/openjpegwasm_decode.js", "OpenJPEGWASM", "J2KDecoder"]
      : [];
  if (!path) throw unreadable(JPEG + kind);
  const read = await decodeWith(path, global, name, frame);
  if (!read.whole) throw new Refusal(BAD_FRAME);
  const values = numbers(read.bytes, bits > 8, read.signed);
  if (samples === 3) return photometric.startsWith("YBR_FULL") ? ofYbr(values) : values;
  const out = new (bits > 8 ? (signed ? Int16Array : Uint16Array) : signed ? Int8Array : Uint8Array)(values.length);
  const spare = 32 - bits; // The sign is the file's word, whatever the codestream says.
  for (let i = 0; i < out.length; i++)
    out[i] = signed ? (values[i] << spare) >> spare : (values[i] << spare) >>> spare;
  return out;
};

/** A JPEG of colours whose decoder leaves them as they are, unless its own marker says what they are. */
const asItIs = (frame) => {
  const [head, start] = [latin1(frame.subarray(0, 1024)), frame[3] === 0xe0 ? 4 + viewOf(frame).getUint16(4) : 2];
  const place = head.indexOf("\xff\xee\0");
  if (place > 0 && frame[place + 3] >= 14 && head.startsWith("Adobe", place + 4)) return frame;
  const marker = [0xff, 0xd8, 0xff, 0xee, 0, 14, ...new TextEncoder().encode("Adobe"), 0, 100, 0, 0, 0, 0, 0];
  return joined([Uint8Array.from(marker), frame.subarray(start)]);
};

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
