"""What `aihealth.json` may say: the check of each field, made when a release is opened.

A release may come from anyone's repo. Class names become file names and columns, numbers become
sizes and divisors: what does not fit is refused here, in one sentence, and nowhere else.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from aihealth.errors import UserError

FORMAT = 1
MAX_SIDE = 2048  # of a model's input, pixels

_NAME = re.compile(r"[\w-]+( [\w-]+)*")


def check(where: str, values: dict[str, Any]) -> None:
    """Check the fields that are there; others are nobody's concern.

    Args:
        where: the file, for the sentence.
        values: what it says.

    Raises:
        UserError: names the file and the first field that is wrong, and says what it must be.
    """
    layout = values.get("format", FORMAT)
    if _whole(layout) and layout > FORMAT:
        raise UserError(f"{where} has format {layout}; update aihealth to read it")
    for name, (fits, wanted) in FIELDS.items():
        if name in values and not fits(values[name]):
            raise UserError(f'{where} is not valid: "{name}" must be {wanted}')


def is_name(value: Any) -> bool:
    """Whether this is a plain name: words of letters, digits, - and _, with single spaces."""
    return isinstance(value, str) and len(value) <= 64 and bool(_NAME.fullmatch(value))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        real = _whole(value) or isinstance(value, float)
        return real and low <= value <= high and abs(value) <= 1e12

    return fits


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 2000 and value.isprintable()


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= 100
        and all(map(is_name, value))
        and len({name.casefold() for name in value}) == len(value)
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 1000 and all(map(_text, value))


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "classes": (_names, "a list of different plain names (letters, digits, spaces, - and _)"),
    "input_size": (
        lambda value: _whole(value) and 16 <= value <= MAX_SIDE,
        f"a whole number from 16 to {MAX_SIDE}",
    ),
    "arch": (_text, "a text"),
    "sources": (_texts, "a list of texts"),
    "drawn_data": (lambda value: isinstance(value, bool), "true or false"),
    "temperature": (_number(1e-6), "a number above 0"),
    "abstain_below": (_number(0, 1), "a number from 0 to 1"),
    "abstain_rule": (_text, "a text"),
    "ood_threshold": (_or_null(_number(0)), "a number from 0, or null"),
    "versions_above": (_or_null(_number(0)), "a number from 0, or null"),
    "lateral_threshold": (_or_null(_number(-1, 1)), "a number from -1 to 1, or null"),
    "shift_limit": (_or_null(_number(0)), "a number from 0, or null"),
    "version": (_or_null(_text), "a text or null"),
    "format": (lambda value: _whole(value) and value >= 1, "a whole number from 1"),
}
