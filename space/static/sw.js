// Keeps the page, so that it works without a network. The last line is the version of its files,
// by which a browser sees that there is another page; that one is used once all tabs of this one
// are closed.
const LIST = "files.json";
const { scope } = self.registration;

const digestOf = async (bytes) => Array.from(
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (b) => b.toString(16).padStart(2, "0")).join("");

/** A file of the list, from the browser's cache or anew; another than the list says is an error. */
const fetched = async (name, digest) => {
  for (const cache of ["default", "reload"]) {
    const answer = await fetch(name, { cache });
    if (answer.ok && (await digestOf(await answer.clone().arrayBuffer())) === digest) return answer;
  }
  throw new Error(`${name} is another than ${LIST} says`);
};

const keep = async () => {
  const { version, files } = await (await fetch(LIST, { cache: "reload" })).json();
  const cache = await caches.open(`${scope} ${version}`);
  for (const [name, digest] of Object.entries(files)) await cache.put(name, await fetched(name, digest));
  await cache.put(LIST, new Response(JSON.stringify({ version })));
};

/** Drop the files of earlier versions: all but the newest that is whole. */
const tidy = async () => {
  const own = (await caches.keys()).filter((name) => name.startsWith(`${scope} `));
  let newest;
  for (const name of own) if (await (await caches.open(name)).match(LIST)) newest = name;
  await Promise.all(own.filter((name) => name !== newest).map((name) => caches.delete(name)));
};

const answer = async (request) => {
  const url = new URL(request.url);
  const name = url.pathname.endsWith("/") ? "index.html" : url.origin + url.pathname;
  return (await caches.match(name)) ?? fetch(request);
};

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil(tidy().then(() => self.clients.claim())));
self.addEventListener("fetch", (event) => {
  const own = event.request.url.startsWith(scope);
  if (own && event.request.method === "GET") event.respondWith(answer(event.request));
});
