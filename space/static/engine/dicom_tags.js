// Values of DICOM tags as archives really write them: empty, with blanks, with decimal commas;
// as aihealth/dicom_tags.py. A data set is a Map of tag to { vr, bytes, little, items }.
import { latin1, viewOf } from "./bytes.js";

// By keyword: tag, and the VR that it has where the file does not say one.
const TAGS = {
  MediaStorageSOPClassUID: [0x00020002, "UI"], TransferSyntaxUID: [0x00020010, "UI"],
  DirectoryRecordSequence: [0x00041220, "SQ"], SOPClassUID: [0x00080016, "UI"],
  Modality: [0x00080060, "CS"], CodeValue: [0x00080100, "SH"], CodeMeaning: [0x00080104, "LO"],
  LongCodeValue: [0x00080119, "UC"], ViewPosition: [0x00185101, "CS"],
  SamplesPerPixel: [0x00280002, "US"], PhotometricInterpretation: [0x00280004, "CS"],
  PlanarConfiguration: [0x00280006, "US"], NumberOfFrames: [0x00280008, "IS"],
  Rows: [0x00280010, "US"], Columns: [0x00280011, "US"], BitsAllocated: [0x00280100, "US"],
  BitsStored: [0x00280101, "US"], HighBit: [0x00280102, "US"],
  PixelRepresentation: [0x00280103, "US"], PixelPaddingValue: [0x00280120, "US"],
  PixelPaddingRangeLimit: [0x00280121, "US"], WindowCenter: [0x00281050, "DS"],
  WindowWidth: [0x00281051, "DS"], RescaleIntercept: [0x00281052, "DS"],
  RescaleSlope: [0x00281053, "DS"], VOILUTFunction: [0x00281056, "CS"],
  RedPaletteColorLookupTableDescriptor: [0x00281101, "US"],
  GreenPaletteColorLookupTableDescriptor: [0x00281102, "US"],
  BluePaletteColorLookupTableDescriptor: [0x00281103, "US"],
  RedPaletteColorLookupTableData: [0x00281201, "OW"],
  GreenPaletteColorLookupTableData: [0x00281202, "OW"],
  BluePaletteColorLookupTableData: [0x00281203, "OW"],
  ModalityLUTSequence: [0x00283000, "SQ"], LUTDescriptor: [0x00283002, "US"],
  LUTData: [0x00283006, "OW"], VOILUTSequence: [0x00283010, "SQ"],
  ViewCodeSequence: [0x00540220, "SQ"], PresentationLUTShape: [0x20500020, "CS"],
};
const BINARY = { US: "Uint16", SS: "Int16", UL: "Uint32", SL: "Int32", FL: "Float32",
  FD: "Float64", UV: "BigUint64", SV: "BigInt64", OW: "Uint16", AT: "Uint16" };
const SIZE = { 16: 2, 32: 4, 64: 8 };
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;

export const has = (dataset, name) => dataset.has(TAGS[name][0]);

/** The values of a tag as text without blanks around it; empty ones are "". */
export const texts = (dataset, name) => {
  const [tag, known] = TAGS[name];
  const element = dataset.get(tag);
  if (!element?.bytes) return [];
  const vr = element.vr && element.vr !== "UN" ? element.vr : known;
  if (BINARY[vr]) return unpacked(element, vr).map(String);
  return latin1(element.bytes).split("\\").map((part) => part.replace(/^[ \0\t\r\n]+|[ \0\t\r\n]+$/g, ""));
};

const unpacked = ({ bytes, little }, vr) => {
  const [view, size] = [viewOf(bytes), SIZE[/\d+/.exec(BINARY[vr])[0]]];
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) =>
    view[`get${BINARY[vr]}`](i * size, little));
};

/** The first value of a tag as text in capitals, "" where there is none. */
export const text = (dataset, name) => texts(dataset, name).find(Boolean)?.toUpperCase() ?? "";

/** Whether a tag is there and not empty, readable or not. */
export const hasValue = (dataset, name) => texts(dataset, name).some(Boolean);

/** The values of a tag as numbers; null for those that are none. */
export const numbers = (dataset, name) => texts(dataset, name).map((value) => {
  const plain = value.replaceAll(",", ".");
  return NUMBER.test(plain) && Number.isFinite(Number(plain)) ? Number(plain) : null;
});

/** The first value of a tag that is a number, null where there is none. */
export const number = (dataset, name) => numbers(dataset, name).find((value) => value !== null) ?? null;

/** As `number`, but only whole ones. */
export const whole = (dataset, name) => {
  const value = number(dataset, name);
  return Number.isInteger(value) ? value : null;
};

/** The items of a sequence; none where it is empty or cannot be read. */
export const items = (dataset, name) => dataset.get(TAGS[name][0])?.items?.() ?? [];

/** The values of a table of 16-bit words, as they are stored. */
export const words = (dataset, name) => {
  const element = dataset.get(TAGS[name][0]);
  return element?.bytes ? unpacked(element, "US") : [];
};
