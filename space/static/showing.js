// How answers look: the same parts as the templates of the Gradio page make (space/render.py).
import { reduce } from "./engine/resize.js";
import { middleCut } from "./page.js";
import { drawGrey } from "./viewer.js";
import { percents } from "./words.js";

const FILM_SIDE = 1280; // enough to zoom
const THUMBNAIL_SIDE = 96;

const element = (tag, kind, ...children) => {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...children.filter((child) => child !== null));
  return made;
};

const small = ({ width, height, luminance: data }, side) => {
  const factor = Math.ceil(Math.max(width, height) / side);
  return factor > 1 ? reduce({ width, height, data }, factor, factor) : { width, height, data };
};

/** A small picture of an answer's image. */
export const thumbnail = (answer) => {
  const { width, height, data } = small(answer, THUMBNAIL_SIDE);
  return drawGrey(Object.assign(element("canvas", ""), { width, height, ariaHidden: "true" }), data);
};

export class Showing {
  /** `page`: what page.json holds; `config`: of the model, null until it is open. */
  constructor(words, page) {
    Object.assign(this, { words, page, config: null });
  }

  /** Classes as people call them, and whole percents. */
  shares({ probabilities }) {
    const shown = percents(Object.values(probabilities));
    return Object.keys(probabilities).map((name, i) => [this.words.className(name), shown[i]]);
  }

  verdict({ is_chest_radiograph, abstained, label }) {
    const { say, className } = this.words;
    return !is_chest_radiograph ? say("not_chest") : abstained ? say("not_sure")
      : `${say("most_like")} ${className(label)}`;
  }

  /** What the panel says of an answer. */
  card(answer) {
    const { words, config, page } = this;
    const { say } = words;
    const { is_chest_radiograph: chest, abstained, label } = answer;
    const reliability = page.reliability[words.language];
    const honest = label === null ? reliability.not_sure : reliability.answers[label];
    const why = !chest ? say("not_chest_why") : abstained ? say("not_sure_why") : "";
    const verdict = label === null ? [this.verdict(answer)]
      : [element("small", "", say("most_like")), ` ${words.className(label)}`];
    const paragraph = (text, kind = "") => text ? element("p", kind, text) : null;
    const limit = config.ood_threshold ?? null;
    const figure = (value) => words.number(value.toFixed(2));
    const chosen = label === null ? null : words.className(label);
    const bars = this.shares(answer).map(([name, value]) => {
      const filled = element("span", "");
      filled.style.width = `${Math.floor(100 * value)}%`;
      const track = element("span", "track", filled);
      track.ariaHidden = "true";
      return element("li", name === chosen ? "top" : "", element("span", "name", name),
        element("span", "value", words.percent(value)), track);
    });
    return element("section", "card answer", element("p", "of"),
      element("h2", "verdict", ...verdict), paragraph(why),
      element("p", "honest", chest ? `${honest} ` : "", element("strong", "", say("do_not_use"))),
      paragraph(words.all(answer.warnings), "warning"),
      ...(chest ? [element("h3", "", say("probabilities")), element("ul", "bars", ...bars)] : []),
      element("details", "hint", element("summary", "", say("details")),
        ...(chest ? [paragraph(say("only_three")),
          paragraph(say("detail_level", { limit: words.percent(config.abstain_below, 1) }))] : []),
        limit === null ? null : paragraph(say("detail_distance",
          { score: figure(answer.ood_score), limit: figure(limit) }))));
  }

