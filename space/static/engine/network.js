// The network itself: the release's LiteRT file, run by LiteRT's WebAssembly on one thread.
import { Refusal } from "./refusal.js";
import { module, vendor } from "./vendor.js";

const NO_WEBASSEMBLY =
  "this browser cannot run the model (WebAssembly with SIMD is missing or forbidden); use a newer one";

/** Open a model (Uint8Array) of one input and named outputs. */
export const openNetwork = async (model) => {
  const folder = vendor("@litertjs/core/wasm/");
  const { loadLiteRt, loadAndCompile, Tensor } = await module("@litertjs/core/dist/index.js");
  const silent = () => {}; // It greets on the console.
  self.Module = { locateFile: (name) => folder + name, print: silent, printErr: silent };
  try {
    await loadLiteRt(folder);
  } catch (error) {
    throw typeof WebAssembly === "object" && error instanceof TypeError
      ? error : new Refusal(NO_WEBASSEMBLY);
  }
  const network = await loadAndCompile(model, { accelerator: "wasm" });
  const shapes = (details) => Object.fromEntries(details.map((d) => [d.name, [...d.shape]]));
  const inputs = shapes(network.getInputDetails());
  return {
    inputs,
    outputs: shapes(network.getOutputDetails()),
    /** The outputs for grey levels (Uint8Array), each a Float32Array of the network's own. */
    async run(levels) {
      const input = new Tensor(levels, inputs.image);
      const results = await network.run({ image: input });
      input.delete();
      return Object.fromEntries(Object.entries(results).map(([name, tensor]) => {
        const values = tensor.toTypedArray();
        tensor.delete();
        return [name, values];
      }));
    },
  };
};
