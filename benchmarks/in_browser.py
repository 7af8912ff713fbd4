"""The page in the browser against what else would answer there, in headless Chromium, in turns.

    python -m benchmarks.in_browser FOLDER [FOLDER ...]

Whole pages: the one that never uploads against the Gradio page, whose server runs on this machine
too. The network alone, on one thread and on the same tensors: LiteRT as the page runs it against
onnxruntime-web and @tensorflow/tfjs-tflite. Each visit has a browser of its own, which has kept
nothing. Prints one JSON object: of each figure the median over rounds, the lowest and the highest.
Other answers are those that differ from `Classifier`'s, or from the Gradio page's, in class,
abstention, rejection, warning or refusal.

Needs Chromium and npm's registry; tf2onnx and onnx are installed into a temporary folder.
"""

import argparse
import base64
import contextlib
import csv
import gzip
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from aihealth import Classifier, images, release
from aihealth.ood import FeatureDistance
from aihealth.publishing import packages, static_page
from benchmarks.browser_parity import sample
from benchmarks.harness import run_process
from tests.helpers import browsing, engine, space_app

NEXT = 10  # answers, one after another, a visit to a whole page
ONNX = ("tf2onnx==1.17.0", "onnx==1.23.2")
NPM = {
    "onnxruntime-web": {
        "version": "1.30.0",
        "integrity": "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7Qm"
        "RMDs1SigqR4CXAfKYQ==",
        "files": [
            "dist/ort.wasm.min.mjs",
            "dist/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm",
        ],
    },
    "@tensorflow/tfjs-core": {
        "version": "4.9.0",
        "integrity": "sha512-1nYs9OA934eSI33eTvyCVJUEji2wnMXyZ3VK7l2iS/TPDFISI3ETyh286mW56LCihoni"
        "v8HH2MtOAQwo4Qhrdg==",
        "files": ["dist/tf-core.min.js"],
    },
    "@tensorflow/tfjs-backend-cpu": {
        "version": "4.9.0",
        "integrity": "sha512-AHIfI3iD1fyQgQKeoQmtkI3exPWRfOo+W0Ws/bxOdapTXcAYWGg0179t52j8XPDwsl8W"
        "opfaTINNgYNG6FnP3Q==",
        "files": ["dist/tf-backend-cpu.min.js"],
    },
    "@tensorflow/tfjs-tflite": {
        "version": "0.0.1-alpha.10",
        "integrity": "sha512-/qmqsRBTg+XCWgNomJ/gdZIKFMpGiTEAwMhqk/7cOZEp/fTV69GuknOoSQjloYGWasQI"
        "DIriQO3bpi6T4PTEnA==",
        "files": [
            "dist/tf-tflite.min.js",
            "wasm/tflite_web_api_cc_simd.js",
            "wasm/tflite_web_api_cc_simd.wasm",
        ],
    },
}
# Each makes `ask`: grey levels (Uint8Array) to a list of arrays.
NETWORKS = {
    "LiteRT, as the page has it": """
        const { openNetwork } = await import("/engine/network.js");
        const model = await (await fetch("/model/model.tflite")).arrayBuffer();
        const network = await openNetwork(new Uint8Array(model));
        const ask = async (levels) => Object.values(await network.run(levels));""",
    "onnxruntime-web": """
        const folder = "/vendor/onnxruntime-web/dist/";
        const ort = await import(folder + "ort.wasm.min.mjs");
        Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: folder });
        const session = await ort.InferenceSession.create("/model/model.onnx");
        const ask = async (levels) => Object.values(await session.run(
            { [session.inputNames[0]]: new ort.Tensor("uint8", levels, [1, side, side, 1]) }))
            .map((tensor) => tensor.data);""",
    "@tensorflow/tfjs-tflite": """
        for (const path of ["core/dist/tf-core", "backend-cpu/dist/tf-backend-cpu",
                "tflite/dist/tf-tflite"])
            await new Promise((onload, onerror) => document.head.append(Object.assign(
                document.createElement("script"),
                { src: `/vendor/@tensorflow/tfjs-${path}.min.js`, onload, onerror })));
        tflite.setWasmPath("/vendor/@tensorflow/tfjs-tflite/wasm/");
        const model = await tflite.loadTFLiteModel("/model/model.tflite", { numThreads: 1 });
        const ask = async (levels) => tf.tidy(() => Object.values(
            model.predict(tf.tensor(levels, [1, side, side, 1], "int32")))
            .map((tensor) => tensor.dataSync()));""",
}
ASK = """async ([side, text]) => {
    const all = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    if (!window.ask) {
        OPEN
        window.ask = ask;
    }
    const [answers, times] = [[], []];
    for (let at = 0; at < all.length; at += side * side) {
        const start = performance.now();
        const found = await window.ask(all.slice(at, at + side * side));
        times.push((performance.now() - start) / 1000);
        answers.push(found.filter((one) => one.length < 10000).map((one) => [...one]));
    }
    return { answers, times };
}"""


