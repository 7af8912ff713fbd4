// Packages of others, loaded when a file first needs them. All lie on the page's own server.
import { DAMAGED, Refusal } from "./refusal.js";

/** Address of a file in a package. */
export const vendor = (path) => new URL(`../vendor/${path}`, import.meta.url).href;

const folderOf = (path) => path.slice(0, path.lastIndexOf("/") + 1);
const running = {};

/** What is kept of a package: `load` makes it, once; a decoder that broke is made anew. */
const kept = async (path, load) => {
  running[path] ??= load();
  try {
    return await running[path];
  } catch (error) {
    delete running[path];
    throw error;
  }
};

/** An Emscripten module: of a script that sets a global name, or of a module. */
export const emscripten = (path, global) => kept(path, async () => {
  const locateFile = (name) => vendor(folderOf(path)) + name;
  const silent = () => {};
  if (global) self.importScripts(vendor(path));
  const factory = global ? self[global] : (await import(vendor(path))).default;
  return factory({ locateFile, print: silent, printErr: silent });
});

/** What a module of a package has. */
export const module = (path) => kept(path, () => import(vendor(path)));

/**
 * Decode with one of Cornerstone's codecs: { width, height, components, bits, signed, bytes }.
 * These throw numbers; `whole` says whether one did, which may have been a mere warning.
 */
export const decodeWith = async (path, global, name, encoded) => {
  const codec = await emscripten(path, global);
  const decoder = new codec[name]();
  try {
    decoder.getEncodedBuffer(encoded.length).set(encoded);
    let whole = true;
    try {
      decoder.decode();
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      whole = false;
    }
    const { width, height, componentCount: components, bitsPerSample: bits, isSigned: signed } =
      decoder.getFrameInfo();
    return { width, height, components, bits, signed, whole,
      bytes: new Uint8Array(decoder.getDecodedBuffer().slice().buffer) };
  } catch {
    delete running[path];
    throw new Refusal(DAMAGED);
  } finally {
    decoder.delete();
  }
};
