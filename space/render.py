"""HTML of the page's parts: pure functions of an answer and a language.

The HTML itself is in `templates/`; Jinja escapes whatever comes from outside (file names, class
names, sentences of a release).
"""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import overlay
import texts
from batch import Row
from huggingface_hub.constants import ENDPOINT
from startup import Served, short_revision
from texts import number, percent, say

from aihealth import Prediction
from aihealth.release import METRICS, ReleaseConfig, read_json

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def viewer(prediction: Prediction, language: str) -> str:
    """The film with its evidence maps and controls; all of it works in the browser alone.

    No map is offered for what does not look like a chest radiograph: it would mean nothing.
    """
    height, width = prediction.pixels.shape
    maps = {}
    if prediction.is_chest_radiograph and prediction.heatmaps is not None:
        pairs = zip(prediction.probabilities, prediction.heatmaps, strict=True)
        maps = {name: overlay.map_url(heatmap) for name, heatmap in pairs}
    return _fill(
        "viewer.html",
        language,
        film=overlay.film_url(prediction.pixels),
        maps=maps,
        top=top_class(prediction),
        width=width,
        height=height,
    )


def answer(prediction: Prediction, config: ReleaseConfig, language: str) -> str:
    """What the model says, or why it says nothing."""
    return _fill(
        "answer.html",
        language,
        prediction=prediction,
        top=top_class(prediction),
        limit=percent(config.abstain_below, language, 1),
        warning=texts.reason(prediction.warning, language),
        score=number(f"{prediction.ood_score:.2f}", language),
        farthest=number(f"{config.ood_threshold or 0:.2f}", language),
    )


def refusal(reason: str, language: str) -> str:
    """Why a file cannot be used."""
    return _fill("refusal.html", language, reason=texts.reason(reason, language))


def trust(served: Served, language: str) -> str:
    """What a reader should know before the first answer: model, data, figures, and its limits."""
    classifier = served.classifier
    if classifier is None:
        return _fill("problem.html", language, problem=served.problem)
    config = classifier.config
    metrics = read_json(classifier.folder / METRICS, missing="") if _has_metrics(served) else {}
    on_hub = served.origin in ("hub", "cache")
    return _fill(
        "trust.html",
        language,
        name=served.name,
        version=config.version,
        revision=short_revision(classifier.revision),
        link=f"{ENDPOINT}/{served.name}/blob/{classifier.revision}/README.md" if on_hub else None,
        sources=config.sources,
        drawn=config.drawn_data,
        known=figures(metrics.get("test"), language),
        unknown=[f"{block['dataset']}: {figures(block, language)}" for block in _others(metrics)],
        note=say(f"origin_{served.origin}", language)
        if served.origin in ("cache", "shipped") and served.problem
        else None,
    )


def table(
    rows: list[Row], classes: list[str], language: str, warning: str | None = None, csv: str = ""
) -> str:
    """The answers of a batch, one row an image, with the CSV as a link.

    Args:
        rows: of the images.
        classes: of the release.
        language: "en" or "fr".
        warning: what the reader should know of the images as a whole.
        csv: address of the same rows as CSV.
    """
    shown = [_table_row(row, classes, language) for row in rows]
    states = Counter(row["state"] for row in shown)
    return _fill(
        "table.html",
        language,
        rows=shown,
        classes=classes,
        warning=texts.reason(warning, language),
        csv=csv,
        counts={name: states[name] for name in ("answered", "unsure", "turned_away", "failed")},
    )


def _table_row(row: Row, classes: list[str], language: str) -> dict[str, Any]:
    answer = row.prediction
    if answer is None:
        state, text, note = "failed", say("unreadable_short", language), row.error
    elif not answer.is_chest_radiograph:
        state, text, note = "turned_away", say("no_chest_short", language), answer.warning
    elif answer.abstained:
        state, text, note = "unsure", say("not_sure_short", language), answer.warning
    else:
        state, text, note = "answered", answer.label, answer.warning
    with_figures = state in ("answered", "unsure")
    return {
        "name": row.name,
        "state": state,
        "answer": text,
        "note": texts.reason(note, language),
        "numbers": [answer.probabilities[name] if with_figures else None for name in classes],
        "thumbnail": overlay.film_url(answer.pixels) if answer else None,
    }


def figures(block: dict[str, Any] | None, language: str) -> str | None:
    """One line of a block of `metrics.json`, with its 95% intervals; None without a block."""
    if not block or block.get("accuracy") is None:
        return None
    shown = {}
    for key, name in (("accuracy", "accuracy"), ("balanced", "balanced_accuracy")):
        value = percent(block[name], language, 1)
        low, high = block.get("intervals", {}).get(name) or (None, None)
        if low is not None:
            low, high = (percent(bound, language, 1) for bound in (low, high))
            value = say("interval", language, value=value, low=low, high=high)
        shown[key] = value
    return say("figures", language, n=block["n"], **shown)


def _others(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Blocks of `metrics.json` beside the test split: sources that were left out of training."""
    return [
        block
        for name, block in metrics.items()
        if name != "test" and isinstance(block, dict) and block.get("accuracy") is not None
    ]


def top_class(prediction: Prediction) -> str:
    """The most probable class, also where the model gives no answer."""
    return max(prediction.probabilities, key=prediction.probabilities.__getitem__)


def page_part(name: str, language: str, **values: Any) -> str:
    """A part of the page that depends on no answer."""
    return _fill(f"{name}.html", language, **values)


def hint(key: str, language: str) -> str:
    """A quiet line of text over a part of the page."""
    return _fill("hint.html", language, key=key)


def _has_metrics(served: Served) -> bool:
    return (served.classifier.folder / METRICS).is_file()


def _fill(template: str, language: str, **values: Any) -> str:
    def text(key: str, **filled: Any) -> jinja2.utils.markupsafe.Markup:
        return jinja2.utils.markupsafe.Markup(say(key, language, **filled))

    page = _templates.get_template(template)
    return page.render(
        t=text, percent=partial(percent, language=language), language=language, **values
    )
