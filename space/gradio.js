// The page's server: files go to Gradio's documented HTTP API. Their names stay in the browser.
import { drawn, Refused, setUpPage, speaker } from "./page.js";
import { drawGrey } from "./viewer.js";

const settings = JSON.parse(document.getElementById("settings").textContent);
const language = document.documentElement.lang;
const texts = settings.texts[language];
const say = speaker(texts);

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
  const address = `gradio_api/call/${name}`;
  const start = await fetch(address, { method: "POST", signal,
    headers: { "Content-Type": "application/json" }, body: JSON.stringify({ data }) });
  if (!start.ok) throw new Refused(say("busy"));
  const events = new EventSource(`${address}/${(await start.json()).event_id}`);
  try {
    return await new Promise((done, failed) => {
      events.addEventListener("generating", ({ data }) => onstep?.(JSON.parse(data)[0]));
      events.addEventListener("complete", ({ data }) => done(JSON.parse(data)[0]));
      // One with data is the server's; one without, the connection's.
      events.addEventListener("error", ({ data }) => failed(new Refused(
        data ? JSON.parse(data)?.error || say("busy") : say("not_sent"))));
      signal.addEventListener("abort", () => failed(signal.reason));
    });
  } finally {
    events.close();
  }
};

const element = (html) => document.createRange().createContextualFragment(html).firstElementChild;

/** The values of a picture: 8 bits, or 16 where its red and green are the two bytes of each. */
const readValues = async (url, deep) => {
  const picture = await createImageBitmap(await (await fetch(url)).blob());
  const { width, height } = picture;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new (deep ? Uint16Array : Uint8Array)(width * height);
  for (let i = 0; i < values.length; i++)
    values[i] = deep ? (data[4 * i] << 8) | data[4 * i + 1] : data[4 * i];
  return { values, width, height };
};

const ask = async (file, signal) => {
  const [sent] = await upload([["image", file]], signal);
  const { html, image, ...answer } = await call("show", [sent, language], signal);
  if (image) {
    Object.assign(image, await readValues(image.deep || image.film, image.deep));
    for (const [name, grid] of Object.entries(image.maps.of))
      image.maps.of[name] = Uint8Array.from(atob(grid), (sign) => sign.charCodeAt(0));
  }
  return { ...answer, image, card: element(html) };
};

const asPng = ({ width, height, luminance }) =>
  drawGrey(new OffscreenCanvas(width, height), luminance).convertToBlob();

const askMany = async (files, signal, onstep) => {
  const large = files.filter((file) => file.size > settings.megabytes * 2 ** 20);
  if (large.length) throw new Refused(`${large.map((f) => f.name).join(", ")}: ${
    say("too_large", { limit: settings.megabytes })}`);
  const sent = await upload(files.map((file) => [file.name, file]), signal);
  return element((await call("show_batch", [sent, language], signal, onstep)).html);
};

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (button) navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent)
    .then(() => (button.textContent = say("copied")));
});

drawn("#one").then(() => setUpPage({ texts, megabytes: settings.megabytes,
  failed: say("not_sent"), ask, askMany,
  askPixels: async (pixels, signal) => ask(await asPng(pixels), signal) }));
