"""The formats in which `predict` writes its rows; CSV, which the Space writes too, is apart."""

import codecs
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import IO, Any, Protocol

from aihealth.answers import Csv, columns
from aihealth.classifier import Classifier
from aihealth.errors import UserError
from aihealth.release import whole_file

NOT_SURE, TURNED_AWAY = "not sure", "not a chest radiograph"
_ROW_GROUP = 16384  # rows that wait in memory for the Parquet file


class Writer(Protocol):
    """Where rows go: `row` for each, then `end`."""

    def row(self, row: dict[str, Any]) -> None:
        """Write one row."""

    def end(self, shift_warning: str | None = None) -> None:
        """Write what comes after the last row."""


def format_of(name: str | None, out: str | None) -> str:
    """The format that is meant: the one that was named, else the file's, else a table.

    Raises:
        UserError: Parquet without a file.
    """
    named = (out or "").rpartition(".")[2].lower()
    chosen = name or (named if named == "parquet" or named in _TEXT else "table")
    if chosen == "parquet" and not out:
        raise UserError("--format parquet needs a file: add --out FILE.parquet")
    return chosen


@contextlib.contextmanager
def writer(name: str, out: str | None, classifier: Classifier) -> Iterator[Writer]:
    """Write rows, to a file that appears once it is whole.

    Args:
        name: "table", "csv", "json" or "parquet".
        out: the file; by default the standard output.
        classifier: who answers.

    Raises:
        UserError: it cannot be written.
    """
    whole = whole_file(out, "wb" if name == "parquet" else "w") if out else None
    with whole or contextlib.nullcontext(sys.stdout) as file:
        if name != "parquet":
            yield _TEXT[name](file, classifier.classes)
            return
        table = Parquet(file, classifier.classes)
        with contextlib.closing(table):
            yield table


class Json:
    """A JSON array, one row a line."""

    def __init__(self, file: IO[str], classes: list[str]) -> None:
        self._file, self._mark = file, "[\n"
        # The escapes of a terminal without all letters are not those of JSON.
        self._ascii = codecs.lookup(getattr(file, "encoding", None) or "utf-8").name != "utf-8"

    def row(self, row: dict[str, Any]) -> None:
        """Write one row."""
        self._file.write(self._mark + json.dumps(row, ensure_ascii=self._ascii))
        self._mark = ",\n"

    def end(self, shift_warning: str | None = None) -> None:
        """Close the array."""
        self._file.write("\n]\n" if self._mark.startswith(",") else "[]\n")


class Parquet:
    """The columns of `answers.Csv`; the same rows always give the same bytes."""

    def __init__(self, file: IO[bytes], classes: list[str]) -> None:
        """Begin a file.

        Args:
            file: open for binary writing.
            classes: of the release.

        Raises:
            UserError: pyarrow is not installed.
        """
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError("--format parquet needs pyarrow: pip install pyarrow") from error
        kinds = dict.fromkeys(columns(classes), pyarrow.string())
        kinds |= dict.fromkeys([*classes, "ood_distance", "ood_threshold"], pyarrow.float32())
        kinds |= dict.fromkeys(["abstained", "is_chest_radiograph"], pyarrow.bool_())
        schema = pyarrow.schema(kinds)
        self._table = pyarrow.Table
        self._writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        self._schema, self._rows = schema, []

    def row(self, row: dict[str, Any]) -> None:
        """Keep one row until there are enough for a row group."""
        self._rows.append({**row, **(row["probabilities"] or {})})
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def end(self, shift_warning: str | None = None) -> None:
        """Write the rest; the file's metadata has `shift_warning` where there is one."""
        self._flush()
        if shift_warning:
            self._writer.add_key_value_metadata({"shift_warning": shift_warning})

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

    def end(self, shift_warning: str | None = None) -> None:
        """Say what this is not."""
        print("Not a medical device: for research and teaching.", file=self._file)


_TEXT = {"table": Table, "csv": Csv, "json": Json}
