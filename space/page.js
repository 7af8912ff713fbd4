// The page, whoever answers: files go to a source, answers to the panel, the viewer, the table.
// Each file that is taken has a turn; what comes back for an earlier turn is thrown away.
//
// source: { texts, megabytes: of a file, failed: the sentence for what nobody foresaw,
//           ask(file, signal) and askPixels({ width, height, luminance }, signal): an answer,
//           askMany(files, signal, onstep): the table, an element,
//           filesOf(dataTransfer), where folders can be dropped }
// answer: { card: an element, image: what viewer.js takes or null, label, refused }
import { Viewer } from "./viewer.js";
import { entries, isZip, unpack } from "./zip.js";

const STILL = 5000; // milliseconds until it is said that a file takes long
const asked = new URLSearchParams(location.search);
const $ = (selector) => document.querySelector(selector);

/** What is said instead of an answer. */
export class Refused extends Error {}

/** Gives a sentence of `texts` with its blanks filled. */
export const speaker = (texts) => (key, values = {}) =>
  Object.entries(values).reduce((text, [k, v]) => text.replaceAll(`{${k}}`, v), texts[key]);

/** Resolves once an element is there: Gradio draws its parts late, a tab when it is opened. */
export const drawn = (selector) => new Promise((done) => {
  const look = (_, observer) => {
    if (!$(selector)) return;
    observer.disconnect();
    done();
  };
  const observer = new MutationObserver(look);
  observer.observe(document, { childList: true, subtree: true });
  look([], observer); // It may be there already.
});

/** What tells files apart is often last: a name keeps its beginning and its end. */
export const middleCut = (name, most = 40) => name.length <= most ? name
  : `${name.slice(0, Math.ceil(most / 2) - 1)}…${name.slice(-Math.floor(most / 2))}`;

/** A card of a few words where an answer stands. */
export const card = (name, heading, text = "", kind = "") => {
  const section = document.createElement("section");
  section.className = `card answer ${kind}`;
  section.innerHTML = '<p class="of"></p><h2 class="verdict"></h2><p></p>';
  const parts = section.children;
  [name, heading, text].forEach((value, i) => (parts[i].textContent = value));
  return section;
};

let source, say; // of this page

const sentence = (error) => error instanceof Refused ? error.message : source.failed;
const refusal = (name, error) => card(name, say("cannot_use"), sentence(error), "refusal");

const ask = async (file, signal) => {
  if (file.size > source.megabytes * 2 ** 20)
    throw new Refused(say("too_large", { limit: source.megabytes }));
  if (await isZip(file)) throw new Refused(say("zip_here"));
  return source.ask(file, signal);
};

/** A place for one image with its answer: the first tab's, and the one that a row opens. */
class Place {
  constructor(panel, film, on = {}) {
    this.panel = panel;
    this.turn = 0;
    this.empty = [...panel.children];
    this.viewer = new Viewer(film,
      { ask: (pixels, covered) => this.askAgain(pixels, covered), ...on });
  }

  /** Nothing is shown, and nothing that is still on its way will be. */
  clear() {
    this.turn++;
    this.stop?.abort();
    this.viewer.clear();
    this.show(...this.empty);
  }

  show(...parts) {
    this.panel.replaceChildren(...parts);
  }

  begin() {
    this.stop?.abort();
    this.stop = new AbortController();
    return ++this.turn;
  }

  async take(file) {
    const turn = this.begin();
    const name = middleCut(file.name);
    this.viewer.wait();
    this.name = file.name;
    this.failed = false;
    const reading = card(name, say("reading_name", { name }), "", "reading");
    this.show(reading);
    setTimeout(() => (reading.children[1].textContent = say("still_reading", { name })), STILL);
    try {
      const answer = await ask(file, this.stop.signal);
      if (turn !== this.turn) return;
      const { image } = answer;
      if (image) {
        image.lines = this.lines(image, file.name);
        this.viewer.show({ ...image, mapShown: image.mapShown && !this.hold });
      } else this.viewer.clear();
      this.shown = answer;
      this.failed = answer.refused;
      const reveal = () => {
        if (image?.mapShown) this.viewer.showMap(image.top);
        return this.answer(answer.card);
      };
      if (this.hold && image) this.hold(answer, name, reveal);
      else reveal();
    } catch (error) {
      if (turn !== this.turn) return;
      this.failed = true;
      this.viewer.clear();
      this.show(refusal(name, error));
    }
  }

  /** What stands below an exported picture. */
  lines({ lines: [verdict, ...figures], model }, what) {
    const date = new Date().toISOString().slice(0, 10);
    return [verdict, what, ...figures, `${model}, ${date}`, say("disclaimer")];
  }

  answer(section) {
    this.show(section);
    const name = section.querySelector(".of");
    name.textContent = middleCut(this.name);
    name.title = this.name;
    return section;
  }

