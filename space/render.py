"""What the page shows of answers: pure functions of an answer and a language.

The HTML itself is in `templates/`; Jinja escapes whatever comes from outside (file names, class
names, sentences of a release).
"""

import base64
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pictures
import texts
from batch import Row
from reliability import Reliability
from startup import Served, card_link, short_revision
from texts import class_name, number, percent, say

from aihealth import Prediction
from aihealth.release import ReleaseConfig

DRAWN = "drawn-"  # names of examples that docs/examples.py drew
SHORT_NAME = 40  # characters of a file's name that a row shows

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def picture(
    prediction: Prediction, language: str, model: str, stored: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What viewer.js takes: the radiograph, its heatmaps, and lines for an export.

    No heatmap is offered for what does not look like a chest radiograph: it would mean nothing.

    Args:
        prediction: with pixels and heatmaps.
        language: "en" or "fr".
        model: its name and revision.
        stored: what `pictures.stored` gives.
    """
    height, width = prediction.pixels.shape
    maps: dict[str, Any] = {"of": {}}
    if prediction.is_chest_radiograph and prediction.heatmaps is not None:
        names = list(prediction.probabilities)
        grids = [_bytes(heatmap) for heatmap in prediction.heatmaps]
        maps = {
            "side": prediction.heatmaps.shape[1:],
            "of": dict(zip(names, grids, strict=True)),
        }
    shares = _shares(prediction, language)
    figures = {name: percent(value, language) for name, value in shares}
    shown = prediction.is_chest_radiograph
    return {
        "film": pictures.film_url(prediction.pixels),
        "size": [width, height],
        "alt": say("image_alt", language, width=width, height=height),
        **(stored or {}),
        "maps": maps,
        "top": top_class(prediction),
        "mapShown": prediction.label is not None,
        "names": {name: class_name(name, language) for name in prediction.probabilities},
        "percents": figures if shown else {},
        "model": model,
        "lines": [
            verdict(prediction, language),
            *([", ".join(f"{name} {value}" for name, value in figures.items())] if shown else []),
        ],
    }


def verdict(prediction: Prediction, language: str) -> str:
    """The answer in a few words."""
    if not prediction.is_chest_radiograph:
        return say("not_chest", language)
    if prediction.abstained:
        return say("not_sure", language)
    return f"{say('most_like', language)} {class_name(prediction.label, language)}"


def answer(
    prediction: Prediction, config: ReleaseConfig, reliability: Reliability, language: str
) -> str:
    """What the model says, or why it says nothing, and how often such an answer is right."""
    limit = config.ood_threshold
    return _fill(
        "answer.html",
        language,
        prediction=prediction,
        label=class_name(prediction.label or "", language),
        shares=_shares(prediction, language),
        honest=reliability.sentence(prediction.label, language),
        limit=percent(config.abstain_below, language, 1),
        warning=texts.reason(prediction.warning, language),
        score=number(f"{prediction.ood_score:.2f}", language),
        farthest=None if limit is None else number(f"{limit:.2f}", language),
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
    reliability = served.reliability
    return _fill(
        "trust.html",
        language,
        name=served.name,
        version=config.version,
        revision=short_revision(classifier.revision),
        link=card_link(served),
        sources=[texts.source_name(source, language) for source in config.sources or ()],
        drawn=config.drawn_data,
        known=reliability.plain("known", language),
        unknown=reliability.plain("unknown", language),
        figures=reliability.details(language),
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
        csv: the same rows as CSV.
    """
    shown = [_table_row(row, classes, language) for row in rows if not row.left_out]
    states = Counter(row["state"] for row in shown)
    left_out: dict[str, list[str]] = {}
    for row in rows:
        if row.left_out:
            left_out.setdefault(texts.reason(row.error, language), []).append(row.name)
    return _fill(
        "table.html",
        language,
        rows=shown,
        classes=[class_name(name, language) for name in classes],
        warning=texts.reason(warning, language),
        # A byte order mark makes spreadsheets read it as UTF-8; no file is left on the server.
        csv=pictures.data_url("text/csv;charset=utf-8", csv.encode("utf-8-sig")),
        counts={name: states[name] for name in ("answered", "unsure", "turned_away", "failed")},
        left_out=left_out,
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
        state, text, note = "answered", class_name(answer.label, language), answer.warning
    with_figures = state in ("answered", "unsure")
    values = [answer.probabilities[name] for name in classes] if with_figures else []
    return {
        "name": row.name,
        "short": middle_cut(row.name),
        "upload": row.upload,
        "state": state,
        "answer": text,
        "note": texts.reason(note, language),
        "numbers": texts.percents(values) if values else [None] * len(classes),
        "thumbnail": pictures.film_url(answer.pixels) if answer else None,
    }


def middle_cut(name: str, most: int = SHORT_NAME) -> str:
    """A name that keeps its beginning and its end: what tells files apart is often last."""
    if len(name) <= most:
        return name
    return f"{name[: most - most // 2 - 1]}…{name[-(most // 2) :]}"


def top_class(prediction: Prediction) -> str:
    """The most probable class, also where the model gives no answer."""
    return max(prediction.probabilities, key=prediction.probabilities.__getitem__)


def header(served: Served, language: str, *, local: bool = False) -> str:
    """The page's first words; the arguments are those of `parts`."""
    classifier = served.classifier
    drawn = classifier is not None and classifier.config.drawn_data
    return page_part("header", language, drawn=drawn, local=local)


def parts(
    served: Served, language: str, examples: list[Path], *, local: bool = False
) -> dict[str, str]:
    """The parts of the page below its header that depend on no answer: one, many, footer, trust.

    Args:
        served: the model.
        language: "en" or "fr".
        examples: images that are offered.
        local: the model runs in the browser, and nothing is sent.
    """
    trusted = trust(served, language)
    classifier = served.classifier
    classes = classifier.classes if classifier else []
    values: dict[str, dict[str, Any]] = {
        "one": {
            "trust": trusted,
            "classes": {name: class_name(name, language) for name in classes},
            "examples": [(path.name, *_names(path, language)) for path in examples],
            "drawn_examples": all(path.name.startswith(DRAWN) for path in examples),
        },
        "many": {},
        "footer": {},
    }
    return {
        **{key: page_part(key, language, local=local, **how) for key, how in values.items()},
        "trust": trusted,
    }


def _names(path: Path, language: str) -> tuple[str, str]:
    """An example's name in links, and as people read it: "drawn-2-Covid.png" is "Covid"."""
    name = path.stem.split("-", 2)[-1] if path.name.startswith(DRAWN) else path.stem
    key = name.lower()
    return name, say(key, language) if key == "hand" else class_name(name, language)


def page_part(name: str, language: str, **values: Any) -> str:
    """A part of the page that depends on no answer."""
    return _fill(f"{name}.html", language, **values)


def _shares(prediction: Prediction, language: str) -> list[tuple[str, float]]:
    names = [class_name(name, language) for name in prediction.probabilities]
    values = texts.percents(list(prediction.probabilities.values()))
    return list(zip(names, values, strict=True))


def _bytes(heatmap: np.ndarray) -> str:
    grid = np.rint(255 * heatmap.clip(0, 1)).astype(np.uint8)
    return base64.b64encode(grid.tobytes()).decode("ascii")


def _fill(template: str, language: str, **values: Any) -> str:
    def text(key: str, **filled: Any) -> jinja2.utils.markupsafe.Markup:
        return jinja2.utils.markupsafe.Markup(say(key, language, **filled))

    page = _templates.get_template(template)
    return page.render(
        t=text, percent=partial(percent, language=language), language=language, **values
    )