  /** What viewer.js takes. No heatmap is offered for what does not look like a chest radiograph. */
  image(answer) {
    const { words, page } = this;
    const { stored, heatmaps, probabilities, is_chest_radiograph: chest } = answer;
    const { width, height, data } = small(answer, FILM_SIDE);
    const maps = { of: {} };
    if (chest && heatmaps) {
      const { names, h, w, data: all } = heatmaps;
      maps.side = [h, w];
      names.forEach((name, i) => (maps.of[name] = Uint8Array.from(
        all.subarray(i * h * w, (i + 1) * h * w), (value) => Math.round(255 * value))));
    }
    const figures = Object.fromEntries(
      this.shares(answer).map(([name, value]) => [name, words.percent(value)]));
    const line = Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(", ");
    const names = Object.keys(probabilities);
    return {
      ...(stored ?? { width, height, values: data }),
      size: [answer.width, answer.height],
      alt: words.say("image_alt", { width: answer.width, height: answer.height }),
      maps,
      top: names.reduce((a, b) => (probabilities[b] > probabilities[a] ? b : a)),
      mapShown: answer.label !== null,
      names: Object.fromEntries(names.map((name) => [name, words.className(name)])),
      percents: chest ? figures : {},
      model: [page.model, page.revision?.slice(0, 7)].filter(Boolean).join(" "),
      lines: [this.verdict(answer), ...(chest ? [line] : [])],
    };
  }

  /** The rows of many images: { name, upload, answer and thumbnail, or sentence, leftOut }. */
  table(rows, classes, warning, csv) {
    const { words } = this;
    const { say } = words;
    const counts = { answered: 0, unsure: 0, turned_away: 0, failed: 0 };
    const lines = rows.filter((row) => !row.leftOut).map((row) => this.row(row, classes, counts));
    const left = {};
    for (const { name, sentence } of rows.filter((row) => row.leftOut))
      (left[words.sentence(sentence)] ??= []).push(name);
    const link = Object.assign(element("a", "download", say("csv")), { download: "aihealth.csv", href: csv });
    const status = element("p", "", say("summary", counts));
    status.role = "status";
    const heading = (text, kind) => {
      const button = Object.assign(element("button", "", text), { type: "button" });
      button.dataset.sort = kind;
      const cell = Object.assign(element("th", "", button), { scope: "col" });
      cell.ariaSort = "none";
      return cell;
    };
    const table = element("table", "", element("caption", "", say("sort_hint")),
      element("thead", "", element("tr", "", heading(say("file"), "text"), heading(say("answer"), "text"),
        ...classes.map((name) => heading(words.className(name), "number")),
        Object.assign(element("th", "", say("note")), { scope: "col" }))),
      element("tbody", "", ...lines));
    const scroll = Object.assign(element("div", "scroll", table),
      { tabIndex: 0, role: "region", ariaLabel: say("table") });
    return element("section", "card batch", element("div", "batch-top", status, link),
      warning ? element("p", "warning", words.sentence(warning)) : null,
      ...Object.entries(left).map(([reason, some]) => element("details", "warning left-out",
        element("summary", "", `${say("left_out", { n: some.length })} ${reason}`),
        element("ul", "", ...some.map((name) => element("li", "", name))))),
      scroll);
  }

  row({ name, upload, answer, thumbnail: picture, sentence }, classes, counts) {
    const { words } = this;
    const { say } = words;
    const [state, text] = !answer ? ["failed", say("unreadable_short")]
      : !answer.is_chest_radiograph ? ["turned_away", say("no_chest_short")]
      : answer.abstained ? ["unsure", say("not_sure_short")]
      : ["answered", words.className(answer.label)];
    counts[state]++;
    const known = state === "answered" || state === "unsure";
    const values = known ? percents(classes.map((c) => answer.probabilities[c])) : classes.map(() => -1);
    const blank = element("span", "blank", "!");
    blank.ariaHidden = "true";
    const open = Object.assign(element("button", "file", picture ?? blank,
      element("span", "name", middleCut(name))), { type: "button", title: name });
    Object.assign(open.dataset, { open: name, upload });
    const cell = (tag, kind, value, ...children) => {
      const made = element(tag, kind, ...children);
      made.dataset.value = value;
      return made;
    };
    const first = Object.assign(cell("th", "", name, open), { scope: "row" });
    return element("tr", state, first, cell("td", "", text, element("strong", "", text)),
      ...values.map((value) => cell("td", "number", value, value < 0 ? "–" : words.percent(value))),
      element("td", "note", sentence ? words.sentence(sentence) : words.all(answer.warnings)));
  }
}