def main() -> None:
    """Read the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of images")
    parser.add_argument("--images", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    paths = list(sample(args.folders, args.images))
    with (
        tempfile.TemporaryDirectory() as folder,
        space_app.SpaceApp(Path(folder)) as app,
        sync_playwright() as driver,
    ):
        site = static_page.write_page(str(space_app.RELEASE), f"{folder}/page")
        add_runtimes(site)
        with engine.served(site) as static:
            pages = {"in the browser": (static, site), "Gradio": (app.url, None)}
            report = {
                "pages": of_pages(driver, pages, paths, args.rounds),
                "networks": of_networks(driver, (static, site), paths, args.rounds),
            }
    report |= {"images": len(paths), "rounds": args.rounds, "load": os.getloadavg()}
    print(json.dumps(report, indent=2))


def add_runtimes(site: Path) -> None:
    """Put the other runtimes beside the page, and the model as ONNX."""
    for name, package in NPM.items():
        for path, data in packages.files_of(name, package).items():
            file = site / "vendor" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    with tempfile.TemporaryDirectory() as folder:
        # What these two need beside themselves is here already.
        run_process(["-m", "pip", "install", "--no-deps", "--target", folder, *ONNX])
        model, made = site / "model" / release.LITERT, site / "model/model.onnx"
        convert = ["-m", "tf2onnx.convert", "--opset", "17", "--tflite", model, "--output", made]
        run_process(convert, {"PYTHONPATH": folder})


# === Whole pages ===


def of_pages(driver, pages: dict, paths: list[Path], rounds: int) -> dict:
    """Visit the pages in turn; in the last round each reads all images together."""
    found, rows = {name: [] for name in pages}, {}
    for turn in range(rounds):
        for name, (url, site) in pages.items():
            with visited(driver, url, site) as (page, traffic):
                found[name].append(visit(page, url, traffic, paths))
                if turn == rounds - 1:
                    more, rows[name] = batch(page, paths)
                    found[name][-1] |= more
    report = {name: summary(visits) for name, visits in found.items()}
    return report | {"they differ": differences(*rows.values())}


def visit(page, url: str, traffic, paths: list[Path]) -> dict[str, float]:
    """Open a page and show it images, one after another."""
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("[data-ready]")
    times = []
    for number, path in enumerate(paths[: NEXT + 1]):
        browsing.read(page, path.read_bytes(), f"{number}{path.suffix}")
        times.append(time.perf_counter() - start)
        if not number:
            found = traffic()
        start = time.perf_counter()
    return found | {"first answer, s": times[0], "next answer, s": statistics.median(times[1:])}


def batch(page, paths: list[Path]) -> tuple[dict[str, float], list[list[str]]]:
    """Show a page all images together: what it took, and the rows of its CSV."""
    files = {f"{number}{path.suffix}": path.read_bytes() for number, path in enumerate(paths)}
    start = time.perf_counter()
    browsing.upload_many(page, files)
    took = time.perf_counter() - start
    memory = engine.memory_mb(page)
    with page.expect_download() as download:
        page.locator("a.download").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    found = {f"{len(paths)} images together, s": took, "memory after them, MB": memory}
    return found, list(csv.reader(text.splitlines()))


def differences(ours: list[list[str]], theirs: list[list[str]]) -> dict[str, float]:
    """The largest difference of a probability in two CSV files, and how many rows say another."""
    assert ours[0] == theirs[0] and len(ours) == len(theirs)
    largest, others = 0.0, 0
    for row in zip(ours[1:], theirs[1:], strict=True):
        mine, its = (dict(zip(ours[0], cells, strict=True)) for cells in row)
        for name in list(mine):
            with contextlib.suppress(ValueError):
                gap = abs(float(mine[name]) - float(its[name]))
                largest = largest if name.startswith("ood") else max(largest, gap)
                del mine[name], its[name]
        others += mine != its
    return {"largest difference of a probability": largest, "other answers": others}


# === The network alone ===


def of_networks(driver, page: tuple[str, Path], paths: list[Path], rounds: int) -> dict:
    """Give the same tensors to each runtime, in turn."""
    url, site = page
    classifier = Classifier(site / "model")
    size = classifier.config.input_size
    levels = np.stack([images.prepare(images.decode(path), size) for path in paths])
    expected = [classifier.outputs(one) for one in levels]
    found: dict[str, list] = {name: [] for name in NETWORKS}
    for _ in range(rounds):
        for name, script in NETWORKS.items():
            with visited(driver, url, site) as (tab, traffic):
                ask = ASK.replace("OPEN", script)
                start = time.perf_counter()
                tab.goto(f"{url}model/")  # A listing: the page itself forbids other scripts.
                tab.evaluate(ask, [size, text_of(levels[:1])])
                one = {"first answer, s": time.perf_counter() - start} | traffic()
                worked = engine.processor_s(tab)
                answered = tab.evaluate(ask, [size, text_of(levels)])
                worked = engine.processor_s(tab) - worked
                one["next answer, s"] = statistics.median(answered["times"])
                one["processor time of a next answer, s"] = worked / len(levels)
                one["memory after them, MB"] = engine.memory_mb(tab)
                one |= compared(classifier, answered["answers"], expected)
                found[name].append(one)
    return {name: summary(visits) for name, visits in found.items()}


def text_of(levels: np.ndarray) -> str:
    """Arrays travel as base64: Playwright's own way takes seconds."""
    return base64.b64encode(levels.tobytes()).decode()


