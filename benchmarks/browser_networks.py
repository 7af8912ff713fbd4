"""LiteRT as the page runs it against two other runtimes, in headless Chromium, in turns.

    python -m benchmarks.browser_networks FOLDER [FOLDER ...]

The network alone, on one thread and on the same tensors: beside LiteRT onnxruntime-web and
@tensorflow/tfjs-tflite. Prints one JSON object, as `benchmarks.browser_pages` does. Other answers
are those that differ from `Classifier`'s in class, abstention or rejection.

Needs Chromium and npm's registry; tf2onnx and onnx are installed into a temporary folder.
"""

import base64
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from aihealth import Classifier, images, release
from aihealth.ood import FeatureDistance
from aihealth.publishing import packages, static_page
from benchmarks.browser_pages import report, summary, visited
from benchmarks.harness import run_process
from tests.helpers import engine, space_app

ONNX = ("tf2onnx==1.17.0", "onnx==1.23.2")
NPM = release.read_json(Path(__file__).with_name("runtimes.json"))
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


def measure(driver, paths: list[Path], rounds: int) -> dict:
    """Give the same tensors to each runtime, in turn."""
    found: dict[str, list] = {name: [] for name in NETWORKS}
    with tempfile.TemporaryDirectory() as folder:
        site = static_page.write_page(str(space_app.RELEASE), f"{folder}/page")
        add_runtimes(site)
        classifier = Classifier(site / "model")
        size = classifier.config.input_size
        levels = np.stack([images.prepare(images.decode(path), size) for path in paths])
        expected = [classifier.outputs(one) for one in levels]
        with engine.served(site) as url:
            for _ in range(rounds):
                for name, script in NETWORKS.items():
                    with visited(driver, url, site) as (tab, traffic):
                        ask = ASK.replace("OPEN", script)
                        start = time.perf_counter()
                        tab.goto(f"{url}model/")  # A listing: the page itself forbids scripts.
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


if __name__ == "__main__":
    report(__doc__, measure)
