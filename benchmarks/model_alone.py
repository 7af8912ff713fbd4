"""The network alone, one image: LiteRT against other runtimes, its floor, quantised variants."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawn import film
from benchmarks.harness import (
    OURS,
    Row,
    Settings,
    Table,
    alternate,
    check_same,
    rows,
    run_process,
    seconds,
)

_NUMBERS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Infer = Callable[[np.ndarray], Any]  # uint8 (1, s, s, 1) to probabilities (classes,)


def run(settings: Settings) -> list[Table]:
    """A process for each number of threads: numpy and TensorFlow take it once, at their start."""
    tables = []
    for threads in (1, 2):
        environ = dict.fromkeys(_NUMBERS, str(threads))
        arguments = [settings.model, settings.rounds, threads, int(settings.quick)]
        output = run_process(["-m", "benchmarks.model_alone", *map(str, arguments)], environ).output
        for table in json.loads(output.splitlines()[-1]):
            table["rows"] = [Row(**row) for row in table["rows"]]
            tables.append(Table(**table))
    return tables


def measure(folder: Path, rounds: int, threads: int, quick: bool) -> list[Table]:
    """Compare with a given number of threads."""
    import tensorflow as tf

    import aihealth
    from aihealth import images

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = aihealth.from_pretrained_keras(str(folder))
    size = model.input_shape[1]
    films = [images.prepare(film(seed), size).reshape(1, size, size, 1) for seed in range(3)]
    expected = np.concatenate([model(np.repeat(x, 3, -1).astype(np.float32)) for x in films])

    runtimes: dict[str, Infer] = {}
    skipped: list[Row] = []
    checks: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, make in _runtimes(model, folder, threads, Path(temporary)):
            try:
                runtimes[name] = make()
            except ImportError as error:
                skipped.append(Row(name, note=f"skipped: no {error.name}"))
        for name, infer in runtimes.items():
            answers = [infer(x) for x in films]
            limit = 1.0 if "int8" in name or "bfloat16" in name else 1e-3
            difference = check_same(answers, expected, limit)
            checks[f"largest difference to the Keras model, {name}"] = f"{difference:.2g}"
        repeats = 2 if quick else 30
        # One thread is measured by its processor time, which other work changes little.
        clock = time.process_time if threads == 1 else time.perf_counter
        timed = {
            name: (lambda infer=infer: 1000 * seconds(lambda: infer(films[0]), repeats, clock))
            for name, infer in runtimes.items()
        }
        table = rows(alternate(timed, rounds))
    operations = 2 * multiply_adds(model)
    side = 256 if quick else 2048
    a = np.random.default_rng(0).random((side, side), np.float32)
    peak = 2 * side**3 / seconds(lambda: a @ a, rounds, clock)
    checks |= {
        "million multiply-adds": round(operations / 2e6, 1),
        "peak of a float32 matrix product, GFLOP/s": round(peak / 1e9, 1),
        "floor, ms": round(1000 * operations / peak, 3),
        "times the floor": round(table[0].value / (1000 * operations / peak), 1),
    }
    title = f"the network alone, one image, {threads} thread{'s' if threads > 1 else ''}"
    return [Table(title, "ms", table + skipped, "not below x0.9", checks)]


def multiply_adds(model: Any) -> int:
    """Of convolutions and dense layers, for one image."""
    from aihealth.modeling import graph

    total = 0
    shapes = {(tensor.name, 0): (1, *tensor.shape[1:]) for tensor in model.inputs}
    for name, number, origins in graph.calls(model):
        layer, taken = model.get_layer(name), [shapes[origin] for origin in origins]
        shape = layer.compute_output_shape(taken if len(taken) > 1 else taken[0])
        shapes[name, number] = shape
        if hasattr(layer, "kernel"):  # Its weights are used once a place of the output.
            made = shape[-2] if type(layer).__name__ == "EinsumDense" else shape[-1]
            total += int(np.prod(layer.kernel.shape)) * int(np.prod(shape[1:])) // made
    return total


# === Runtimes ===


def _runtimes(
    model: Any, folder: Path, threads: int, temporary: Path
) -> Iterator[tuple[str, Callable[[], Infer]]]:
    """Names, and functions that open the network; those raise ImportError where one is absent."""
    from aihealth import release
    from aihealth.modeling import export

    yield f"{OURS}: LiteRT, float16 weights", lambda: _litert(folder / release.LITERT, threads)
    onnx = temporary / "model.onnx"
    yield "onnxruntime", lambda: _onnxruntime(_to_onnx(model, onnx), threads)
    for precision in ("f32", "bf16"):
        name = {"f32": "OpenVINO", "bf16": "OpenVINO, bfloat16"}[precision]
        yield (
            name,
            lambda precision=precision: _openvino(folder / release.LITERT, threads, precision),
        )
    yield "tf.function", lambda: _tf_function(model)
    for weights in ("float32", "int8"):
        path = temporary / f"{weights}.tflite"

        def variant(weights: str = weights, path: Path = path) -> Infer:
            export.save_litert(model, path, weights=weights)
            return _litert(path, threads)

        yield f"LiteRT, {weights} weights", variant


def _litert(path: Path, threads: int) -> Infer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    runner = interpreter.get_signature_runner()
    # The interpreter is kept alive by the default argument.
    return lambda x, _=interpreter: runner(image=x)["probabilities"][0]


def _serve(model: Any) -> Any:
    """All that the serving file does but the heatmaps and features, as a tf.function."""
    import tensorflow as tf

    size = model.input_shape[1]
    signature = [tf.TensorSpec((1, size, size, 1), tf.uint8, name="image")]

    @tf.function(input_signature=signature, autograph=False)
    def serve(image: Any) -> Any:
        return model(tf.repeat(tf.cast(image, tf.float32), 3, axis=-1), training=False)

    return serve


def _tf_function(model: Any) -> Infer:
    serve = _serve(model)
    return lambda x: serve(x).numpy()[0]


def _to_onnx(model: Any, path: Path) -> Path:
    import onnxruntime  # noqa: F401 (before the conversion, which takes longer than its absence)
    import tf2onnx

    serve = _serve(model)
    tf2onnx.convert.from_function(
        serve, input_signature=serve.input_signature, opset=17, output_path=str(path)
    )
    return path


def _onnxruntime(path: Path, threads: int) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0][0]


def _openvino(path: Path, threads: int, precision: str) -> Infer:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    position = [tuple(output.shape) for output in compiled.outputs].index((1, 3))
    request = compiled.create_infer_request()
    return lambda x: request.infer([x])[position][0]


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    model_folder, *numbers = sys.argv[1:]
    found = measure(Path(model_folder), int(numbers[0]), int(numbers[1]), bool(int(numbers[2])))
    print(json.dumps([{**vars(t), "rows": [vars(row) for row in t.rows]} for t in found]))
