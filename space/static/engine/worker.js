// Decoding and answering, apart from the page so that it never freezes. A classic worker: LiteRT
// and the decoders are scripts, not modules.
//
// In:  { id, do: "open", base } · { id, do: "warm" } · { id, do: "predict", name, bytes } ·
//      { id, do: "predictPixels", width, height, luminance } · { id, do: "shift", features }
// Out: { id, decoded: true } once a file is; then { id, ok: true, answer } or
//      { id, ok: false, sentence: { key, args } }
const UNKNOWN = "the image is of a kind that this page cannot read; save it as PNG or JPEG";

let classifier, decode, storedOf;
const work = {
  async open({ base }) {
    const engine = await import("./classifier.js");
    ({ decode } = await import("./decode.js"));
    ({ storedOf } = await import("./stored.js"));
    classifier = await engine.openClassifier(base);
    return classifier.config;
  },
  warm: () => classifier.warm(),
  async predict({ id, bytes }) {
    const { picture, warnings, valueAt } = await decode(new Uint8Array(bytes));
    self.postMessage({ id, decoded: true });
    const answer = await classifier.answer(picture, warnings);
    const turned = answer.width !== picture.width || answer.height !== picture.height;
    return { ...answer, stored: valueAt && !turned ? storedOf(valueAt, answer) : null };
  },
  predictPixels: ({ width, height, luminance }) =>
    classifier.answer({ width, height, data: luminance }),
  shift: ({ features }) => classifier.shift(features),
};

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      const answer = await work[data.do](data);
      const given = answer?.luminance ? [answer.luminance.buffer] : []; // not copied
      self.postMessage({ id: data.id, ok: true, answer }, given);
    } catch (error) {
      const { key = UNKNOWN, args = {} } = error;
      self.postMessage({ id: data.id, ok: false, sentence: { key, args } });
    }
  });
};
