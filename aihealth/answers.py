"""Rows of answers: their fields, and the CSV that the command line and the Space write alike."""

import csv
from typing import IO, Any

from aihealth.classifier import Classifier, Prediction
from aihealth.errors import shown

# After "file", "label" and a column for each class.
_REST = (
    "abstained",
    "is_chest_radiograph",
    "ood_distance",
    "ood_threshold",
    "warning",
    "error",
    "model",
    "revision",
)


def row(
    classifier: Classifier,
    file: str,
    prediction: Prediction | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """The fields of an answer, in their order, ready for JSON.

    Args:
        classifier: who answered.
        file: the image's name.
        prediction: the answer, None where there is none.
        error: why there is none.
    """
    given = prediction.to_dict() if prediction else {}
    threshold = classifier.config.ood_threshold
    known = prediction is not None and threshold is not None
    return {
        "file": shown(file),
        "label": given.get("label"),
        "probabilities": given.get("probabilities"),
        "abstained": given.get("abstained"),
        "is_chest_radiograph": given.get("is_chest_radiograph"),
        "ood_distance": round(prediction.ood_score, 4) if known else None,
        "ood_threshold": threshold,
        "warning": given.get("warning"),
        "error": error,
        "model": classifier.name,
        "revision": classifier.revision,
    }


def columns(classes: list[str]) -> list[str]:
    """Names of a table's columns: the fields of `row`, with one column for each probability."""
    return ["file", "label", *classes, *_REST]


class Csv:
    """CSV with a header (RFC 4180): `true` and `false`, a fixed number of digits, nothing for None.

    The last line also has, as `shift_warning`, what is to be known of the images as a whole.
    """

    def __init__(self, file: IO[str], classes: list[str]) -> None:
        self._classes = classes
        self._writer = csv.writer(file, lineterminator="\n")
        self._write([*columns(classes), "shift_warning"])
        self._last: list[Any] | None = None

    def row(self, row: dict[str, Any]) -> None:
        """Write one row, once the next one is there."""
        self._flush(None)
        shares = row["probabilities"] or dict.fromkeys(self._classes)
        fixed = [_fixed(shares[name], 6) for name in self._classes]
        rest = [_fixed(row[name], 4) for name in _REST]
        self._last = [row["file"], row["label"], *fixed, *rest]

    def end(self, shift_warning: str | None = None) -> None:
        """Write the last row."""
        self._flush(shift_warning)

    def _flush(self, shift_warning: str | None) -> None:
        if self._last is not None:
            self._write([*self._last, shift_warning])
            self._last = None

    def _write(self, cells: list[Any]) -> None:
        self._writer.writerow(map(_harmless, cells))


def _fixed(value: Any, digits: int) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}f}" if isinstance(value, float) else value


def _harmless(cell: Any) -> Any:
    """Keep spreadsheets from running a name such as "=cmd()" as a formula (OWASP)."""
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell
