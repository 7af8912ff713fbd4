// The worker that decodes and answers: one message at a time, ended and started anew where a file
// holds it up. The network may take its time: it does as much for any picture.
const SECONDS = 10; // that the decoding of one file may take
const SLOW = { key: "the image takes more than {count} s to decode; save it anew", args: { count: SECONDS } };
const GONE = { key: "the image is damaged: its decoder gave up", args: {} };

/** A sentence in the place of an answer: { key, args }, see `engine/worker.js`. */
export class Unanswered extends Error {
  constructor(sentence) {
    super(sentence.key);
    this.sentence = sentence;
  }
}

export class Asker {
  constructor(base) {
    Object.assign(this, { base, last: Promise.resolve(), count: 0, opened: null });
  }

  /** Start the worker, unless it runs; the model's configuration. */
  open() {
    return (this.opened ??= (async () => {
      this.worker = new Worker("engine/worker.js");
      try {
        return await this.post({ do: "open", base: this.base });
      } catch (error) {
        this.end();
        throw error;
      }
    })());
  }

  end() {
    this.worker.terminate();
    this.opened = null;
  }

  /** The answer for a message once those before it have theirs; nothing if `signal` says so first. */
  ask(message, signal) {
    const turn = this.last.then(async () => {
      await this.open();
      signal?.throwIfAborted();
      const bytes = message.file ? await message.file.arrayBuffer() : null;
      return bytes ? this.post({ do: "predict", name: "image", bytes }, [bytes], SECONDS)
        : this.post(message);
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  post(message, transfer = [], seconds = 0) {
    const { worker } = this;
    const id = ++this.count;
    return new Promise((done, failed) => {
      const give = (sentence) => {
        this.end();
        failed(new Unanswered(sentence));
      };
      const clock = seconds && setTimeout(() => give(SLOW), 1000 * seconds);
      worker.onmessage = ({ data }) => {
        if (data.id !== id) return;
        clearTimeout(clock);
        if (data.decoded) return;
        if (data.ok) done(data.answer);
        else failed(new Unanswered(data.sentence));
      };
      worker.onerror = (event) => {
        event.preventDefault();
        clearTimeout(clock);
        give(GONE);
      };
      worker.postMessage({ ...message, id }, transfer);
    });
  }
}
