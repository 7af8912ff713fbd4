"""Figures of a release in words, for its card."""

from collections.abc import Sequence
from typing import Any


def overall_text(block: dict[str, Any] | None) -> str | None:
    """Balanced accuracy of a block of `metrics.json` with its interval, for people."""
    if not block:
        return None
    return with_interval(
        block.get("balanced_accuracy"), block.get("intervals", {}).get("balanced_accuracy")
    )


def with_interval(value: float | None, bounds: Sequence[float] | None = None) -> str:
    """A figure and its interval: "0.871 (0.842 to 0.899)"."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")


def accuracy_text(metrics: dict[str, Any]) -> str:
    """What is known and what is not known of how good a release is, in a few words."""
    block, sources = metrics.get("test"), left_out_sources(metrics)
    if not block:
        return "Nothing is known of how good it is."
    told = (
        f"Balanced accuracy is {overall_text(block)} on {block['n']} held-out images of the "
        "sources that it was trained on"
    )
    if sources:
        worst = min(sources, key=lambda name: sources[name]["balanced_accuracy"])
        figure = overall_text(left_out_block(metrics) or sources[worst])
        told += f", and **{figure} at sources that training left out"
        if len(sources) > 1:
            told += f", {sources[worst]['balanced_accuracy']:.2f} at {worst}"
        told += "**"
    return f"{told}. At your hospital it is unknown: measure it there first."


def left_out_block(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The figures of leave-one-source-out over all sources, None where there are none."""
    return next((part for part in _other_blocks(metrics).values() if "temperatures" in part), None)


def left_out_sources(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Evaluations at sources that the model in question was not trained on, by source."""
    found: dict[str, dict[str, Any]] = {}
    for name, block in _other_blocks(metrics).items():
        if "temperatures" in block:  # of leave-one-source-out: one part a source
            found |= block.get("per_source", {})
        else:
            found[name.removeprefix("left_out_")] = block
    return {name: part for name, part in found.items() if part.get("balanced_accuracy") is not None}


def _other_blocks(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: block
        for name, block in metrics.items()
        if name != "test" and isinstance(block, dict) and {"n", "recall"} <= block.keys()
    }


def dig(data: dict[str, Any] | None, keys: Sequence[str]) -> Any:
    """What lies in objects in each other, None where one of them is not there."""
    for key in keys:
        data = (data or {}).get(key)
    return data
