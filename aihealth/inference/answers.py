"""What is written for each image, and the four shapes that it is written in."""

import codecs
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

from aihealth.classifier import Classifier, Prediction
from aihealth.errors import NoImage, UserError, shown
from aihealth.files import HOLDS_NONE, NO_IMAGE
from aihealth.images import ImageError
from aihealth.inference.archive import Item
from aihealth.release import whole_file

STDOUT = "-"
NOT_SURE, TURNED_AWAY = "not sure", "not a chest radiograph"
_ROW_GROUP = 16384  # rows that wait in memory for the Parquet file


def answer(
    classifier: Classifier, item: Item, see: Callable[[str, Prediction], None] | None = None
) -> dict[str, Any]:
    """Answer for one image.

    Args:
        classifier: the release.
        item: of an archive.
        see: shown each prediction with the item's name.

    Returns:
        A row with `file`, `label` (None where the model is not sure or sees no chest radiograph),
        `probabilities`, `is_chest_radiograph`, `abstained`, `warning` and `error`; of a file in a
        folder that proves to be no image, or to hold none by nature, only `left_out`: why.
    """
    try:
        content = item.read()
        if content is None:
            return {"left_out": NO_IMAGE}
        prediction = classifier.predict(content)
    except ImageError as error:
        if item.found and isinstance(error, NoImage):
            return {"left_out": HOLDS_NONE}
        return row(item.name, None, str(error))
    if see:
        see(item.name, prediction)
    return row(item.name, prediction, None)


def row(file: str, prediction: Prediction | None, error: str | None) -> dict[str, Any]:
    """The fields of an answer, in their order."""
    if prediction is None:
        fields = dict.fromkeys(("label", "probabilities", "is_chest_radiograph", "abstained"))
        return {"file": shown(file), **fields, "warning": None, "error": error}
    return {"file": shown(file), **prediction.to_dict(), "error": None}


class Writer(Protocol):
    """Where rows go: `row` for each, then `end`."""

    def row(self, row: dict[str, Any]) -> None:
        """Write one row."""

    def end(self) -> None:
        """Write what comes after the last row."""


@contextlib.contextmanager
def output(name: str, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file as `release.whole_file` does; "-" is the standard output.

    Raises:
        UserError: it cannot be written.
    """
    if name == STDOUT:
        yield sys.stdout
        return
    with whole_file(name, mode) as file:
        yield file


class Json:
    """A JSON array, one row a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._mark = file, "[\n"
        # The escapes of a terminal without all letters are not those of JSON.
        self._ascii = codecs.lookup(getattr(file, "encoding", None) or "utf-8").name != "utf-8"

    def row(self, row: dict[str, Any]) -> None:
        """Write one row."""
        self._file.write(self._mark + json.dumps(row, ensure_ascii=self._ascii))
        self._mark = ",\n"

    def end(self) -> None:
        """Close the array."""
        self._file.write("\n]\n" if self._mark.startswith(",") else "[]\n")


class Csv:
    """The row's fields, with one column for each probability."""

    def __init__(self, file: IO[str], classes: list[str]) -> None:
        self._classes = classes
        self._writer = csv.writer(file, lineterminator="\n")
        flags = ("is_chest_radiograph", "abstained", "warning", "error")
        self._writer.writerow(["file", "label", *classes, *flags])

    def row(self, row: dict[str, Any]) -> None:
        """Write one row."""
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
        """Nothing comes after the last row."""


class Parquet:
    """The columns of `Csv`; the same rows always give the same bytes."""

    def __init__(self, file: IO[bytes], classes: list[str], about: dict[str, Any]) -> None:
        """Begin a file.

        Args:
            file: open for binary writing.
            classes: of the release.
            about: which release answers, kept in the file's metadata under "aihealth" as JSON.

        Raises:
            UserError: pyarrow is not installed.
        """
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError("--out needs pyarrow: pip install pyarrow") from error
        text, flag, share = pyarrow.string(), pyarrow.bool_(), pyarrow.float32()
        schema = pyarrow.schema(
            [("file", text), ("label", text)]
            + [(name, share) for name in classes]
            + [("is_chest_radiograph", flag), ("abstained", flag)]
            + [("warning", text), ("error", text)],
            metadata={"aihealth": json.dumps(about, sort_keys=True)},
        )
        self._table = pyarrow.Table
        self._writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        self._schema, self._rows = schema, []

    def row(self, row: dict[str, Any]) -> None:
        """Keep one row until there are enough for a row group."""
        self._rows.append({**row, **(row["probabilities"] or {})})
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def end(self) -> None:
        """Write the rest."""
        self._flush()

    def close(self) -> None:
        """Write the footer, without which it is no Parquet file."""
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


class Table:
    """Columns of a fixed width, so that rows can be shown as they come; file names last."""

    def __init__(self, file: IO[str], classes: list[str]) -> None:
        self._file, self._classes = file, classes
        self._width = max(len(TURNED_AWAY), *map(len, classes))
        names = "  ".join(f"{name:>9}" for name in classes)
        print(f"{'answer':<{self._width}}  {names}  file", file=file)

    def row(self, row: dict[str, Any]) -> None:
        """Print one line."""
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
        """Say what this is not."""
        print("Not a medical device: for research and teaching.", file=self._file)


def _harmless(text: str) -> str:
    """Keep spreadsheets from running a file name such as "=cmd()" as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
