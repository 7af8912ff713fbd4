"""Many images at once: files and ZIP archives in, one row an image out.

Archives are read entry by entry in memory, within limits, and never unpacked to the disk.
"""

import base64
import dataclasses
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import overlay

from aihealth import Classifier, Prediction, answers
from aihealth.images import MAX_BYTES, ImageError, read_bytes

MAX_IMAGES = 200
MAX_UNPACKED = 1000 * 2**20  # bytes out of one archive, whatever its entries claim
MAX_ENTRIES = 10_000  # of one archive, folders and what is left out included

TOO_MANY = f"not read: at most {MAX_IMAGES} images at once"
ZIP_ALONE = "this is a ZIP archive: send it as a batch"
NESTED = "a ZIP archive inside a ZIP archive is not opened: send it on its own"
TOO_MANY_ENTRIES = f"not read: the archive has more than {MAX_ENTRIES} entries"
TOO_LARGE = f"not read: the archive unpacks to more than {MAX_UNPACKED // 2**20} MB"


@dataclasses.dataclass(frozen=True)
class Row:
    """One image of a batch: an answer, or the reason why there is none.

    Attributes:
        name: as the visitor's file is called, within an archive with its folders.
        prediction: with a thumbnail for `pixels` and without maps; None when the file cannot be
            used.
        error: why, else None.
        upload: which of the uploads it came from, from 0.
    """

    name: str
    prediction: Prediction | None = None
    error: str | None = None
    upload: int = 0

    @property
    def left_out(self) -> bool:
        """Whether it was not read at all, as there were too many images or bytes."""
        return self.error in (TOO_MANY, TOO_LARGE)

    def to_dict(self) -> dict[str, Any]:
        """The row, ready for JSON."""
        if self.prediction is None:
            return {"file": self.name, "error": self.error}
        return {"file": self.name, **self.prediction.to_dict(), "error": None}


def read(
    predict: Callable[[bytes], Prediction],
    name: str,
    content: bytes | ImageError,
    upload: int = 0,
) -> Row:
    """Answer for one file of a batch; a broken file is a row with its reason."""
    if isinstance(content, ImageError):
        return Row(name, error=str(content), upload=upload)
    try:
        prediction = predict(content)
    except ImageError as error:
        return Row(name, error=str(error), upload=upload)
    # Two hundred radiographs of full size would not fit into the memory of a small machine.
    small = overlay.shrink(prediction.pixels, overlay.THUMBNAIL_SIDE)
    return Row(name, dataclasses.replace(prediction, pixels=small, heatmaps=None), upload=upload)


def contents(uploads: list[tuple[str, str]]) -> Iterator[tuple[str, bytes | ImageError, int]]:
    """Name and bytes of every image, or why it cannot be had, and which upload it came from.

    Of the images beyond `MAX_IMAGES` the names are given, and nothing is read.

    Args:
        uploads: pairs of the visitor's file name and the path where it lies.
    """
    left = MAX_IMAGES
    for index, (name, path) in enumerate(uploads):
        if left == 0 and not zipfile.is_zipfile(path):
            yield name, ImageError(TOO_MANY), index
            continue
        for entry, content in _expand(name, path, left):
            yield entry, content, index
            left = max(0, left - 1)


def count_images(uploads: list[tuple[str, str]]) -> int:
    """How many rows `contents` will give; archives are not unpacked for it."""
    total = 0
    for _, path in uploads:
        if not zipfile.is_zipfile(path):
            total += 1
            continue
        try:
            with _open_archive(path) as archive:
                total += sum(map(_is_wanted, archive.infolist()))
        except Exception:  # As in `_expand`.
            total += 1
    return min(total, MAX_IMAGES)


def to_csv(rows: list[Row], classifier: Classifier, shift_warning: str | None = None) -> str:
    """The rows as the CSV that `python -m aihealth predict` writes."""
    text = io.StringIO()
    table = answers.Csv(text, classifier.classes)
    for row in rows:
        table.row(answers.row(classifier, row.name, row.prediction, row.error))
    table.end(shift_warning)
    return text.getvalue()


def csv_url(rows: list[Row], classifier: Classifier, shift_warning: str | None = None) -> str:
    """The CSV as a data URL, so that no file of answers is left on the server.

    The byte order mark makes spreadsheets read the file as UTF-8.
    """
    data = to_csv(rows, classifier, shift_warning).encode("utf-8-sig")
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(data).decode("ascii")


def _expand(name: str, path: str, most: int) -> Iterator[tuple[str, bytes | ImageError]]:
    try:
        if not zipfile.is_zipfile(path):
            yield name, read_bytes(path)
            return
    except ImageError as error:
        yield name, error
        return
    try:
        with _open_archive(path) as archive:
            yield from _entries(name, archive, most)
    except ImageError as error:
        yield name, error
    except Exception:  # zipfile raises many kinds on damaged archives.
        yield name, ImageError("the ZIP archive is damaged")


def _open_archive(path: str) -> zipfile.ZipFile:
    """Open an archive unless it has very many entries, of which `ZipFile` makes objects at once.

    What an archive says of their number is not to be trusted, so their signatures are counted.

    Raises:
        ImageError: it has more than `MAX_ENTRIES`.
    """
    if read_bytes(path).count(b"PK\x01\x02") > MAX_ENTRIES:
        raise ImageError(TOO_MANY_ENTRIES)
    return zipfile.ZipFile(path)


def _entries(
    archive_name: str, archive: zipfile.ZipFile, most: int
) -> Iterator[tuple[str, bytes | ImageError]]:
    wanted = [entry for entry in archive.infolist() if _is_wanted(entry)]
    if not wanted:
        yield archive_name, ImageError("the ZIP archive has no file in it")
    unpacked = 0
    for number, entry in enumerate(wanted):
        if number >= most or unpacked > MAX_UNPACKED:
            reason = TOO_MANY if number >= most else TOO_LARGE
            yield entry.filename, ImageError(reason)
            continue
        content = _read_entry(archive, entry)
        unpacked += len(content) if isinstance(content, bytes) else MAX_BYTES
        yield entry.filename, content


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | ImageError:
    """Read at most `MAX_BYTES`: the size that an entry claims is not to be trusted."""
    if entry.flag_bits & 1:
        return ImageError("the file is locked with a password")
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_BYTES + 1)
    except Exception:  # Each way of compressing has errors of its own.
        return ImageError("the file is damaged inside the ZIP archive")
    if len(data) > MAX_BYTES:
        return ImageError(f"the file has more than {MAX_BYTES // 2**20} MB")
    if data.startswith(b"PK\x03\x04"):
        return ImageError(NESTED)
    return data


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    """Leave out folders and what operating systems add."""
    path = PurePosixPath(entry.filename)
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not (entry.is_dir() or hidden or path.name in ("Thumbs.db", "desktop.ini"))
