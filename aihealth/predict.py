"""`python -m aihealth predict`: a row for each file, as a table, CSV or JSON."""

import contextlib
import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import Image

from aihealth.classifier import Classifier, Prediction
from aihealth.errors import UserError
from aihealth.images import ImageError, is_dicom, suffix_is_image
from aihealth.parallel import in_order

STDOUT = "-"
NOT_SURE, TURNED_AWAY = "not sure", "not a chest radiograph"
_TINT = np.array([213, 94, 0], np.float32)  # Okabe and Ito's vermilion, seen by everyone


class Writer(Protocol):
    """Where rows go: `row` for each, then `end`."""

    def row(self, row: dict[str, Any]) -> None:
        """Write one row."""

    def end(self) -> None:
        """Write what comes after the last row."""


def predict(
    model: str,
    inputs: Sequence[str],
    *,
    revision: str | None = None,
    csv_file: str | None = None,
    json_file: str | None = None,
    heatmaps: str | None = None,
) -> int:
    """Answer for files and write the rows as they come, in the order of the files.

    Args:
        model: release folder or repo id.
        inputs: files and folders.
        revision: of the repo.
        csv_file: where CSV goes, "-" for the standard output.
        json_file: where JSON goes, "-" for the standard output. Without both, a table is printed.
        heatmaps: folder for a PNG per image, tinted where the evidence for its most probable
            class lies.

    Returns:
        How many files could not be answered for.

    Raises:
        UserError: no such model, or an output that cannot be written.
    """
    if csv_file == json_file == STDOUT:
        raise UserError("--csv and --json cannot both go to the standard output: name a file")
    classifier = Classifier.from_pretrained(model, revision=revision, num_threads=1)
    maps = _Heatmaps(heatmaps) if heatmaps else None
    files = find_files(inputs)

    def answer(file: str) -> dict[str, Any]:
        try:
            prediction = classifier.predict(file)
        except ImageError as error:
            return _row(file, classifier.classes, None, str(error))
        if maps:
            maps.write(file, prediction)
        return _row(file, classifier.classes, prediction, None)

    failed = 0
    with contextlib.ExitStack() as stack:
        writers: list[Writer] = []
        if csv_file:
            writers.append(_Csv(stack.enter_context(_output(csv_file)), classifier.classes))
        if json_file:
            writers.append(_Json(stack.enter_context(_output(json_file))))
        if not writers:
            writers.append(_Table(sys.stdout, classifier.classes))
        for row in in_order(answer, files, "predicting"):
            failed += row["error"] is not None
            for writer in writers:
                writer.row(row)
        for writer in writers:
            writer.end()
    return failed


def find_files(inputs: Sequence[str]) -> list[str]:
    """Replace folders by the images in them, at any depth, sorted.

    A file counts as an image by its suffix or, without one, when it starts like DICOM. Files
    named one by one are kept as they are, whatever their name.

    Raises:
        UserError: a folder without images.
    """
    files: list[str] = []
    for name in inputs:
        if not os.path.isdir(name):
            files.append(name)
            continue
        found = sorted(str(path) for path in Path(name).rglob("*") if is_image_file(path))
        if not found:
            raise UserError(f"{name} has no images in it (PNG, JPEG, DICOM, ...)")
        files += found
    return files


def is_image_file(path: Path) -> bool:
    """Whether a file in a folder is meant as an image; hidden files are not."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix:
        # Scanners name files by their UIDs (1.2.840...): what follows the last dot is a number.
        return suffix_is_image(path) or (path.suffix[1:].isdigit() and _starts_like_dicom(path))
    return _starts_like_dicom(path)


def _starts_like_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def _row(
    file: str, classes: list[str], prediction: Prediction | None, error: str | None
) -> dict[str, Any]:
    if prediction is None:
        answer = dict.fromkeys(("label", "probabilities", "is_chest_radiograph", "abstained"))
        return {"file": shown(file), **answer, "warning": None, "error": error}
    return {"file": shown(file), **prediction.to_dict(), "error": None}


def shown(file: str) -> str:
    r"""A file's name as text that can be written: bytes that are not UTF-8 become `\xe9`."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


# === Outputs ===


@contextlib.contextmanager
def _output(name: str) -> Iterator[IO[str]]:
    """Open a file that appears under its name once it is whole; "-" is the standard output."""
    if name == STDOUT:
        yield sys.stdout
        return
    path = Path(name)
    part = path.with_name(path.name + ".part")
    try:
        file = part.open("w", encoding="utf-8", newline="")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(f"{path} cannot be written: {path.parent} is no folder") from error
    try:
        with file:
            yield file
        part.replace(path)
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name a file") from error
    finally:
        part.unlink(missing_ok=True)


class _Json:
    """A JSON array, one row a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._mark = file, "[\n"

    def row(self, row: dict[str, Any]) -> None:
        self._file.write(self._mark + json.dumps(row, ensure_ascii=False))
        self._mark = ",\n"

    def end(self) -> None:
        self._file.write("\n]\n" if self._mark.startswith(",") else "[]\n")


class _Csv:
    """The row's fields, with one column for each probability."""

    def __init__(self, file: IO[str], classes: list[str]) -> None:
        self._classes = classes
        self._writer = csv.writer(file, lineterminator="\n")
        flags = ("is_chest_radiograph", "abstained", "warning", "error")
        self._writer.writerow(["file", "label", *classes, *flags])

    def row(self, row: dict[str, Any]) -> None:
        given = row["probabilities"] or {}
        flags = [row[name] for name in ("is_chest_radiograph", "abstained")]
        self._writer.writerow(
            [
                _harmless(row["file"]),
                row["label"],
                *(f"{given[name]:.6f}" if given else None for name in self._classes),
                *(None if flag is None else str(flag).lower() for flag in flags),
                row["warning"],
                row["error"],
            ]
        )

    def end(self) -> None:
        pass


class _Table:
    """Columns of a fixed width, so that rows can be shown as they come; file names last."""

    def __init__(self, file: IO[str], classes: list[str]) -> None:
        self._file, self._classes = file, classes
        self._width = max(len(TURNED_AWAY), *map(len, classes))
        names = "  ".join(f"{name:>9}" for name in classes)
        print(f"{'answer':<{self._width}}  {names}  file", file=file)

    def row(self, row: dict[str, Any]) -> None:
        given = row["probabilities"]
        if given is None:
            answer = "error"
        elif not row["is_chest_radiograph"]:
            answer = TURNED_AWAY
        else:
            answer = row["label"] or NOT_SURE
        shares = (f"{given[name]:9.3f}" if given else f"{'-':>9}" for name in self._classes)
        note = row["error"] or row["warning"]
        text = f"{answer:<{self._width}}  {'  '.join(shares)}  {row['file']}"
        print(f"{text}: {note}" if note else text, file=self._file)

    def end(self) -> None:
        print("Not a medical device: for research and teaching.", file=self._file)


def _harmless(text: str) -> str:
    """Keep spreadsheets from running a file name such as "=cmd()" as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


class _Heatmaps:
    """Writes an overlay for each image under a name that no other file of the run has."""

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
        # The path becomes the name: files of one name in two folders stay apart.
        flat = "_".join(part for part in Path(file).parts if part not in ("/", "..", "."))
        if len(os.fsencode(flat)) > 200:  # File systems allow 255 bytes.
            flat = f"{hashlib.sha256(os.fsencode(file)).hexdigest()[:16]}_{flat[-40:]}"
        picture = overlay(prediction.pixels, prediction.heatmaps[best])
        picture.save(self._folder / f"{flat}.{names[best]}.png")


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
