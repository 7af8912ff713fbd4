// Teaching mode: read first, then see the model's answer; or read a whole folder whose subfolders
// are the labels, in random order, and compare. The readings stay in this page's memory alone.
import { copyOf } from "./viewer.js";
import { entries, isWanted, isZip, unpack } from "./zip.js";

const shuffled = (list) => list.map((item) => [Math.random(), item])
  .sort(([a], [b]) => a - b).map(([, item]) => item);

export const setUpTeaching = (one, say) => {
  const root = document.getElementById("one");
  const toggle = document.querySelector("#teach input");

  /** Ask for the reader's own answer; `then` gets it, a class or "" for "not sure", and its name. */
  const readFirst = (title, then) => {
    const card = copyOf("reading");
    card.querySelector("h2").textContent = title;
    card.querySelectorAll("button").forEach((button) =>
      (button.onclick = () => then(button.value, button.textContent)));
    one.show(card);
  };

  const set = (active) => {
    toggle.checked = active;
    root.classList.toggle("teaching", active);
    one.hold = active ? (answer, name, reveal) => {
      root.classList.add("blind");
      readFirst(name, (_, reading) => {
        root.classList.remove("blind");
        const own = document.createElement("p");
        own.className = "again";
        own.textContent = say("own_reading", { reading });
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

  const classes = [...copyOf("reading").querySelectorAll("button")].map(({ value }) => value);

  const labelled = async (files) => {
    const found = [];
    for (const file of files)
      if (await isZip(file)) found.push(...(await entries(file)).filter((e) => isWanted(e.name)));
      else found.push({ own: file, name: file.webkitRelativePath || file.name });
    const label = (path) => path.toLowerCase().split("/").slice(0, -1).reverse()
      .map((part) => classes.find((c) => c.toLowerCase() === part)).find(Boolean);
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
      const section = copyOf("lesson-done");
      section.querySelectorAll("tr[data-label]").forEach((row) => {
        const { label } = row.dataset; // "" for all together
        const some = results.filter((r) => !label || r.label === label);
        const right = (who) => some.filter((r) => r[who] === r.label).length;
        for (const figure of [some.length, right("reading"), right("answer"),
          some.filter((r) => r.answer === null).length]) row.insertCell().textContent = figure;
      });
      const left = all.length - results.length;
      if (left) section.querySelector("p").textContent = say("lesson_left", { n: left });
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
