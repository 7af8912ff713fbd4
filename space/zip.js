// The files inside a ZIP archive, read in the browser: what a row of a batch opens.
const word = (view, place) => view.getUint16(place, true);
const long = (view, place) => view.getUint32(place, true);
const STORED = 0, DEFLATED = 8;

/** Names and places of an archive's files (APPNOTE 4.3.12); none where it is damaged or ZIP64. */
export const entries = async (file) => {
  const tail = new DataView(await file.slice(-65557).arrayBuffer());
  for (let end = tail.byteLength - 22; end >= 0; end--) {
    if (long(tail, end) !== 0x06054b50) continue;
    const [size, start] = [long(tail, end + 12), long(tail, end + 16)];
    const view = new DataView(await file.slice(start, start + size).arrayBuffer());
    const found = [];
    for (let at = 0; at + 46 <= view.byteLength && long(view, at) === 0x02014b50; ) {
      const length = word(view, at + 28);
      const bytes = new Uint8Array(view.buffer, at + 46, length);
      // Without the flag for UTF-8 names are in code page 437, which differs beyond ASCII only.
      found.push({ file, name: new TextDecoder().decode(bytes), way: word(view, at + 10),
        size: long(view, at + 20), place: long(view, at + 42) });
      at += 46 + length + word(view, at + 30) + word(view, at + 32);
    }
    return found;
  }
  return [];
};

/** One of them as a file of its own; null where the browser cannot unpack it. */
export const unpack = async ({ file, name, way, size, place }) => {
  const head = new DataView(await file.slice(place, place + 30).arrayBuffer());
  const start = place + 30 + word(head, 26) + word(head, 28);
  const packed = file.slice(start, start + size);
  if (way !== STORED && way !== DEFLATED) return null;
  if (way === STORED) return new File([packed], name);
  const stream = packed.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new File([await new Response(stream).blob()], name);
};
