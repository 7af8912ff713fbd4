"""What a release may say of itself beside `aihealth.json`: figures, audit, runs, versions.

The page and the card show it. What a figure is called there and how it is measured stands in
`aihealth.evaluation`; here stands what a reader may rely on.
"""

import dataclasses
import shlex
from typing import Any

from aihealth.schema import (
    FIELDS,
    Many,
    Object,
    Rule,
    Value,
    are_names,
    are_texts,
    is_text,
    is_whole,
    number,
    or_null,
)

# === metrics.json ===


def _count(value: Any) -> bool:
    return is_whole(value) and 0 <= value <= 1e12


def _bounds(value: Any) -> bool:
    """An interval."""
    return isinstance(value, list) and len(value) == 2 and all(map(number(-1e12), value))


def _confusion(value: Any) -> bool:
    if not isinstance(value, dict) or not are_names(value.get("classes")):
        return False
    rows, size = value.get("counts"), len(value["classes"])
    return (
        isinstance(rows, list)
        and len(rows) == size
        and all(isinstance(row, list) and len(row) == size for row in rows)
        and all(_count(count) for row in rows for count in row)
    )


_COUNT = Value(_count, "a whole number from 0")
_SHARE = Value(or_null(number(0, 1)), "a number from 0 to 1, or null")
_FIGURE = Value(number(0), "a number from 0")
_INTERVAL = Value(or_null(_bounds), "two numbers, or null")
_TEXT = FIELDS["arch"]
_TEXT_OR_NULL = FIELDS["version"]
_SHARES = Object(others=_SHARE)
_KNOWN_SHARE = Value(number(0, 1), "a number from 0 to 1")
_KNOWN_SHARES = Object(others=_KNOWN_SHARE)
_INTERVALS = {
    name: _INTERVAL for name in ("accuracy", "balanced_accuracy", "ece", "abstained", "rejected")
}

_REPORT: dict[str, Rule] = {
    "n": _COUNT,
    "groups": _COUNT,
    **dict.fromkeys(("accuracy", "balanced_accuracy", "ece", "abstained", "rejected"), _SHARE),
    "recall": _SHARES,
    "per_class": Object(others=Object({"n": _COUNT}, ("n",), _SHARE)),
    "called": Object(others=_SHARES),
    "outcomes": Object(others=_SHARES),
    "confusion": Value(_confusion, "classes, and for each of them as many counts"),
    "intervals": Object(_INTERVALS | {"recall": Object(others=_INTERVAL)}),
}
_BLOCK = Object(
    {
        "dataset": _TEXT,
        **_REPORT,
        "answered": Object(_REPORT),
        "per_source": Object(
            others=Object(_REPORT | {"answered": Object(_REPORT)}, ("n", "recall"))
        ),
        "temperatures": Object(others=_FIGURE),
        "ece_before": Object(others=_FIGURE),
        "noticed": _KNOWN_SHARES,
        "neither": Object(
            others=Object(
                {"n": _COUNT, "called": _KNOWN_SHARES, "answered": _KNOWN_SHARES},
                ("n", "called", "answered"),
            )
        ),
        "recipe": _TEXT,
        "ece_of_sources": Object({"value": _SHARE, "interval": _INTERVAL}, ("value", "interval")),
    },
    ("n", "accuracy", "balanced_accuracy", "recall", "per_class"),
)


class _Block:
    """Of the names at the top that are not known, those are blocks that look like one."""

    def wrong(self, value: Any, path: str) -> str | None:
        looks_so = isinstance(value, dict) and {"n", "recall"} <= value.keys()
        return _BLOCK.wrong(value, path) if looks_so else None


_CALIBRATED = {"ece_before": _SHARE, "ece_after": _SHARE}
_KNOWN_BLOCKS = ("test", "left_out", "leave_one_source_out")
METRICS = Object(
    {
        **dict.fromkeys(_KNOWN_BLOCKS, dataclasses.replace(_BLOCK, null=True)),
        "calibration": Object(
            {"temperature": _FIGURE, "per_source": Object(others=Object(_CALIBRATED), null=True)}
            | _CALIBRATED
        ),
    },
    others=_Block(),
)

# === audit.json ===

