// Teaching mode: read first, then see the model's answer; or read a whole folder whose subfolders
// are the labels, in random order, and compare. The readings stay in this page's memory alone.
import { entries, isZip, isWanted, unpack } from "./zip.js";

const shuffled = (list) => list.map((item) => [Math.random(), item])
  .sort(([a], [b]) => a - b).map(([, item]) => item);

const element = (tag, text, ...children) => {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
};

export const setUpTeaching = ({ one, say, names }) => {
  const root = document.getElementById("one");
  const toggle = document.querySelector("#teach input");
  const classes = Object.keys(names);

  /** Ask for the reader's own answer; `then` gets it, a class or null for "not sure". */
  const readFirst = (title, then) => {
    const buttons = [...classes, null].map((name) => {
      const button = element("button", name ? names[name] : say("not_sure"));
      button.type = "button";
      button.onclick = () => then(name);
      return button;
    });
    const choices = element("div", null, ...buttons);
    choices.className = "readings";
    const card = element("section", null, element("h2", title), element("p", say("read_first")), choices);
    card.className = "card";
    one.show(card);
  };

  const set = (active) => {
    toggle.checked = active;
    root.classList.toggle("teaching", active);
    one.hold = active ? (answer, name, reveal) => {
      root.classList.add("blind");
      readFirst(name, (reading) => {
        root.classList.remove("blind");
        const own = element("p", say("own_reading", { reading: reading ? names[reading] : say("not_sure") }));
        own.className = "again";
        reveal().querySelector(".verdict").after(own);
      });
    } : null;
  };
  toggle.addEventListener("change", () => {
    set(toggle.checked);
    one.clear();
  });
  set(toggle.checked);

  // === A folder or a ZIP of labelled images ===

  const labelled = async (files) => {
    const found = [];
    for (const file of files)
      if (await isZip(file)) found.push(...(await entries(file)).filter((e) => isWanted(e.name)));
      else found.push({ own: file, name: file.webkitRelativePath || file.name });
    const label = (path) => path.split("/").slice(0, -1).reverse()
      .map((part) => classes.find((c) => c.toLowerCase() === part.toLowerCase())).find(Boolean);
    return found.map((item) => ({ ...item, label: label(item.name) }));
  };

  const lesson = async (files) => {
    const all = await labelled(files);
    const items = shuffled(all.filter((item) => item.label));
    const done = [];
    const next = async () => {
      if (done.length === items.length) return finish(done);
      const item = items[done.length];
      const name = say("image_of", { i: done.length + 1, n: items.length });
      root.classList.add("blind");
      one.hold = (answer) => readFirst(name, (reading) => {
        done.push({ label: item.label, reading, answer: answer.label });
        next();
      });
      const file = item.own ?? (await unpack(item));
      await one.take(new File(file ? [file] : [], name));
      if (!one.failed) return;
      items.splice(items.indexOf(item), 1); // It cannot be read: it is left out, and counted.
      next();
    };
    const finish = (results) => {
      set(true);
      root.classList.remove("blind");
      one.clear();
      const row = (title, some, tag = "td") => {
        const right = (who) => some.filter((r) => r[who] === r.label).length;
        const cells = [some.length, right("reading"), right("answer"),
          some.filter((r) => r.answer === null).length];
        return element("tr", null, element("th", title), ...cells.map((c) => element(tag, c)));
      };
      const heads = ["label", "images", "reader_right", "model_right", "model_unsure"];
      const table = element("table", null, element("tr", null, ...heads.map((h) => element("th", say(h)))),
        ...classes.map((c) => row(names[c], results.filter((r) => r.label === c))),
        row(say("together"), results));
      const scroll = element("div", null, table);
      scroll.className = "scroll";
      const section = element("section", null, element("h2", say("lesson_done")), scroll);
      section.className = "card lesson batch";
      const left = all.length - results.length;
      if (left) section.append(element("p", say("lesson_left", { n: left })));
      one.show(section);
    };
    next();
  };
  document.querySelectorAll("#lesson input").forEach((input) =>
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) lesson(files);
    }));
};