  /** What the model says of the image with another window, or with a part covered. */
  async askAgain(pixels, covered) {
    const turn = this.begin();
    const key = covered ? "with_cover" : "with_window";
    try {
      const answer = await source.askPixels(pixels, this.stop.signal);
      if (turn !== this.turn) return;
      const before = this.shown.image?.percents ?? {};
      this.answer(answer.card);
      if (!answer.image) return;
      const note = document.createElement("p");
      note.className = "again";
      const changes = Object.entries(answer.image.percents).map(([name, value]) =>
        `${name} ${before[name] ?? ""} → ${value}`);
      note.textContent = `${say(key)} ${changes.join(", ")}`;
      answer.card.querySelector(".verdict").after(note);
      this.viewer.setMaps(answer.image.maps, this.viewer.map);
      this.viewer.image.lines = [...this.lines(answer.image, this.name), say(key)];
    } catch (error) {
      if (turn === this.turn) this.show(refusal(middleCut(this.name), error));
    }
  }
}

const setUpOne = () => {
  let other = null; // the image that was kept beside
  const follow = (viewer, { zoom, x, y }) => viewer?.image && viewer.set({ zoom, x, y }, true);
  const two = (on) => $("#one").classList.toggle("two", on);
  const compare = () => {
    other ??= new Viewer($("#beside"), { view: (state) => follow(one.viewer, state),
      remove: () => { other.clear(); two(false); } });
    other.show(one.viewer.image);
    two(true);
  };
  const one = new Place($("#panel"), $("#film"),
    { remove: () => one.clear(), view: (state) => follow(other, state), compare });
  const take = (file) => {
    one.take(file);
    one.panel.scrollIntoView({ block: "nearest" });
  };
  $("#upload input").addEventListener("change", ({ target }) => {
    if (target.files.length) take(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  const wanted = asked.get("example")?.toLowerCase();
  let found = !wanted;
  document.querySelectorAll("#examples button").forEach((button) => {
    const { example, name } = button.dataset;
    const choose = async () => {
      const response = await fetch(button.querySelector("img").src);
      if (response.ok) take(new File([await response.blob()], example));
    };
    button.addEventListener("click", choose);
    if (found || ![example, name].some((n) => n.toLowerCase() === wanted)) return;
    found = true;
    choose();
  });
  if (!found) one.show(card(asked.get("example"), say("no_example"), "", "refusal"));
  return [one, take];
};

const setUpMany = () => {
  const table = $("#table");
  const dialog = $("#opened");
  const place = new Place(dialog.querySelector(".panel"), dialog.querySelector(".film-place"));
  let files = [], stop = null;
  const report = (heading, text, kind) => table.replaceChildren(card("", heading, text, kind));
  const take = async (chosen) => {
    stop?.abort();
    const mine = (stop = new AbortController());
    files = [...chosen];
    report(say("reading_many", { n: files.length }), "", "reading");
    try {
      const answers = await source.askMany(files, mine.signal, (step) =>
        mine === stop && report(say("reading_of", step), "", "reading"));
      if (mine === stop) table.replaceChildren(answers);
    } catch (error) {
      if (mine === stop) report(say("cannot_use"), sentence(error), "refusal");
    }
  };
  document.querySelectorAll("#many input[type=file]").forEach((input) =>
    input.addEventListener("change", () => {
      if (input.files.length) take(input.files);
      input.value = "";
    }));
  table.addEventListener("click", async ({ target }) => {
    const row = target.closest("[data-open]");
    if (!row) return sort(target.closest("[data-sort]"));
    let file = files[row.dataset.upload];
    dialog.showModal();
    try {
      if (file && (await isZip(file))) {
        const found = (await entries(file)).find((entry) => entry.name === row.dataset.open);
        file = found && (await unpack(found, source.megabytes * 2 ** 20));
      }
    } catch {
      file = null;
    }
    if (file) place.take(new File([file], row.dataset.open));
    else place.show(card(row.dataset.open, say("cannot_open"), "", "refusal"));
  });
  dialog.addEventListener("close", () => place.clear());
  return take;
};

const sort = (button) => {
  if (!button) return;
  const heading = button.closest("th");
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  const body = heading.closest("table").tBodies[0];
  const value = (row) => row.cells[heading.cellIndex].dataset.value;
  const order = button.dataset.sort === "number" ? (a, b) => value(a) - value(b)
    : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
  heading.parentNode.querySelectorAll("[aria-sort]").forEach((other) =>
    other.setAttribute("aria-sort", "none"));
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  body.append(...[...body.rows].sort((a, b) => (rising ? order(a, b) : order(b, a))));
};

/** Fill the page, whose parts are in the document. */
export const setUpPage = async (how) => {
  source = how;
  say = speaker(source.texts);
  document.title = say("title");
  const teaches = asked.get("teach") === "1";
  if (teaches) await import("./teach.js"); // before an example shows its answer
  const [one, takeOne] = setUpOne();
  let takeMany;
  drawn("#many").then(() => (takeMany = setUpMany()));
  const teaching = $("#teach input");
  const teach = async () => (await import("./teach.js")).setUpTeaching(one, say);
  if ((teaching.checked = teaches)) await teach();
  else teaching.addEventListener("change", () => { one.clear(); teach(); }, { once: true });
  const send = (files) => {
    if (!files?.length) return;
    if ($("#upload-many")?.offsetParent) takeMany(files);
    else if ($("#upload").offsetParent) takeOne(files[0]);
  };
  document.addEventListener("paste", (event) => send(event.clipboardData?.files));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    send(await (source.filesOf?.(event.dataTransfer) ?? event.dataTransfer.files));
  });
  document.body.dataset.ready = "";
};
