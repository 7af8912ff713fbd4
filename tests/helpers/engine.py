"""The engine of the page that never uploads, run in a real browser without the page around it."""

import base64
import contextlib
import functools
import http.server
import json
import shutil
import threading
import types

import numpy as np

# Arrays travel as base64: Playwright's own way takes seconds for a radiograph.
ASK = """async ({ message, arrays }) => {
    const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    for (const [name, text] of Object.entries(arrays)) message[name] = bytes(text);
    if (message.bytes) message.bytes = message.bytes.buffer;
    message.features &&= message.features.map((one) => Float32Array.from(one));
    const answer = await new Promise((done) => {
        window.worker ??= new Worker("/engine/worker.js");
        window.worker.onmessage = ({ data }) => done(data);
        window.worker.onerror = (event) => done({ ok: false, sentence: { key: event.message } });
        window.worker.postMessage(message);
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
        self._count = 0

    def in_a_new_worker(self, do, without=None, **message):
        """Ask a worker of its own, perhaps one that lacks a global name."""
        script = f"delete self.{without}; importScripts('{self.url}engine/worker.js')"
        self.page.evaluate(f"window.kept = window.worker; window.worker = {_worker(script)}")
        try:
            return self.ask(do, **message)
        finally:
            self.page.evaluate("window.worker.terminate(); window.worker = window.kept;")

    def ask(self, do, **message):
        """Send one message; its answer, arrays as NumPy's, or a `Refused`."""
        self._count += 1
        arrays = {
            name: base64.b64encode(bytes(value)).decode()
            for name, value in message.items()
            if isinstance(value, (bytes, np.ndarray))
        }
        plain = {name: value for name, value in message.items() if name not in arrays}
        plain |= {"id": self._count, "do": do}
        answer = _unpacked(self.page.evaluate(ASK, {"message": plain, "arrays": arrays}))
        if not answer["ok"]:
            raise Refused(answer["sentence"])
        assert answer["id"] == self._count
        return answer["answer"]

    def predict(self, data, name="radiograph"):
        """The answer for a file's bytes; `pixels` is its `luminance` with the right shape."""
        return _with_pixels(self.ask("predict", name=name, bytes=data))

    def decode(self, data):
        """What a file's bytes are read as: uint8 `(h, w)`, and the warning or None."""
        self.page.evaluate("() => { window.kept = window.worker; window.worker = window.reader; }")
        if not self.page.evaluate("() => window.worker"):
            script = DECODE.replace("BASE", self.url)
            self.page.evaluate(f"window.reader = window.worker = {_worker(script)}")
        try:
            answer = _with_pixels(self.ask("decode", bytes=data))
            return answer["pixels"], warning_of(answer)
        finally:
            self.page.evaluate("() => { window.worker = window.kept; }")

    def predict_pixels(self, pixels):
        """The answer for uint8 `(h, w)`."""
        height, width = pixels.shape
        message = {"width": width, "height": height, "luminance": np.ascontiguousarray(pixels)}
        return _with_pixels(self.ask("predictPixels", **message))


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


def _worker(script):
    return f"new Worker(URL.createObjectURL(new Blob([{json.dumps(script)}])))"


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


FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@contextlib.contextmanager
def opened(folder):
    """The engine of the page in a folder, its model open, in a browser of its own."""
    from playwright import sync_api

    with served(folder) as url, sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        page.goto(f"{url}model/")  # A listing: the page itself forbids workers of others.
        engine = Engine(page, url)
        engine.ask("open", base=url)
        yield engine
        browser.close()
