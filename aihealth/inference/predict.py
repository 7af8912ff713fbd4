"""`python -m aihealth predict`: a row for each file, as a table, CSV, JSON or Parquet."""

import contextlib
import hashlib
import os
import random
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aihealth.classifier import Classifier, Prediction
from aihealth.data.parallel import in_order
from aihealth.errors import UserError
from aihealth.files import Account
from aihealth.inference import answers
from aihealth.inference.archive import parts

_TINT = np.array([213, 94, 0], np.float32)  # Okabe and Ito's vermilion, seen by everyone


def predict(
    model: str,
    inputs: Sequence[str],
    *,
    revision: str | None = None,
    csv_file: str | None = None,
    json_file: str | None = None,
    out: str | None = None,
    heatmaps: str | None = None,
    engine: str = "local",
    workers: int | None = None,
) -> int:
    """Answer for images and write the rows as they come, in the order of `archive.parts`.

    The rows are the same whatever the engine. Memory does not grow with their number. Where the
    images as a whole come from elsewhere than the training data, the standard error says so (with
    the local engine).

    Args:
        model: release folder or repo id.
        inputs: files, folders and what `archive.locate` gives.
        revision: of the repo.
        csv_file: where CSV goes, "-" for the standard output.
        json_file: where JSON goes, "-" for the standard output.
        out: where Parquet goes. Without any of the three, a table is printed.
        heatmaps: folder for a PNG per image, tinted where the evidence for its most probable
            class lies: `scans/a/film.png` becomes `HEATMAPS/scans/a/film.png.Normal.png`.
        engine: "local" for the threads of this process, "ray" for processes of Ray.
        workers: processes of Ray; by default one per core.

    Returns:
        How many files could not be answered for.

    Raises:
        UserError: no such model, no image, or an output that cannot be written.
    """
    if csv_file == json_file == answers.STDOUT:
        raise UserError("--csv and --json cannot both go to the standard output: name a file")
    if out and not out.endswith(".parquet"):
        raise UserError(f"--out {out}: a name that ends in .parquet is needed")
    if heatmaps and engine == "ray":
        raise UserError("--heatmaps needs --engine local: leave one of the two out")
    classifier = Classifier.from_pretrained(model, revision=revision, num_threads=1)
    maps = _Heatmaps(heatmaps) if heatmaps else None
    sample = _Sample()
    total = failed = 0
    account = Account()
    with contextlib.ExitStack() as stack:
        writers: list[answers.Writer] = []
        if out:
            about = {"model": classifier.config.version, "revision": classifier.revision}
            file = stack.enter_context(answers.output(out, "wb"))
            table = answers.Parquet(file, classifier.classes, about)
            writers.append(stack.enter_context(contextlib.closing(table)))
        if csv_file:
            file = stack.enter_context(answers.output(csv_file))
            writers.append(answers.Csv(file, classifier.classes))
        if json_file:
            writers.append(answers.Json(stack.enter_context(answers.output(json_file))))
        if not writers:
            writers.append(answers.Table(sys.stdout, classifier.classes))
        if engine == "ray":
            from aihealth.inference import ray_engine

            rows = ray_engine.rows(model, classifier.revision, inputs, workers)
        else:
            rows = _rows(classifier, inputs, maps, sample)
        for row in stack.enter_context(contextlib.closing(rows)):
            if reason := row.get("left_out"):
                account.left_out[reason] += 1
                continue
            total += 1
            failed += row["error"] is not None
            for writer in writers:
                writer.row(row)
        if not total:
            raise UserError(f"{', '.join(inputs)} has no images in it (PNG, JPEG, DICOM, ...)")
        for writer in writers:
            writer.end()
    if any(os.path.isdir(name) for name in inputs):
        account.used = total - failed
        if failed:
            account.left_out["unreadable"] = failed
        print(account.line(), file=sys.stderr)
    shift = classifier.shift(sample.answers)
    if shift and shift.warning:
        print(shift.warning, file=sys.stderr)
    return failed


def _rows(
    classifier: Classifier, inputs: Sequence[str], maps: "_Heatmaps | None", sample: "_Sample"
) -> Iterator[dict[str, Any]]:
    items = (item for part in parts(inputs) for item in part.items())

    def see(file: str, prediction: Prediction) -> None:
        sample.add(prediction)
        if maps:
            maps.write(file, prediction)

    return in_order(lambda item: answers.answer(classifier, item, see), items, "predicting")


class _Sample:
    """As many answers as show where the images come from, of however many (Vitter, 1985)."""

    def __init__(self, size: int = 1000) -> None:
        self.answers: list[Prediction] = []
        self._size, self._count = size, 0
        self._random, self._lock = random.Random(0), threading.Lock()

    def add(self, prediction: Prediction) -> None:
        if not prediction.is_chest_radiograph:
            return
        slim = prediction.without_pictures()
        with self._lock:
            self._count += 1
            if len(self.answers) < self._size:
                self.answers.append(slim)
            elif (place := self._random.randrange(self._count)) < self._size:
                self.answers[place] = slim


class _Heatmaps:
    """Writes an overlay for each image, in the folders in which the image lies."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"--heatmaps {folder} is not a folder") from error

    def write(self, file: str, prediction: Prediction) -> None:
        if prediction.heatmaps is None or not prediction.is_chest_radiograph:
            return
        names = list(prediction.probabilities)
        best = int(np.argmax(list(prediction.probabilities.values())))
        # The folders stay: neither a/b_c.png and a_b/c.png meet, nor files of one name.
        path = Path(file)
        *folders, name = (part for part in path.parts if part not in (path.anchor, "..", "."))
        if len(os.fsencode(name)) > 200:  # File systems allow 255 bytes.
            name = f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}_{name[-40:]}"
        target = self._folder.joinpath(*folders, f"{name}.{names[best]}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = overlay(prediction.pixels, prediction.heatmaps[best])
        picture.save(target)


def overlay(pixels: np.ndarray, heatmap: np.ndarray, strength: float = 0.6) -> Image.Image:
    """Tint an image where a map is high.

    Args:
        pixels: uint8 (h, w).
        heatmap: (gh, gw), 0 to 1.
        strength: opacity of the tint where the map is 1.
    """
    height, width = pixels.shape
    smooth = Image.fromarray(heatmap.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    alpha = strength * np.clip(np.asarray(smooth), 0, 1)[..., None]
    return Image.fromarray(((1 - alpha) * pixels[..., None] + alpha * _TINT).astype(np.uint8))
