// The page: files go to Gradio's documented HTTP API, answers to the panel, the viewer, the table.
// Each file that is taken has a turn; what comes back for an earlier turn is thrown away.
import { setUpTeaching } from "./teach.js";
import { Viewer } from "./viewer.js";
import { entries, unpack } from "./zip.js";

const settings = JSON.parse(document.getElementById("settings").textContent);
const language = document.documentElement.lang;
const texts = settings.texts[language];
const asked = new URLSearchParams(location.search);
const say = (key, values = {}) =>
  Object.entries(values).reduce((text, [k, v]) => text.replaceAll(`{${k}}`, v), texts[key]);
const $ = (selector) => document.querySelector(selector);

/** What tells files apart is often last: a name keeps its beginning and its end. */
const middleCut = (name, most = 40) => name.length <= most ? name
  : `${name.slice(0, Math.ceil(most / 2) - 1)}…${name.slice(-Math.floor(most / 2))}`;

// === Server ===

class Refused extends Error {}

const upload = async (files, signal) => {
  const body = new FormData();
  for (const [name, file] of files) body.append("files", file, name);
  const response = await fetch("gradio_api/upload", { method: "POST", body, signal });
  if (response.status === 413) throw new Refused(say("too_large", { limit: settings.megabytes }));
  if (!response.ok) throw new Refused(say("not_sent"));
  const paths = await response.json();
  return paths.map((path, i) =>
    ({ path, orig_name: files[i][0], meta: { _type: "gradio.FileData" } }));
};

/** Call an endpoint; `onstep` hears what comes before the last answer. */
const call = async (name, data, signal, onstep) => {
  const start = await fetch(`gradio_api/call/${name}`, { method: "POST", signal,
    headers: { "Content-Type": "application/json" }, body: JSON.stringify({ data }) });
  if (!start.ok) throw new Refused(say("busy"));
  const { event_id } = await start.json();
  const answer = await fetch(`gradio_api/call/${name}/${event_id}`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) throw new Refused(say("not_sent"));
    text += value;
    const messages = text.split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const [, event, json] = /^event: (\w+)\ndata: (.*)$/s.exec(message) ?? [];
      if (event === "complete") return JSON.parse(json)[0];
      if (event === "generating") onstep?.(JSON.parse(json)[0]);
      if (event === "error") throw new Refused(JSON.parse(json)?.error || say("busy"));
    }
  }
};

const isZip = async (file) => {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  return head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4;
};

/** The answer for one image: { html, image }. Its name stays in the browser. */
const ask = async (file, signal) => {
  if (file.size > settings.megabytes * 2 ** 20)
    throw new Refused(say("too_large", { limit: settings.megabytes }));
  if (await isZip(file)) throw new Refused(say("zip_here"));
  const [sent] = await upload([["image", file]], signal);
  const answer = await call("show", [sent, language], signal);
  const date = new Date().toISOString().slice(0, 10);
  if (answer.image) answer.image.lines.push(`${answer.image.model}, ${date}`, say("disclaimer"));
  return answer;
};

const sentence = (error) => error instanceof Refused ? error.message : say("not_sent");

// === Panel ===

const card = (name, heading, text = "", kind = "") => {
  const section = document.createElement("section");
  section.className = `card answer ${kind}`;
  section.innerHTML = '<p class="of"></p><h2 class="verdict"></h2><p></p>';
  const parts = section.children;
  [name, heading, text].forEach((value, i) => (parts[i].textContent = value));
  return section;
};

/** A place for one image with its answer: the first tab's, and the one that a row opens. */
class Place {
  constructor(panel, film, on = {}) {
    this.panel = panel;
    this.turn = 0;
    this.empty = [...panel.children];
    this.viewer = new Viewer(film, texts, { ask: (blob, covered) => this.askAgain(blob, covered), ...on });
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
    this.viewer.wait();
    this.name = file.name;
    this.failed = false;
    this.show(card(middleCut(file.name), say("reading_name", { name: middleCut(file.name) }), "", "reading"));
    try {
      const answer = await ask(file, this.stop.signal);
      if (turn !== this.turn) return;
      if (answer.image) {
        answer.image.lines.splice(1, 0, file.name);
        await this.viewer.show({ ...answer.image, mapShown: answer.image.mapShown && !this.hold });
        if (turn !== this.turn) return;
      }
      if (!answer.image) this.viewer.clear();
      this.shown = answer;
      this.failed = answer.refused;
      const reveal = () => {
        if (answer.image?.mapShown) this.viewer.showMap(answer.image.top);
        return this.answer(answer.html);
      };
      if (this.hold && answer.image) this.hold(answer, middleCut(file.name), reveal);
      else reveal();
    } catch (error) {
      if (turn !== this.turn) return;
      this.failed = true;
      this.viewer.clear();
      this.show(card(middleCut(file.name), say("cannot_use"), sentence(error), "refusal"));
    }
  }

