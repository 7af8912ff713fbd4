"""Values of DICOM tags as archives really write them: empty, with blanks, with decimal commas.

`pydicom` converts a value when it is asked for and raises on those that the standard forbids. Here
the bytes themselves are read, so that one bad optional tag does not cost the image.
"""

import math
import re
import struct
from typing import Any

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "US or SS": "H"}
_BINARY |= {"UV": "Q", "SV": "q", "OW": "H", "AT": "H", "US or SS or OW": "H", "US or OW": "H"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def has_value(dataset: Any, name: str) -> bool:
    """Whether a tag is there and not empty, readable or not."""
    return any(value for value in texts(dataset, name))


def texts(dataset: Any, name: str) -> list[str]:
    """The values of a tag as text without blanks around it; empty ones are ""."""
    element, vr = _element(dataset, name)
    if element is None:
        return []
    if not isinstance(element.value, bytes):  # converted already, or no text at all
        value = element.value
        several = isinstance(value, (list, tuple)) or hasattr(value, "append")
        values = [] if value is None else list(value) if several else [value]
        return [str(part).strip(" \0\t") for part in values]
    if vr in _BINARY:
        return [str(value) for value in _unpacked(element, vr)]
    parts = element.value.decode("latin-1").split("\\")
    return [part.strip(" \0\t\r\n") for part in parts]


def text(dataset: Any, name: str) -> str:
    """The first value of a tag as text in capitals, "" where there is none."""
    return next((value.upper() for value in texts(dataset, name) if value), "")


def numbers(dataset: Any, name: str) -> list[float | None]:
    """The values of a tag as numbers; None for those that are none."""
    return [_number(value) for value in texts(dataset, name)]


def number(dataset: Any, name: str) -> float | None:
    """The first value of a tag that is a number, None where there is none."""
    return next((value for value in numbers(dataset, name) if value is not None), None)


def whole(dataset: Any, name: str) -> int | None:
    """As `number`, but only whole ones."""
    value = number(dataset, name)
    return int(value) if value is not None and value == int(value) else None


def items(dataset: Any, name: str) -> list[Any]:
    """The items of a sequence; none where it is empty or cannot be read."""
    try:
        return list(dataset.get(name) or ())
    except Exception:  # pydicom raises many kinds.
        return []


def words(dataset: Any, name: str) -> list[int]:
    """The values of a table of 16-bit words, as they are stored; 8-bit tables are packed in it."""
    element, _ = _element(dataset, name)
    if element is None or not element.value:
        return []
    if isinstance(element.value, bytes):
        return list(_unpacked(element, "US"))
    value = element.value
    return [int(part) & 0xFFFF for part in (value if hasattr(value, "__iter__") else [value])]


def _element(dataset: Any, name: str) -> tuple[Any, str]:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(name)
    element = dataset.get_item(tag)
    if element is None:
        return None, ""
    vr = element.VR
    return element, dictionary_VR(tag) if vr in (None, "UN") else str(vr)


def _unpacked(element: Any, vr: str) -> tuple[Any, ...]:
    code = _BINARY[vr]
    order = "<" if getattr(element, "is_little_endian", True) else ">"
    count = len(element.value) // struct.calcsize(code)
    return struct.unpack_from(f"{order}{count}{code}", element.value)


def _number(value: str) -> float | None:
    value = value.replace(",", ".")
    if not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
