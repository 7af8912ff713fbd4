"""The engine of the page that never uploads, run in a real browser without the page around it."""

import base64
import contextlib
import functools
import http.server
import json
import threading
import types

import numpy as np

from tests.helpers import chromium

# Arrays travel as base64: Playwright's own way takes seconds for a radiograph.
ASK = """async ({ message, arrays, worker }) => {
    const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    for (const [name, text] of Object.entries(arrays)) message[name] = bytes(text);
    if (message.zeros) message.bytes = new Uint8Array(message.zeros);
    if (message.bytes) message.bytes = message.bytes.buffer;
    message.features &&= message.features.map((one) => Float32Array.from(one));
    const answer = await new Promise((done) => {
        const one = (window[worker] ??= new Worker("/engine/worker.js"));
        one.onmessage = ({ data }) => data.decoded || done(data);
        one.onerror = (event) => done({ ok: false, sentence: { key: event.message } });
        one.postMessage(message);
    });
    const text = async (array) => (await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(new Blob([array]));
    })).split(",")[1] ?? "";
    const packed = async (value) => {
        if (ArrayBuffer.isView(value)) return { [value.constructor.name]: await text(value) };
        if (Array.isArray(value)) return Promise.all(value.map(packed));
        if (value === null || typeof value !== "object") return value;
        const parts = Object.entries(value).map(async ([key, part]) => [key, await packed(part)]);
        return Object.fromEntries(await Promise.all(parts));
    };
    return packed(answer);
}"""
# Only reads files: the network would answer seven times for a drawing that is no radiograph.
DECODE = """self.onmessage = async ({ data: { id, bytes } }) => {
    try {
        const { decode } = await import("BASEengine/decode.js");
        const { picture, warnings } = await decode(new Uint8Array(bytes));
        const { width, height, data: luminance } = picture;
        postMessage({ id, ok: true, answer: { width, height, luminance, warnings } });
    } catch ({ key, args, stack }) {
        postMessage({ id, ok: false, sentence: { key: key ?? stack, args } });
    }
};"""
KINDS = {"Uint8Array": "u1", "Uint16Array": "<u2", "Float32Array": "<f4", "Float64Array": "<f8"}


class Engine:
    """A worker in a browser's page, asked by messages."""

    def __init__(self, page, url):
        self.page, self.url = page, url
        self._count, self._reads = 0, False

    @contextlib.contextmanager
    def other_worker(self, first):
        """Another worker that runs a script before its own; its name, for `ask`."""
        self._start("other", f"{first}; importScripts('{self.url}engine/worker.js')")
        try:
            yield "other"
        finally:
            self.page.evaluate("other.terminate()")

    def ask(self, do, worker="worker", **message):
        """Send one message; its answer, arrays as NumPy's, or a `Refused`."""
        self._count += 1
        arrays = {
            name: base64.b64encode(bytes(value)).decode()
            for name, value in message.items()
            if isinstance(value, (bytes, np.ndarray))
        }
        plain = {name: value for name, value in message.items() if name not in arrays}
        plain |= {"id": self._count, "do": do}
        given = {"message": plain, "arrays": arrays, "worker": worker}
        answer = _unpacked(self.page.evaluate(ASK, given))
        if not answer["ok"]:
            raise Refused(answer["sentence"])
        assert answer["id"] == self._count
        return answer["answer"]

    def predict(self, data, name="radiograph"):
        """The answer for a file's bytes; `pixels` is its `luminance` with the right shape."""
        return _with_pixels(self.ask("predict", name=name, bytes=data))

    def decode(self, data=b"", zeros=0):
        """What a file's bytes are read as: uint8 `(h, w)`, and the warning or None.

        Instead of `data`, it may be so many zeros, which take long to get into a browser.
        """
        if not self._reads:
            self._start("reader", DECODE.replace("BASE", self.url))
            self._reads = True
        answer = _with_pixels(self.ask("decode", worker="reader", bytes=data, zeros=zeros))
        return answer["pixels"], warning_of(answer)

    def _start(self, name, script):
        script = json.dumps(script)
        self.page.evaluate(f"window.{name} = new Worker(URL.createObjectURL(new Blob([{script}])))")

    def predict_pixels(self, pixels, worker="worker"):
        """The answer for uint8 `(h, w)`."""
        height, width = pixels.shape
        message = {"width": width, "height": height, "luminance": np.ascontiguousarray(pixels)}
        return _with_pixels(self.ask("predictPixels", worker, **message))


class Refused(Exception):
    """What the engine says where it cannot answer."""

    def __init__(self, sentence):
        self.key, self.args_of = sentence["key"], sentence.get("args") or {}
        super().__init__(said(sentence))


def said(sentence):
    """A sentence in English, its blanks filled."""
    text = sentence["key"]
    for name, value in (sentence.get("args") or {}).items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def warning_of(answer):
    """An answer's warnings as `Prediction.warning` has them."""
    return " ".join(map(said, answer["warnings"])) or None


@contextlib.contextmanager
def served(folder):
    """The address of a folder on 127.0.0.1."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Types that do not depend on the system, and no log."""

    extensions_map = types.MappingProxyType(
        {".js": "text/javascript", ".wasm": "application/wasm", "": "text/html"}
    )

    def log_message(self, *_):
        pass


def memory_mb(page):
    """What the process of a page takes, in MB (Linux)."""
    return max(_proportional_mb(process["id"]) for process in _processes(page))


def growth_mb(page, act):
    """How much more a page's process takes, in MB, at the most, while something is done (Linux)."""

    def status(name, process):
        with open(f"/proc/{process['id']}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024

    processes = _processes(page)
    before = [status("VmRSS", process) for process in processes]
    for process in processes:
        with open(f"/proc/{process['id']}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # forgets the peak
    act()
    return max(status("VmHWM", p) - b for p, b in zip(processes, before, strict=True))


def processor_s(page):
    """Seconds that processors have worked for the pages of a browser."""
    return sum(process["cpuTime"] for process in _processes(page))


def _processes(page):
    session = page.context.browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return [process for process in found if process["type"] == "renderer"]


def _proportional_mb(process):
    with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
        sizes = dict(line.split()[:2] for line in file if line.startswith("Pss:"))
    return round(int(sizes["Pss:"]) / 1024)


def _with_pixels(answer):
    return answer | {"pixels": answer["luminance"].reshape(answer["height"], answer["width"])}


def _unpacked(value):
    if isinstance(value, list):
        return [_unpacked(part) for part in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) in KINDS:
        ((kind, text),) = value.items()
        return np.frombuffer(base64.b64decode(text), KINDS[kind])
    return {key: _unpacked(part) for key, part in value.items()}


@contextlib.contextmanager
def opened(folder):
    """The engine of the page in a folder, its model open, in a browser of its own."""
    from playwright import sync_api

    with served(folder) as url, sync_api.sync_playwright() as driver:
        browser = chromium.launch(driver)
        page = browser.new_page()
        page.goto(f"{url}model/")  # A listing: the page itself forbids workers of others.
        engine = Engine(page, url)
        engine.ask("open", base=url)
        yield engine
        browser.close()
