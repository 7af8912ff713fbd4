"""A folder of mixed PNG, JPEG and DICOM files, with `python -m aihealth predict`."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import original
from benchmarks.drawn import mixed_folder, original_model
from benchmarks.harness import ORIGINAL, OURS, Row, Settings, Table, alternate, rows, run_process


def run(settings: Settings) -> list[Table]:
    """Ours answers for all files from a fresh process; the loops are warm and take a part."""
    folder = mixed_folder(settings, 12 if settings.quick else 2000)
    files = sorted(folder.iterdir())
    command = ["-m", "aihealth", "predict", "--model", settings.model, folder, "--format", "csv"]

    def ours() -> float:
        finished = run_process(command)
        if len(finished.output.splitlines()) != len(files) + 1:
            raise RuntimeError("predict left files out")
        return len(files) / finished.whole

    part = 6 if settings.quick else 90
    old = original.load(original_model(settings))
    loops = {OURS: ours, ORIGINAL: _loop(lambda data: original.answer(old, data), files, part)}
    torch_answer = _torchvision()
    if torch_answer is not None:
        loops["torchvision loop, MobileNetV2"] = _loop(torch_answer, files, part)
    table = rows(alternate(loops, settings.rounds), larger_is_better=True)
    for row in table:
        if row.name != OURS and row.value:
            row.note = "start of the process not counted"
    if torch_answer is None:
        table.append(Row("torchvision loop", note="skipped: torchvision cannot be imported"))
    return [Table(f"{len(files)} mixed files", "images/s", table, "x5")]


def _loop(answer: Callable[[bytes], object], files: list[Path], count: int) -> Callable[[], float]:
    """Images/s of the next `count` files, over and over."""
    endless = itertools.cycle(files)

    def measure() -> float:
        start = time.perf_counter()
        for file in itertools.islice(endless, count):
            answer(file.read_bytes())
        return count / (time.perf_counter() - start)

    return measure


def _torchvision() -> Callable[[bytes], object] | None:
    try:
        import torch
        from torchvision.models import mobilenet_v2
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        return None
    network = mobilenet_v2(weights=None, num_classes=3).eval()

    def answer(data: bytes) -> object:
        with torch.inference_mode():
            pixels = torch.from_numpy(original.pixels(data).transpose(0, 3, 1, 2))
            return network(pixels.contiguous()).softmax(-1).numpy()

    return answer