_MEASURED = Object(
    {
        "value": _SHARE,
        "interval": _INTERVAL,
        "uniform": _SHARE,
        "rejected": _SHARE,
        "sources": Object(others=Value(number(0, 1), "a number from 0 to 1")),
    },
    ("value",),
    null=True,
)
_WHOLE = dataclasses.replace(_MEASURED, null=False)
_UNUSUAL = ("set_right", "noticed", "silent")
AUDIT = Object(
    {
        "model_sha256": _TEXT,
        "dataset": _TEXT,
        "n": _COUNT,
        "chance": _SHARE,
        "classes_from": Object({"whole_image": _WHOLE}, ("whole_image",), _MEASURED),
        "sources_from": Object(
            {"chance": _SHARE, "features": _MEASURED, "class": _MEASURED}, null=True
        ),
        "map_inside_lungs": _WHOLE,
        "processed": Object(others=Object(_WHOLE.fields, ("value", "rejected")), null=True),
        "frames": Object(others=Object(_WHOLE.fields, ("value", "sources")), null=True),
        "unusual": Object(others=Object(dict.fromkeys(_UNUSUAL, _SHARE), _UNUSUAL), null=True),
    },
    ("dataset", "n", "chance", "classes_from", "map_inside_lungs"),
)

# === provenance.json ===


def _command(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.isprintable() and bool(shlex.split(value) or True)
    except ValueError:  # a quotation without its end
        return False


def _printable(value: Any) -> bool:
    """What stands in the card as it is: a number, a text, or a list of them."""
    if isinstance(value, list):
        return len(value) <= 1000 and all(map(_printable, value))
    return value is None or isinstance(value, bool) or number(-1e12)(value) or is_text(value)


def _starting_weights(value: Any) -> bool:
    return value is None or is_text(value) or are_texts(value)


_FACTS = Object(others=Value(_printable, "a number, a text, or a list of them"), null=True)
_FACT = Value(_printable, "a number, a text, or a list of them")
_SOME = Value(or_null(_count), "a whole number from 0, or null")
_ORIGIN = Object(
    dict.fromkeys(("name", "repo_id", "fingerprint", "revision", "commit"), _TEXT_OR_NULL)
)
_RUN: dict[str, Rule] = {
    "date": _TEXT,
    "command": Value(or_null(_command), "a command line or null"),
    "git_commit": _TEXT_OR_NULL,
    "parameters": _SOME,
    "data": Many(_ORIGIN),
    "base_models": Many(dataclasses.replace(_ORIGIN, needed=("repo_id",))),
    "starting_weights": Value(_starting_weights, "a text, a list of texts, or null"),
    "device": _TEXT,
    "sources": Value(or_null(are_texts), "a list of texts, or null"),
    "seconds": Value(or_null(number(0)), "a number from 0, or null"),
    **dict.fromkeys(("images", "settings", "versions"), _FACTS),
    **dict.fromkeys(("seed", "epochs", "best_epoch", "leave_out"), _FACT),
    "test_images_seen_before": Object(
        {"left_out": _COUNT, "of": _COUNT, "unknown": Value(are_texts, "a list of texts")},
        ("left_out", "of", "unknown"),
        null=True,
    ),
    "test_images_in_training_groups": _SOME,
}


class _Run:
    """A run, and those behind it (`aihealth.data.provenance.flatten`), each after its parents."""

    def wrong(self, value: Any, path: str = "", known: int = 0, depth: int = 0) -> str | None:
        if depth > _MAX_DEPTH:
            return f"there are more than {_MAX_DEPTH} runs in each other"
        if found := Object(_RUN).wrong(value, path):
            return found
        inside = f"{path}." if path else ""
        earlier, parents = value.get("earlier_runs"), value.get("continued_from") or []
        if "earlier_runs" in value:
            if not isinstance(earlier, list):
                return f'"{inside}earlier_runs" must be a list'
            for place, run in enumerate(earlier):
                if found := self.wrong(run, f"{inside}earlier_runs.{place}", place, depth + 1):
                    return found
            known = len(earlier)
        for parent in parents if isinstance(parents, list) else [parents]:
            if is_whole(parent) and 0 <= parent < known:
                continue
            if not isinstance(parent, dict):
                return f'"{inside}continued_from" must be runs, or places of earlier runs'
            if found := self.wrong(parent, f"{inside}continued_from", known, depth + 1):
                return found
        return None


_MAX_DEPTH = 50
PROVENANCE = _Run()

# === changelog.json ===

_ENTRY = ("fingerprint", "date", "summary")
_ENTRY_TOO = ("version", "balanced_accuracy", "allowed_regression")
CHANGELOG = Object(
    {
        "entries": Many(
            Object(dict.fromkeys(_ENTRY, _TEXT) | dict.fromkeys(_ENTRY_TOO, _TEXT_OR_NULL), _ENTRY)
        )
    },
    ("entries",),
)