  answer(html) {
    this.panel.innerHTML = html;
    const name = this.panel.querySelector(".of");
    name.textContent = middleCut(this.name);
    name.title = this.name;
    return this.panel.firstElementChild;
  }

  /** What the model says of the image with another window, or with a part covered. */
  async askAgain(blob, covered) {
    const turn = this.begin();
    const key = covered ? "with_cover" : "with_window";
    try {
      const answer = await ask(blob, this.stop.signal);
      if (turn !== this.turn) return;
      const before = this.shown.image?.percents ?? {};
      const section = this.answer(answer.html);
      if (!answer.image) return;
      const note = document.createElement("p");
      note.className = "again";
      const changes = Object.entries(answer.image.percents).map(([name, value]) =>
        `${name} ${before[name] ?? ""} → ${value}`);
      note.textContent = `${say(key)} ${changes.join(", ")}`;
      section.querySelector(".verdict").after(note);
      this.viewer.setMaps(answer.image.maps, this.viewer.map);
      this.viewer.image.lines = [...answer.image.lines, say(key)];
    } catch (error) {
      if (turn === this.turn) this.show(card(this.name, say("cannot_use"), sentence(error), "refusal"));
    }
  }
}

const setUpOne = () => {
  let other = null; // the image that was kept beside
  const follow = (viewer, { zoom, x, y }) => viewer?.image && viewer.set({ zoom, x, y }, true);
  const two = (on) => $("#one").classList.toggle("two", on);
  const compare = async () => {
    other ??= new Viewer($("#beside"), texts, { view: (state) => follow(one.viewer, state),
      remove: () => { other.clear(); two(false); } });
    await other.show(one.viewer.image);
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
  const example = async (name) => {
    const response = await fetch(`page/examples/${encodeURIComponent(name)}`);
    if (response.ok) take(new File([await response.blob()], name));
  };
  document.querySelectorAll("#examples button").forEach((button) =>
    button.addEventListener("click", () => example(button.dataset.example)));
  const wanted = asked.get("example");
  const button = wanted && [...document.querySelectorAll("#examples button")].find((b) =>
    [b.dataset.example, b.dataset.name].some((n) => n.toLowerCase() === wanted.toLowerCase()));
  if (button) example(button.dataset.example);
  else if (wanted) one.show(card(wanted, say("no_example"), "", "refusal"));
  return [one, take];
};

// === Many images ===

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
    const large = files.filter((file) => file.size > settings.megabytes * 2 ** 20);
    try {
      if (large.length) throw new Refused(`${large.map((f) => f.name).join(", ")}: ${
        say("too_large", { limit: settings.megabytes })}`);
      const sent = await upload(files.map((file) => [file.name, file]), mine.signal);
      const { html } = await call("show_batch", [sent, language], mine.signal, (step) =>
        mine === stop && report(say("reading_of", step), "", "reading"));
      if (mine === stop) table.innerHTML = html;
    } catch (error) {
      if (mine === stop) report(say("cannot_use"), sentence(error), "refusal");
    }
  };
  $("#upload-many input").addEventListener("change", ({ target }) => {
    if (target.files.length) take(target.files);
    target.value = "";
  });
  table.addEventListener("click", async ({ target }) => {
    const row = target.closest("[data-open]");
    if (!row) return sort(target.closest("[data-sort]"));
    let file = files[row.dataset.upload];
    if (file && (await isZip(file))) {
      const found = (await entries(file)).find((entry) => entry.name === row.dataset.open);
      file = found && (await unpack(found));
    }
    dialog.showModal();
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

// === The whole page ===

const setUpPage = () => {
  document.title = say("title");
  const [one, takeOne] = setUpOne();
  let takeMany = null; // Gradio draws a tab when it is first opened.
  new MutationObserver((_, observer) => {
    if (!$("#upload-many")) return;
    observer.disconnect();
    takeMany = setUpMany();
  }).observe(document.body, { childList: true, subtree: true });
  setUpTeaching({ one, say, entries, unpack, isZip, names: settings.names[language],
    on: asked.get("teach") === "1" });
  const send = (files) => {
    if (!files?.length) return;
    if ($("#upload-many")?.offsetParent) takeMany(files);
    else if ($("#upload")?.offsetParent) takeOne(files[0]);
  };
  document.addEventListener("paste", (event) => send(event.clipboardData?.files));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    send(event.dataTransfer?.files);
  });
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy]");
    if (button) navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent)
      .then(() => (button.textContent = say("copied")));
  });
  document.body.dataset.ready = "";
};

// Gradio builds the page while this module runs, or after it.
if ($("#one")) setUpPage();
else new MutationObserver((_, observer) => {
  if (!$("#one")) return;
  observer.disconnect();
  setUpPage();
}).observe(document, { childList: true, subtree: true });
