"""`python -m aihealth predict`: a row for each file, as a table, CSV, JSON or Parquet."""

import contextlib
import os
import random
import sys
from collections.abc import Iterator, Sequence

from aihealth.classifier import Classifier, Prediction
from aihealth.data.archive import parts
from aihealth.data.parallel import in_order
from aihealth.errors import UserError
from aihealth.files import Account
from aihealth.inference.answering import Answered, answer
from aihealth.inference.heatmaps import Heatmaps
from aihealth.inference.writers import format_of, writer


def predict(
    model: str,
    inputs: Sequence[str],
    *,
    revision: str | None = None,
    form: str | None = None,
    out: str | None = None,
    heatmaps: str | None = None,
    engine: str = "local",
    workers: int | None = None,
) -> int:
    """Answer for images and write the rows as they come, in the order of `archive.parts`.

    The rows are the same whatever the engine. Memory does not grow with their number but by the
    names of the files of a folder. Where the images as a whole come from elsewhere than the
    training data, the standard error says so.

    Args:
        model: release folder or repo id.
        inputs: files, folders and what `archive.locate` gives.
        revision: of the repo.
        form: "table", "csv", "json" or "parquet"; by default what `out` ends in, else a table.
        out: file for the rows; by default the standard output.
        heatmaps: folder for a PNG per image: `HEATMAPS/scans/a/chest.png.Normal.png` for
            `scans/a/chest.png`.
        engine: "local" for the threads of this process, "ray" for processes of Ray.
        workers: processes of Ray; by default one per core.

    Returns:
        How many files could not be answered for.

    Raises:
        UserError: no such model, no image, or an output that cannot be written.
    """
    form = format_of(form, out)
    if heatmaps and engine == "ray":
        raise UserError("--heatmaps needs --engine local: leave one of the two out")
    classifier = Classifier.from_pretrained(model, revision=revision, num_threads=1)
    maps = Heatmaps(heatmaps) if heatmaps else None
    sample = _Sample()
    total = failed = 0
    account = Account()
    with writer(form, out, classifier) as written:
        if engine == "ray":
            from aihealth.inference import ray_engine

            found = ray_engine.answers(model, classifier.revision, inputs, workers)
        else:
            found = local(classifier, inputs, maps)
        with contextlib.closing(found):
            for row, prediction in found:
                if reason := row.get("left_out"):
                    account.left_out[reason] += 1
                    continue
                total += 1
                failed += prediction is None
                if prediction is not None:
                    sample.add(prediction)
                written.row(row)
        if not total:
            raise UserError(f"{', '.join(inputs)} has no images in it (PNG, JPEG, DICOM, ...)")
        warning = classifier.shift(sample.answers).warning
        written.end(warning)
    if any(os.path.isdir(name) for name in inputs):
        account.used = total - failed
        if failed:
            account.left_out["unreadable"] = failed
        print(account.line(), file=sys.stderr)
    if warning:
        print(warning, file=sys.stderr)
    return failed


def local(
    classifier: Classifier, inputs: Sequence[str], maps: Heatmaps | None = None
) -> Iterator[Answered]:
    """Answer for an archive with the threads of this process."""
    items = (item for part in parts(inputs) for item in part.items())
    see = maps.write if maps else None
    return in_order(lambda item: answer(classifier, item, see), items, "predicting")


class _Sample:
    """As many answers as show where the images come from, of however many (Vitter, 1985)."""

    def __init__(self, size: int = 1000) -> None:
        self.answers: list[Prediction] = []
        self._size, self._count, self._random = size, 0, random.Random(0)

    def add(self, prediction: Prediction) -> None:
        if not prediction.is_chest_radiograph:
            return
        self._count += 1
        if len(self.answers) < self._size:
            self.answers.append(prediction)
        elif (place := self._random.randrange(self._count)) < self._size:
            self.answers[place] = prediction
