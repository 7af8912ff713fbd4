"""Figures of a release as rows of text for its card; the template draws the lines."""

from collections.abc import Sequence
from typing import Any

from aihealth.evaluation import audit


def overall_text(block: dict[str, Any] | None) -> str | None:
    """Balanced accuracy of a block of `metrics.json` with its interval, for people."""
    if not block:
        return None
    return with_interval(
        block.get("balanced_accuracy"), block.get("intervals", {}).get("balanced_accuracy")
    )


def with_interval(value: float | None, bounds: Sequence[float] | None) -> str:
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
    figures = [part["balanced_accuracy"] for part in sources.values()]
    if figures:
        span = " to ".join(dict.fromkeys(f"{x:.2f}" for x in (min(figures), max(figures))))
        told += f", and **{span} at sources that training left out**"
    return f"{told}. At your hospital it is unknown: measure it there first."


def left_out_sources(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Evaluations at sources that the model in question was not trained on, by source."""
    found: dict[str, dict[str, Any]] = {}
    for name, block in _other_blocks(metrics):
        if "temperatures" in block:  # of leave-one-source-out: one part a source
            found |= block.get("per_source", {})
        else:
            found[name.removeprefix("left_out_")] = block
    return {name: part for name, part in found.items() if part.get("balanced_accuracy") is not None}


def _other_blocks(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, block)
        for name, block in metrics.items()
        if name != "test" and isinstance(block, dict) and {"n", "recall"} <= block.keys()
    ]


def left_out_tables(
    metrics: dict[str, Any], classes: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Leave-one-source-out: a narrow table, and one with the rest; nothing without any.

    Args:
        metrics: content of `metrics.json`.
        classes: names.
    """
    parts = [*left_out_sources(metrics).items()]
    whole = next((block for _, block in _other_blocks(metrics) if "temperatures" in block), None)
    if not parts:
        return [], []
    if whole:
        parts.append(("all", whole))
    text = (
        "A model that was trained without the source, measured on it: what a hospital that this "
        "model has never seen should expect at best. The released model was trained on all "
        "sources. Where the recipe was chosen with these figures in view, they flatter it."
    )
    narrow = {
        "title": "Leave-one-source-out",
        "text": text,
        "columns": ["source left out", "n", "balanced accuracy", "not sure", "calibration error"],
        "rows": [
            [
                name,
                str(part["n"]),
                overall_text(part) or "–",
                with_interval(part.get("abstained"), None),
                with_interval(_calibration(part)[0], None),
            ]
            for name, part in parts
        ],
    }
    columns = ["source left out", "of what it answers", *(f"sensitivity {c}" for c in classes)]
    columns += ["Normal called Covid", 'the same, after "not sure"']
    wide = {
        "title": "Leave-one-source-out in detail",
        "text": _left_out_text(whole) if whole else text,
        "columns": columns,
        "rows": [_left_out_row(name, part, classes) for name, part in parts],
    }
    return [narrow], [wide]


def _left_out_text(block: dict[str, Any]) -> str:
    text = ""
    if block.get("recipe"):
        text += f"The models here: {block['recipe']}; the released one may have had more. "
    before = _listed(
        {source: f"{value:.3f}" for source, value in block.get("ece_before", {}).items()}
    )
    text += (
        'Temperature and the rule for "not sure" of each model were chosen without the source that '
        "it is measured on. The temperatures: "
        + _listed({source: f"{value:.1f}" for source, value in block["temperatures"].items()})
        + f"; before them the calibration error was {before}. For all it is the mean of the "
        "sources' own errors: pooled, too sure at one and too unsure at another would cancel."
    )
    noticed = block.get("noticed")
    if noticed:
        shares = _listed({source: f"{100 * share:.3g}%" for source, share in noticed.items()})
        text += (
            " No single answer shows that a hospital is new to the model. Twenty of its images, "
            f"taken together, show a distribution shift: noticed in {shares} of 200 draws."
        )
    for source, part in (block.get("neither") or {}).items():
        called, answered = (
            ", ".join(f"{name} {share:.0%}" for name, share in part[key].items())
            for key in ("called", "answered")
        )
        text += (
            f" {source} has {part['n']} images besides that no class is right for. The most "
            f'probable class of these: {called}; after "not sure" the answer is {answered}.'
        )
    return text


def _listed(values: dict[str, str]) -> str:
    return ", ".join(f"{value} ({source})" for source, value in values.items())


def _left_out_row(name: str, block: dict[str, Any], classes: Sequence[str]) -> list[str]:
    intervals = block.get("intervals", {}).get("recall") or {}
    called, answered = (
        (block.get(name) or {}).get("Normal", {}).get("Covid") for name in ("called", "outcomes")
    )
    return [
        name,
        overall_text(block.get("answered")) or "–",
        *(with_interval(block["recall"].get(label), intervals.get(label)) for label in classes),
        with_interval(called, None),
        with_interval(answered, None),
    ]


def _calibration(block: dict[str, Any]) -> tuple[float | None, Sequence[float] | None]:
    """Of all folds together the mean of their errors: pooled, too sure and too unsure cancel."""
    mean = block.get("ece_of_sources")
    if mean:
        return mean["value"], mean["interval"]
    return block.get("ece"), block.get("intervals", {}).get("ece")


def calibration_table(calibration: dict[str, Any]) -> list[dict[str, Any]]:
    """Calibration error before and after the temperature, per source; [] where it is not known."""
    per_source = calibration.get("per_source") or {}
    if not per_source or "temperature" not in calibration:
        return []
    rows = [["all", calibration], *per_source.items()]
    return [
        {
            "title": "Calibration",
            "text": f"The temperature {calibration['temperature']:.2f} is part of the model. "
            "Expected calibration error on validation images of sources that it was trained on. "
            "A temperature above 1 makes answers less sure there than they could be, so that they "
            "are not too sure elsewhere.",
            "columns": ["source", "before", "after"],
            "rows": [
                [
                    name,
                    *(
                        with_interval(found.get(f"ece_{when}"), None)
                        for when in ("before", "after")
                    ),
                ]
                for name, found in rows
            ],
        }
    ]


def audit_tables(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The shortcut audit as a table; [] without one."""
    if not report:
        return []
    classes, sources = report["classes_from"], report.get("sources_from") or {}
    inside = report["map_inside_lungs"]
    rows = [
        *((text, classes.get(name), report["chance"]) for name, text in audit.CLASSES_FROM.items()),
        ("source from the model's features", sources.get("features"), sources.get("chance")),
        ("source from the true class alone", sources.get("class"), sources.get("chance")),
        ("share of the heatmap inside the lungs", inside, inside.get("uniform")),
    ]
    return [
        {
            "title": "Shortcut audit",
            "text": f"{report['dataset']}, {report['n']} images: balanced accuracy (and the share "
            "of the heatmap) with parts of the image taken away. A model that still scores without "
            "the lungs has learned the frame. Where its answers there are nearly all of one class, "
            "only the logistic regression on its scores shows what it still knows.",
            "columns": ["", "value", "by chance"],
            "rows": [
                [
                    name,
                    with_interval(figure["value"], figure.get("interval")),
                    _plain(chance) or "–",
                ]
                for name, figure, chance in rows
                if figure and figure.get("value") is not None
            ],
        },
        *_corruptions_table(report.get("processed") or {}, classes["whole_image"]),
        *_frames_table(report.get("frames") or {}),
    ]


def _corruptions_table(
    processed: dict[str, dict[str, Any]], whole: dict[str, Any]
) -> list[dict[str, Any]]:
    if not processed:
        return []
    return [
        {
            "title": "Corruptions",
            "text": "Balanced accuracy on the same images after changes that other equipment, "
            "viewers and exports make, and the share then found out of distribution. "
            "Nothing of the patient has changed: what is lost here was learned of the hospitals' "
            "processing.",
            "columns": ["", "balanced accuracy", "out of distribution"],
            "rows": [
                ["as it is", with_interval(whole["value"], whole.get("interval")), "–"],
                *(
                    [
                        name,
                        with_interval(figure["value"], figure.get("interval")),
                        with_interval(figure["rejected"], None),
                    ]
                    for name, figure in processed.items()
                ),
            ],
        }
    ]


def _frames_table(frames: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if not frames:
        return []
    return [
        {
            "title": "Frames",
            "text": "Share of the same images whose most probable class is another one when the "
            "radiograph shows more or less around the lungs, over all and at the sources where "
            "most are.",
            "columns": ["", "all", "most, and where"],
            "rows": [
                [
                    name,
                    with_interval(figure["value"], figure.get("interval")),
                    "{1:.3f} ({0})".format(*max(figure["sources"].items(), key=lambda x: x[1])),
                ]
                for name, figure in frames.items()
            ],
        }
    ]


def test_tables(block: dict[str, Any]) -> dict[str, Any]:
    """One evaluation as rows of text."""
    intervals = block.get("intervals", {})
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy (mean sensitivity)",
        "ece": "expected calibration error",
        "abstained": 'share answered with "not sure"',
        "rejected": "share found out of distribution",
    }
    overall = [_row(label, block.get(key), intervals.get(key)) for key, label in names.items()]
    answered = block.get("answered") or {}
    for key in ("accuracy", "balanced_accuracy"):
        overall.append(
            _row(
                f"*answered*: {names[key]}",
                answered.get(key),
                answered.get("intervals", {}).get(key),
            )
        )
    classes = [
        {
            "name": name,
            "n": row.get("n", ""),
            "sensitivity": with_interval(
                row.get("sensitivity"), (intervals.get("recall") or {}).get(name)
            ),
            **{key: _plain(row.get(key)) for key in ("specificity", "precision", "auroc")},
        }
        for name, row in block.get("per_class", {}).items()
    ]
    sources = [
        {
            "name": name,
            "n": part["n"],
            "balanced_accuracy": overall_text(part),
            "ece": with_interval(part.get("ece"), part.get("intervals", {}).get("ece")),
            "recall": [
                with_interval(value, (part.get("intervals", {}).get("recall") or {}).get(label))
                for label, value in part["recall"].items()
            ],
        }
        for name, part in block.get("per_source", {}).items()
    ]
    return {
        "n": block["n"],
        "groups": block.get("groups", block["n"]),
        "overall": [row for row in overall if row is not None],
        "classes": classes,
        "sources": sources,
    }


def _row(name: str, value: float | None, bounds: Sequence[float] | None) -> dict | None:
    if value is None:
        return None
    return {
        "name": name,
        "value": f"{value:.3f}",
        "interval": f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else None,
    }


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
