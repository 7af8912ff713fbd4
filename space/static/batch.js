// Many images at once, as space/batch.py: files, folders and ZIP archives in, one row an image out.
import { crc32 } from "./engine/bytes.js";
import { MAX_BYTES } from "./engine/limits.js";
import { english } from "./words.js";
import { entries, isWanted, isZip, unpack } from "./zip.js";

const MB = 2 ** 20;
export const MAX_IMAGES = 200;
const MAX_UNPACKED = 1000 * MB; // bytes out of one archive, whatever its entries claim
const MAX_ENTRIES = 10_000; // of one archive

const because = (key, args = {}) => ({ sentence: { key, args } });
const TOO_MANY = { ...because("not read: at most {count} images at once", { count: MAX_IMAGES }), leftOut: true };
const TOO_LARGE = { ...because("not read: the archive unpacks to more than {limit} MB",
  { limit: MAX_UNPACKED / MB }), leftOut: true };
const DAMAGED_INSIDE = because("the file is damaged inside the ZIP archive");

const nameOf = (file) => file.webkitRelativePath || file.name;

/** The files that are meant: without what operating systems put into folders. */
export const wanted = (files) => files.filter((file) => !nameOf(file).includes("/") || isWanted(nameOf(file)));

/** Name of each image in a file, and what reads it: { file } or { sentence }. */
const inside = async (file) => {
  const alone = (found) => [[nameOf(file), () => found]];
  if (file.size > MAX_BYTES) return alone(because("the file has {size} MB; the limit is {limit}",
    { size: (file.size / MB).toFixed(), limit: `${MAX_BYTES / MB} MB` }));
  if (!(await isZip(file).catch(() => false))) return alone({ file });
  const all = await entries(file, MAX_ENTRIES).catch(() => null);
  if (!all || (!all.length && file.size > 22)) return alone(because("the ZIP archive is damaged"));
  if (all.length > MAX_ENTRIES)
    return alone(because("not read: the archive has more than {count} entries", { count: MAX_ENTRIES }));
  const some = all.filter((entry) => isWanted(entry.name));
  if (!some.length) return alone(because("the ZIP archive has no file in it"));
  let left = MAX_UNPACKED;
  return some.map((entry) => [entry.name, async () => {
    if (left < 0) return TOO_LARGE;
    const found = await taken(entry);
    left -= found.file?.size ?? MAX_BYTES;
    return found;
  }]);
};

/** Every image of the files, none read yet: { name, upload, read }, see `inside`. */
export const imagesIn = async (files) => {
  const found = [];
  for (const [upload, file] of files.entries())
    for (const [name, read] of await inside(file)) found.push({ name, upload, read });
  return found.map((image, i) => i < MAX_IMAGES ? image : { ...image, read: () => TOO_MANY });
};

/** One file of an archive, of which at most MAX_BYTES are unpacked. */
const taken = async (entry) => {
  if (entry.locked) return because("the file is locked with a password");
  const file = await unpack(entry, MAX_BYTES).catch(() => null);
  if (!file) return DAMAGED_INSIDE;
  if (file.size > MAX_BYTES) return because("the file has more than {limit}", { limit: `${MAX_BYTES / MB} MB` });
  if (await isZip(file))
    return because("a ZIP archive inside a ZIP archive is not opened: send it on its own");
  return crc32(new Uint8Array(await file.arrayBuffer())) === entry.check ? { file } : DAMAGED_INSIDE;
};

// === The CSV of the command line (aihealth/answers.py) ===

/** The rows as CSV; `page` has the model's name and revision. */
export const csvOf = (rows, classes, config, page, warning) => {
  const limit = config.ood_threshold ?? null;
  const lines = [["file", "label", ...classes, "abstained", "is_chest_radiograph", "ood_distance",
    "ood_threshold", "warning", "error", "model", "revision", "shift_warning"]];
  rows.forEach(({ name, answer, sentence }, i) => {
    const fixed = (value, digits) => value === null ? null : value.toFixed(digits);
    lines.push([shown(name), answer?.label ?? null,
      ...classes.map((c) => answer ? fixed(answer.probabilities[c], 6) : null),
      answer?.abstained ?? null, answer?.is_chest_radiograph ?? null,
      answer && limit !== null ? fixed(answer.ood_score, 4) : null, fixed(limit, 4),
      answer?.warnings.map(english).join(" ") || null, sentence ? english(sentence) : null,
      page.model, page.revision, warning && i === rows.length - 1 ? english(warning) : null]);
  });
  return lines.map((cells) => cells.map(cellOf).join(",") + "\n").join("");
};

/** A cell, quoted where it must be, and kept from being run as a formula (OWASP). */
const cellOf = (value) => {
  const text = value === null ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** A name on one line: what is no letter, sign or space becomes an escape. */
const shown = (name) => name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (sign) => {
  if ("\u200c\u200d".includes(sign)) return sign;
  const code = sign.codePointAt(0);
  const [letter, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return { "\n": "\\n", "\t": "\\t", "\r": "\\r" }[sign] ?? `\\${letter}${code.toString(16).padStart(digits, "0")}`;
});
