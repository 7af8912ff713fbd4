// The page whose model runs in the browser: no image leaves it. It draws the parts of the page,
// and answers from its own worker.
import { Asker, Unanswered } from "./asking.js";
import { csvOf, imagesIn, MAX_IMAGES, wanted } from "./batch.js";
import { MAX_BYTES } from "./engine/limits.js";
import { card, Refused, setUpPage } from "./page.js";
import { Showing, thumbnail } from "./showing.js";
import { Words } from "./words.js";

const STEP = 250; // milliseconds between two progress lines
const language = document.documentElement.lang;
const $ = (selector) => document.querySelector(selector);
const [table, page] = await Promise.all(["words.json", "page.json"].map(async (name) =>
  (await fetch(name)).json())).catch((error) => {
  $("#tab-one").textContent = "This page is incomplete. Load it again.";
  throw error;
});
const words = new Words(table, language);
const { say } = words;
const showing = new Showing(words, page);
const asker = new Asker(new URL("./", location.href).href);

/** A sentence of the engine becomes what the page says. */
const said = (error) => error instanceof Unanswered ? new Refused(words.sentence(error.sentence)) : error;

const answered = async (message, signal) => {
  try {
    const answer = await asker.ask(message, signal);
    showing.config ??= await asker.open();
    return { card: showing.card(answer), image: showing.image(answer), label: answer.label, refused: false };
  } catch (error) {
    throw said(error);
  }
};

/** The table of many images. One that cannot be read is a row with its reason. */
const askMany = async (chosen, signal, onstep) => {
  const files = wanted(chosen);
  const images = await imagesIn(files);
  const total = Math.min(images.length, MAX_IMAGES);
  const config = await asker.open().catch((error) => { throw said(error); });
  showing.config = config;
  const rows = [], features = [];
  let told = 0;
  for (const { name, upload, read } of images) {
    signal.throwIfAborted();
    const { file, ...reason } = await read();
    // A row keeps which of the chosen files it came from, so that it can be opened.
    const row = { name, upload: chosen.indexOf(files[upload]), ...reason };
    if (file) {
      try {
        const answer = await asker.ask({ file }, signal);
        if (answer.is_chest_radiograph) features.push(answer.features);
        row.thumbnail = thumbnail(answer);
        const { luminance, heatmaps, stored, features: own, ...kept } = answer;
        row.answer = kept;
      } catch (error) {
        if (error instanceof Unanswered) row.sentence = error.sentence;
        else if (error.name === "NotReadableError" || error.name === "NotFoundError")
          row.sentence = { key: "the file cannot be read: {reason}", args: { reason: error.name } };
        else throw error;
      }
    }
    rows.push(row);
    if (rows.length < total && performance.now() > told + STEP) {
      told = performance.now();
      onstep({ done: rows.length, total });
    }
  }
  const { warning } = await asker.ask({ do: "shift", features }, signal);
  const csv = csvOf(rows, config.classes, config, page, warning);
  // The byte order mark makes spreadsheets read the file as UTF-8.
  const url = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
  return showing.table(rows, config.classes, warning, url);
};

/** The files of a drop, those of its folders too; their names have the folders in them. */
const filesOf = async ({ items, files }) => {
  const roots = [...items].map((item) => item.webkitGetAsEntry?.()); // gone after the first wait
  if (!roots.some((root) => root?.isDirectory)) return [...files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      Object.defineProperty(file, "webkitRelativePath", { value: entry.fullPath.slice(1) });
      found.push(file);
      return;
    }
    const reader = entry.createReader();
    for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length; )
      for (const inner of some) await walk(inner);
  };
  for (const root of roots) if (root) await walk(root);
  return found;
};

// === The parts of the page ===

const followScheme = () => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = () => document.documentElement.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", set);
  set();
};

const setUpTabs = () => {
  const names = ["one", "many"];
  const buttons = names.map((name) => Object.assign(document.createElement("button"),
    { type: "button", role: "tab", id: `choose-${name}`, textContent: say(`tab_${name}`) }));
  const choose = (chosen) => names.forEach((name, i) => {
    $(`#tab-${name}`).hidden = i !== chosen;
    buttons[i].ariaSelected = String(i === chosen);
    buttons[i].tabIndex = i === chosen ? 0 : -1;
    buttons[i].setAttribute("aria-controls", `tab-${name}`);
  });
  buttons.forEach((button, i) => {
    button.addEventListener("click", () => choose(i));
    button.addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowLeft" && key !== "ArrowRight") return;
      choose(1 - i);
      buttons[1 - i].focus();
    });
  });
  $(".tabs").append(...buttons);
  choose(0);
};

followScheme();
const parts = page.parts[language];
$("#header").innerHTML = parts.header;
$("#tab-one").innerHTML = parts.one;
$("#tab-many").innerHTML = parts.many;
$("#footer").innerHTML = parts.footer;
setUpTabs();
setUpPage({ texts: words.texts, megabytes: MAX_BYTES / 2 ** 20, failed: say("broke"),
  ask: (file, signal) => answered({ file }, signal),
  askPixels: (pixels, signal) => answered({ do: "predictPixels", ...pixels }, signal),
  askMany, filesOf });
// The model comes before the first file does. What stands against it is said at once.
asker.open().then((config) => {
  showing.config = config;
  return asker.ask({ do: "warm" });
}).catch((error) =>
  $("#panel .empty") && $("#panel").replaceChildren(card("", say("no_model"), said(error).message, "refusal"))
).finally(() => {
  // Without a secure address there is no service worker, and the page needs its network each time.
  navigator.serviceWorker?.register("sw.js").catch(() => {});
});