def compared(classifier: Classifier, answers: list, expected: list[dict]) -> dict[str, float]:
    """What a runtime says of each tensor against what LiteRT says in Python."""
    distance = FeatureDistance.load(classifier.folder / release.OOD)

    def said(probabilities: np.ndarray, features: np.ndarray) -> tuple[int, bool, bool]:
        rejected = distance.score(features[None])[0] > classifier.config.ood_threshold
        unsure = probabilities.max() < classifier.config.abstain_below
        return int(probabilities.argmax()), bool(unsure), bool(rejected)

    largest, others = 0.0, 0
    for outputs, wanted in zip(answers, expected, strict=True):
        by_length = {len(one): np.asarray(one, np.float32) for one in outputs}
        names = ("probabilities", "features")
        mine, its = [by_length[len(wanted[name])] for name in names], [wanted[n] for n in names]
        largest = max(largest, float(np.abs(mine[0] - its[0]).max()))
        others += said(*mine) != said(*its)
    return {"largest difference of a probability": largest, "other answers": others}


# === Both ===


@contextlib.contextmanager
def visited(driver, url: str, site: Path | None):
    """An empty page of a browser of its own, and a function that tells what it has received.

    Args:
        driver: Playwright's.
        url: what will be visited.
        site: the folder that is served there, where one is: its server does not compress, so what
            a server that does would have sent is told too.
    """
    running = driver.chromium.launch(executable_path="/usr/bin/chromium", args=engine.FLAGS)
    finished = []

    def traffic() -> dict[str, float]:
        found = {"received, MB": sum(map(_size, finished)) / 1e6}
        if site:
            asked = {request.url.removeprefix(url).partition("?")[0] for request in finished}
            files = [site / (name or "index.html") for name in asked]
            sizes = [len(gzip.compress(f.read_bytes(), 6)) for f in files if f.is_file()]
            found["compressed, MB"] = sum(sizes) / 1e6
        return found

    try:
        page = running.new_page(service_workers="block")
        page.set_default_timeout(600_000)
        page.on("requestfinished", lambda request: finished.append(request))
        yield page, traffic
    finally:
        running.close()


def _size(request) -> int:
    with contextlib.suppress(Exception):  # What the browser has not kept has no sizes.
        sizes = request.sizes()
        return sizes["responseBodySize"] + sizes["responseHeadersSize"]
    return 0


def summary(visits: list[dict[str, float]]) -> dict[str, str]:
    """Of each figure: median, and lowest and highest where they are others."""
    found = {}
    for key in visits[-1]:
        values = [one[key] for one in visits if key in one]
        low, middle, high = (
            f"{value:.3g}" for value in (min(values), statistics.median(values), max(values))
        )
        found[key] = middle if low == high else f"{middle} ({low} to {high})"
    return found


if __name__ == "__main__":
    main()
