"""Many images at once: files and ZIP archives in, one row an image out.

Archives are read entry by entry in memory, within limits, and never unpacked to the disk.
"""

import contextlib
import dataclasses
import io
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NoReturn

import pictures

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


@dataclasses.dataclass(frozen=True)
class Item:
    """One image of a batch that is not read yet.

    Attributes:
        name: as in `Row`.
        upload: as in `Row`.
        read: gives its bytes, or raises `ImageError`.
    """

    name: str
    upload: int
    read: Callable[[], bytes]


@contextlib.contextmanager
def items(uploads: list[tuple[str, str]]) -> Iterator[list[Item]]:
    """Every image of files and archives, in their order; nothing is unpacked yet.

    The archives are open until the context ends.

    Args:
        uploads: pairs of the visitor's file name and the path where it lies.
    """
    with contextlib.ExitStack() as archives:
        yield [
            Item(name, number, read)
            for number, upload in enumerate(uploads)
            for name, read in _inside(*upload, archives)
        ]


def rows(predict: Callable[[bytes], Prediction], images: list[Item]) -> Iterator[Row]:
    """Answer for each; a broken one, and one beyond `MAX_IMAGES`, is a row with its reason."""
    for number, image in enumerate(images):
        try:
            if number >= MAX_IMAGES:
                raise ImageError(TOO_MANY)
            answer = predict(image.read())
        except ImageError as error:
            yield Row(image.name, error=str(error), upload=image.upload)
            continue
        # Two hundred radiographs of full size would not fit into the memory of a small machine.
        small = pictures.shrink(answer.pixels, pictures.THUMBNAIL_SIDE)
        answer = dataclasses.replace(answer, pixels=small, heatmaps=None)
        yield Row(image.name, answer, upload=image.upload)


def to_csv(rows: list[Row], classifier: Classifier, shift_warning: str | None = None) -> str:
    """The rows as the CSV that `python -m aihealth predict` writes."""
    text = io.StringIO()
    table = answers.Csv(text, classifier.classes)
    for row in rows:
        table.row(answers.row(classifier, row.name, row.prediction, row.error))
    table.end(shift_warning)
    return text.getvalue()


def _inside(
    name: str, path: str, archives: contextlib.ExitStack
) -> list[tuple[str, Callable[[], bytes]]]:
    if not zipfile.is_zipfile(path):
        return [(name, partial(read_bytes, path))]
    try:
        archive = _Archive(path, archives)
    except ImageError as error:
        return [(name, partial(_refuse, error))]
    return [(entry.filename, partial(archive.read, entry)) for entry in archive.entries]


def _refuse(error: ImageError) -> NoReturn:
    raise error


class _Archive:
    """A ZIP archive, of which at most `MAX_UNPACKED` bytes are read."""

    def __init__(self, path: str, archives: contextlib.ExitStack) -> None:
        """Open it, unless it has very many entries, of which `ZipFile` makes objects at once.

        What an archive says of their number is not to be trusted, so their signatures are counted.

        Args:
            path: where it lies.
            archives: closes it.

        Raises:
            ImageError: it has more than `MAX_ENTRIES`, none, or is damaged.
        """
        if read_bytes(path).count(b"PK\x01\x02") > MAX_ENTRIES:
            raise ImageError(TOO_MANY_ENTRIES)
        try:
            self._archive = archives.enter_context(zipfile.ZipFile(path))
        except Exception:  # zipfile raises many kinds.
            raise ImageError("the ZIP archive is damaged") from None
        self.entries = [entry for entry in self._archive.infolist() if _is_wanted(entry)]
        if not self.entries:
            raise ImageError("the ZIP archive has no file in it")
        self._left = MAX_UNPACKED

    def read(self, entry: zipfile.ZipInfo) -> bytes:
        """Read at most `MAX_BYTES`: the size that an entry claims is not to be trusted.

        Raises:
            ImageError: why it cannot be had.
        """
        if self._left < 0:
            raise ImageError(TOO_LARGE)
        self._left -= MAX_BYTES
        if entry.flag_bits & 1:
            raise ImageError("the file is locked with a password")
        try:
            with self._archive.open(entry) as file:
                data = file.read(MAX_BYTES + 1)
        except Exception:  # Each way of compressing has errors of its own.
            raise ImageError("the file is damaged inside the ZIP archive") from None
        if len(data) > MAX_BYTES:
            raise ImageError(f"the file has more than {MAX_BYTES // 2**20} MB")
        self._left += MAX_BYTES - len(data)
        if data.startswith(b"PK\x03\x04"):
            raise ImageError(NESTED)
        return data


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    """Leave out folders and what operating systems add."""
    path = PurePosixPath(entry.filename)
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not (entry.is_dir() or hidden or path.name in ("Thumbs.db", "desktop.ini"))
