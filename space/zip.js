// The files inside a ZIP archive, read in the browser.
const word = (view, place) => view.getUint16(place, true);
const long = (view, place) => view.getUint32(place, true);
const STORED = 0, DEFLATED = 8;
const LOCKED = 1; // a flag
const PIECE = 2 ** 14; // bytes

/** Whether a file begins as an archive does, perhaps an empty one. */
export const isZip = async (file) => {
  const head = await file.slice(0, 4).arrayBuffer();
  return head.byteLength === 4 && [0x04034b50, 0x06054b50].includes(long(new DataView(head), 0));
};

/** Whether a name is no folder's, and nothing that operating systems add. */
export const isWanted = (name) => !/(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini|)$|(^|\/)__MACOSX\//.test(name);

/** Names and places of an archive's files (APPNOTE 4.3.12); none where it is damaged or ZIP64. */
export const entries = async (file, most = Infinity) => {
  const tail = new DataView(await file.slice(-65557).arrayBuffer());
  for (let end = tail.byteLength - 22; end >= 0; end--) {
    if (long(tail, end) !== 0x06054b50) continue;
    const [size, start] = [long(tail, end + 12), long(tail, end + 16)];
    const view = new DataView(await file.slice(start, start + size).arrayBuffer());
    const found = [];
    for (let at = 0; at + 46 <= view.byteLength && found.length <= most; ) {
      if (long(view, at) !== 0x02014b50) break;
      const length = word(view, at + 28);
      const bytes = new Uint8Array(view.buffer, at + 46, length);
      // Without the flag names are in code page 437, which differs beyond ASCII only.
      found.push({ file, name: new TextDecoder().decode(bytes), locked: word(view, at + 8) & LOCKED,
        way: word(view, at + 10), check: long(view, at + 16), size: long(view, at + 20),
        place: long(view, at + 42) });
      at += 46 + length + word(view, at + 30) + word(view, at + 32);
    }
    return found;
  }
  return [];
};

/** One of them as a file of its own, its beginning if it has more bytes than `most`; null where
 * the browser cannot unpack it. */
export const unpack = async ({ file, name, way, size, place }, most = Infinity) => {
  const head = new DataView(await file.slice(place, place + 30).arrayBuffer());
  const start = place + 30 + word(head, 26) + word(head, 28);
  const packed = file.slice(start, start + size);
  if (way !== STORED && way !== DEFLATED) return null;
  if (way === STORED) return new File([packed], name);
  // A browser unpacks all of a piece before it hands on any: up to 16 MB of one of 16 kB.
  const pieces = new TransformStream({ transform(part, to) {
    for (let at = 0; at < part.length; at += PIECE) to.enqueue(part.subarray(at, at + PIECE));
  } });
  const reader = packed.stream().pipeThrough(pieces)
    .pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts = [];
  for (let part, length = 0; length <= most && !(part = await reader.read()).done; )
    length += parts[parts.push(part.value) - 1].length;
  reader.cancel().catch(() => {});
  return new File(parts, name);
};
