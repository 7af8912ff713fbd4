"""How often the release is right, from its `metrics.json`, in plain words."""

import dataclasses
from pathlib import Path
from typing import Any

from texts import class_name, percent, say

from aihealth.release import METRICS, read_facts

UNSEEN = ("leave_one_source_out", "left_out")  # names of the block, the older one last


@dataclasses.dataclass(frozen=True)
class Reliability:
    """What was measured.

    Attributes:
        known: block of `metrics.json` of test images from known sources; None if not measured.
        unknown: block of sources that the measured model was not trained on, or None.
    """

    known: dict[str, Any] | None = None
    unknown: dict[str, Any] | None = None

    @classmethod
    def of(cls, folder: Path) -> "Reliability":
        """Read a release; one without figures has none.

        Raises:
            UserError: its figures are damaged.
        """
        metrics = read_facts(folder / METRICS)
        unknown = next((metrics[name] for name in UNSEEN if name in metrics), None)
        return cls(_measured(metrics.get("test")), _measured(unknown))

    def sentence(self, label: str | None, language: str) -> str:
        """How often such an answer is right at a hospital that the model has not seen.

        Args:
            label: the class that was answered; None for "not sure".
            language: "en" or "fr".
        """
        block = (self.unknown or {}).get("answered") or {}
        if label is None:
            if block.get("accuracy") is None:
                return say("elsewhere_unknown", language)
            return say(
                "unsure_elsewhere",
                language,
                unsure=_of_100(self.unknown["abstained"]),
                right=_of_100(block["accuracy"]),
            )
        share = precision(block, label)
        if share is None:
            return say("elsewhere_unknown", language)
        name = class_name(label, language)
        return say("seen_elsewhere", language, right=_of_100(share), name=name)

    def plain(self, kind: str, language: str) -> str | None:
        """Share of images that are called right, as a sentence; kind is "known" or "unknown"."""
        block = getattr(self, kind)
        if block is None:
            return None
        return say(f"{kind}_figure", language, right=_of_100(block["accuracy"]))

    def details(self, language: str) -> list[str]:
        """The figures with their 95% intervals, one line a block."""
        blocks = (("known", self.known), ("unknown", self.unknown))
        return [
            figures(block, say(f"{kind}_block", language), language)
            for kind, block in blocks
            if block
        ]


def precision(block: dict[str, Any], label: str) -> float | None:
    """Of the images that were answered with a class, the share that is of it; None without any."""
    confusion = block.get("confusion")
    if not confusion or label not in confusion["classes"]:
        return None
    index = confusion["classes"].index(label)
    column = [row[index] for row in confusion["counts"]]
    return column[index] / sum(column) if sum(column) else None


def figures(block: dict[str, Any], name: str, language: str) -> str:
    """One line of a block of `metrics.json`, with its 95% intervals."""
    shown = {}
    for key, metric in (("accuracy", "accuracy"), ("balanced", "balanced_accuracy")):
        value = percent(block[metric], language, 1)
        low, high = block.get("intervals", {}).get(metric) or (None, None)
        if low is not None:
            low, high = (percent(bound, language, 1) for bound in (low, high))
            value = say("interval", language, value=value, low=low, high=high)
        shown[key] = value
    return say("figures", language, name=name, n=block["n"], **shown)


def _measured(block: Any) -> dict[str, Any] | None:
    return block if block and block["accuracy"] is not None else None


def _of_100(share: float) -> int:
    return round(100 * share)
