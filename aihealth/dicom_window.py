"""From stored values to what is meant to be seen: modality LUT or rescale, VOI LUT or window.

Archives leave these tags empty, at width 0, or as they were before the values were changed; then
the image is still worth seeing without them.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aihealth.dicom_tags import has_value, items, number, numbers, text, whole, words

HIDING = "The window in the file hides nearly all of the image and was left out."
UNREADABLE = "The file's {} cannot be read and was left out."
_LEAST_INSIDE = 0.1  # share of the image that a window has to leave between black and white

Change = Callable[[np.ndarray], np.ndarray]


def modality(header: Any, signed: bool) -> tuple[Change, list[str]]:
    """How stored values become those of the device (PS3.3, C.11.1).

    Args:
        header: the file's tags.
        signed: whether stored values are.

    Returns:
        The change, of arrays of any shape, and what the reader should know.
    """
    for item in items(header, "ModalityLUTSequence"):
        table = _Table.of(item, signed)
        if table:
            return table.apply, []
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    notes = [
        UNREADABLE.format(words_of)
        for name, words_of, value in (
            ("RescaleSlope", "Rescale Slope", slope),
            ("RescaleIntercept", "Rescale Intercept", intercept),
        )
        if value is None and has_value(header, name)
    ]
    slope, intercept = slope or 1.0, intercept or 0.0  # A slope of 0 would make all alike.
    return lambda values: values * slope + intercept, notes


def has_tables(header: Any) -> bool:
    """Whether there may be more to apply than a slope and an intercept."""
    return any(
        name in header
        for name in ("ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth")
    )


def window(
    header: Any, values: np.ndarray, counts: np.ndarray, signed: bool
) -> tuple[Change, list[str]]:
    """How the device's values become grey: by the first VOI LUT or window that shows the image.

    Args:
        header: the file's tags (PS3.3, C.11.2).
        values: float `(n,)`, distinct values of the image, ascending or descending.
        counts: `(n,)`, how often each occurs.
        signed: whether stored values are.

    Returns:
        The change, and what the reader should know.
    """
    notes: list[str] = []
    for voi in _vois(header, signed, notes):
        if _shows(voi, values, counts):
            return voi.apply, notes
        notes.append(HIDING)
    return lambda values: values, list(dict.fromkeys(notes))


def _shows(voi: "_Table | _Window", values: np.ndarray, counts: np.ndarray) -> bool:
    """Whether a window leaves enough of the image between black and white.

    What is black or white before it, as collimated borders are, does not count.
    """
    seen = voi.apply(values)
    if seen.min() == seen.max():
        return False
    film = (values > values.min()) & (values < values.max())
    inside = (values > voi.low) & (values < voi.high)
    total = counts[film].sum()
    return total == 0 or counts[film & inside].sum() >= _LEAST_INSIDE * total


def _vois(header: Any, signed: bool, notes: list[str]) -> Iterator["_Table | _Window"]:
    for item in items(header, "VOILUTSequence"):
        table = _Table.of(item, signed)
        if table:
            yield table
    function = text(header, "VOILUTFunction").replace(" ", "_") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append(UNREADABLE.format("VOI LUT Function"))
        return
    centers, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    least = 1 if function == "LINEAR" else 0
    for center, width in zip(centers, widths, strict=False):
        if center is not None and width is not None and width >= least and width > 0:
            yield _Window(center, width, function)
    for name, words_of, found in (
        ("WindowCenter", "Window Center", centers),
        ("WindowWidth", "Window Width", widths),
    ):
        if has_value(header, name) and not any(value is not None for value in found):
            notes.append(UNREADABLE.format(words_of))


@dataclasses.dataclass(frozen=True)
class _Window:
    center: float
    width: float
    function: str

    @property
    def low(self) -> float:
        return self._ends()[0]

    @property
    def high(self) -> float:
        return self._ends()[1]

    def _ends(self) -> tuple[float, float]:
        if self.function == "LINEAR":  # PS3.3, C.11.2.1.2.1
            half = (self.width - 1) / 2
            return self.center - 0.5 - half, self.center - 0.5 + half
        return self.center - self.width / 2, self.center + self.width / 2

    def apply(self, values: np.ndarray) -> np.ndarray:
        low, high = self._ends()
        if self.function == "SIGMOID":
            steps = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return 1 / (1 + np.exp(steps))
        if low == high:
            return (values > low).astype(np.float64)
        return np.clip((values - low) / (high - low), 0, 1)


@dataclasses.dataclass(frozen=True)
class _Table:
    """A look-up table (PS3.3, C.11.1.1)."""

    first: int
    entries: np.ndarray

    @property
    def low(self) -> float:
        return self.first

    @property
    def high(self) -> float:
        return self.first + len(self.entries) - 1

    @classmethod
    def of(cls, item: Any, signed: bool) -> "_Table | None":
        """Read a table, None where it is none."""
        try:
            count, first, bits = words(item, "LUTDescriptor")[:3]
            data = words(item, "LUTData")
        except ValueError:
            return None
        count = count or 65536
        if signed and first >= 32768:
            first -= 65536
        if len(data) * 2 in (count, count + 1) and bits <= 8:  # two entries a word
            data = [byte for word in data for byte in (word & 255, word >> 8)]
        if not 2 <= count <= len(data):
            return None
        return cls(first, np.asarray(data[:count], np.float64))

    def apply(self, values: np.ndarray) -> np.ndarray:
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[places.astype(np.int64)]


def padding(pixels: np.ndarray, header: Any, bits: int) -> np.ndarray | None:
    """Where stored values are no film but fill the frame (PS3.3 C.7.5.1.1.2).

    The tag may be written with another sign than the pixels have: the bits are compared.

    Args:
        pixels: `(h, w)`, whole numbers.
        header: the file's tags.
        bits: that a stored value takes.

    Returns:
        `(h, w)` bool, None if nowhere or everywhere.
    """
    value, limit = whole(header, "PixelPaddingValue"), whole(header, "PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = [_as_stored(end, bits, pixels.dtype) for end in (value, limit) if end is not None]
    if None in ends:
        return None
    found = (pixels >= min(ends)) & (pixels <= max(ends))
    return found if found.any() and not found.all() else None


def _as_stored(value: int, bits: int, dtype: np.dtype) -> int | None:
    """What a value of the tag is as a stored value; None where it has more bits than those have."""
    if value in (-1, 0xFFFF):  # all bits
        return -1 if dtype.kind == "i" else (1 << bits) - 1
    if bits >= 16:
        value &= (1 << bits) - 1
        return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value
    if dtype.kind == "i":
        value -= 0x10000 * (value >> 15 == 1)
        return value if -(1 << (bits - 1)) <= value < 1 << (bits - 1) else None
    return value if 0 <= value < 1 << bits else None
