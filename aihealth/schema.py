"""What JSON files of a release may say: the check of each field, made when a file is read.

A release may come from anyone's repo. Class names become file names and columns, numbers become
sizes, divisors and the figures that the page and the card show: what does not fit is refused here,
in one sentence, and nowhere else.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from aihealth.errors import UserError

FORMAT = 1
MAX_SIDE = 2048  # of a model's input, pixels

_NAME = re.compile(r"[\w-]+( [\w-]+)*")


@dataclasses.dataclass(frozen=True)
class Value:
    """What a value must be: a test, and its wording for the sentence."""

    fits: Callable[[Any], bool]
    wanted: str

    def wrong(self, value: Any, path: str) -> str | None:
        """What is wrong with a value, as half a sentence that names where it stands; or None."""
        return None if self.fits(value) else f'"{path}" must be {self.wanted}'


@dataclasses.dataclass(frozen=True)
class Object:
    """What an object must hold.

    Attributes:
        fields: by name; they need not be there.
        needed: names of those that must be.
        others: what all others must be; without it they are nobody's concern.
        null: it may be null instead.
    """

    fields: Mapping[str, "Rule"] = dataclasses.field(default_factory=dict)
    needed: tuple[str, ...] = ()
    others: "Rule | None" = None
    null: bool = False

    def wrong(self, value: Any, path: str = "") -> str | None:
        """As `Value.wrong`, of the first field that is wrong."""
        if value is None and self.null:
            return None
        if not isinstance(value, dict):
            return f'"{path}" must be an object{" or null" if self.null else ""}'
        inside = f"{path}." if path else ""
        for name in self.needed:
            if name not in value:
                return f'"{inside}{name}" is missing'
        for name, part in value.items():
            rule = self.fields.get(name, self.others)
            if rule is None:
                continue
            if not is_text(name):
                return f'"{path}" must have printable names'
            if found := rule.wrong(part, f"{inside}{name}"):
                return found
        return None


@dataclasses.dataclass(frozen=True)
class Many:
    """A list, and what each in it must be."""

    each: "Rule"

    def wrong(self, value: Any, path: str) -> str | None:
        """As `Value.wrong`, of the first that is wrong."""
        if not isinstance(value, list):
            return f'"{path}" must be a list'
        found = (self.each.wrong(part, f"{path}.{place}") for place, part in enumerate(value))
        return next(filter(None, found), None)


Rule = Value | Object | Many  # or whatever else has `wrong`


def check(where: str, values: dict[str, Any], rule: Object) -> None:
    """Check what a file says.

    Args:
        where: the file, for the sentence.
        values: what it says.
        rule: `CONFIG`, or one of `aihealth.schema_facts`.

    Raises:
        UserError: names the file and the first field that is wrong, and says what it must be.
    """
    layout = values.get("format", FORMAT)
    if rule is CONFIG and is_whole(layout) and layout > FORMAT:
        raise UserError(f"{where} has format {layout}; update aihealth to read it")
    if found := rule.wrong(values):
        raise UserError(f"{where} is not valid: {found}")


def is_name(value: Any) -> bool:
    """Whether this is a plain name: words of letters, digits, - and _, with single spaces."""
    return isinstance(value, str) and len(value) <= 64 and bool(_NAME.fullmatch(value))


def is_whole(value: Any) -> bool:
    """Whether this is a whole number, and no boolean."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    """The test for a finite number within bounds."""

    def fits(value: Any) -> bool:
        real = is_whole(value) or isinstance(value, float)
        return real and low <= value <= high and abs(value) <= 1e12

    return fits


def is_text(value: Any) -> bool:
    """Whether this is a text of one line, and no long one."""
    return isinstance(value, str) and len(value) <= 2000 and value.isprintable()


def or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The same test, which null passes too."""
    return lambda value: value is None or fits(value)


def are_names(value: Any) -> bool:
    """Whether this is a list of different plain names."""
    return (
        isinstance(value, list)
        and 1 <= len(value) <= 100
        and all(map(is_name, value))
        and len({name.casefold() for name in value}) == len(value)
    )


def are_texts(value: Any) -> bool:
    """Whether this is a list of texts of one line."""
    return isinstance(value, list) and len(value) <= 1000 and all(map(is_text, value))


# === aihealth.json ===

FIELDS: dict[str, Rule] = {
    "classes": Value(
        are_names, "a list of different plain names (letters, digits, spaces, - and _)"
    ),
    "input_size": Value(
        lambda value: is_whole(value) and 16 <= value <= MAX_SIDE,
        f"a whole number from 16 to {MAX_SIDE}",
    ),
    "arch": Value(is_text, "a text"),
    "sources": Value(are_texts, "a list of texts"),
    "drawn_data": Value(lambda value: isinstance(value, bool), "true or false"),
    "temperature": Value(number(1e-6), "a number above 0"),
    "abstain_below": Value(number(0, 1), "a number from 0 to 1"),
    "abstain_rule": Value(is_text, "a text"),
    "ood_threshold": Value(or_null(number(0)), "a number from 0, or null"),
    "versions_above": Value(or_null(number(0)), "a number from 0, or null"),
    "lateral_threshold": Value(or_null(number(-1, 1)), "a number from -1 to 1, or null"),
    "shift_limit": Value(or_null(number(0)), "a number from 0, or null"),
    "version": Value(or_null(is_text), "a text or null"),
    "format": Value(lambda value: is_whole(value) and value >= 1, "a whole number from 1"),
}
CONFIG = Object(FIELDS)
