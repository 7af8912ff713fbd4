"""`python -m aihealth audit`: does a release look at the lungs, or at what gives the hospital away?

Shortcuts are the rule with radiographs collected class by class (DeGrave et al., "AI for
radiographic COVID-19 detection selects shortcuts over signal", Nature Machine Intelligence 2021;
Maguolo and Nanni, "A critic evaluation of methods for COVID-19 automatic detection from X-ray
images", Information Fusion 2021, who blank out the lungs as is done here).
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import images, release
from aihealth.classifier import Classifier, Prediction
from aihealth.data.lungs import outline
from aihealth.data.opening import Sample, open_test, title, without_path
from aihealth.data.parallel import in_order
from aihealth.data.tables import table
from aihealth.evaluation.corruptions import CHANGES, FRAMES, UNUSUAL
from aihealth.evaluation.evaluate import answer_all
from aihealth.evaluation.intervals import mean_interval
from aihealth.evaluation.lungs import blank, centre_mask, share_inside, swap_background
from aihealth.evaluation.metrics import SEED
from aihealth.evaluation.probes import balanced, learned, sources_from
from aihealth.files import check_output
from aihealth.upright import SET_RIGHT

# The figures that are about the class.
CLASSES_FROM = {
    "whole_image": "class from the whole image",
    "lungs_blanked": "class with the lungs blanked out",
    "lungs_blanked_scores": "the same, logistic regression on the model's scores",
    "borders_only": "class from the borders only",
    "borders_only_scores": "the same, logistic regression on the model's scores",
    "thumbnail": "class from an 8 x 8 thumbnail, logistic regression",
    "own_lungs": "background swap: class of the lungs",
    "other_surroundings": "background swap: class of the background",
}
THUMBNAIL = 8  # pixels a side


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What one image gives.

    Attributes:
        whole: (C,) probabilities for the image.
        blanked: (C,) with the lungs blanked out.
        borders: (C,) with nothing but the borders.
        features: (d,) of the whole image.
        thumbnail: (64,) grey levels.
        inside: share of the predicted class's heatmap inside the lungs; NaN without a map.
        area: share of a uniform map that would lie there; NaN without a map.
        processed: (k, C) probabilities after each of `corruptions.CHANGES`.
        rejected: (k,) bool, whether it was then found out of distribution.
        frames: (f,) bool, whether another class is the most probable after each of
            `corruptions.FRAMES`.
        unusual: (u, 3) bool, whether it is set right, warned of, or answered without a warning
            after each of `corruptions.UNUSUAL`, and as it is.
    """

    whole: np.ndarray
    blanked: np.ndarray
    borders: np.ndarray
    features: np.ndarray
    thumbnail: np.ndarray
    inside: float
    area: float
    processed: np.ndarray
    rejected: np.ndarray
    frames: np.ndarray
    unusual: np.ndarray


def audit(
    model: str,
    data: str,
    *,
    split: str = "test",
    revision: str | None = None,
    out: str | None = None,
) -> dict[str, Any]:
    """Look for shortcuts in what a release does on a data set.

    Args:
        model: release folder or repo id.
        data: as for `evaluate.evaluate`.
        split: of a prepared dataset or a repo.
        revision: of the model's repo.
        out: folder for `audit.json`, created where it does not exist.

    Returns:
        JSON-ready: dataset, model_sha256 (`release.model_digest`),
        n, groups, unreadable, chance; `classes_from` with `whole_image`,
        `lungs_blanked`, `borders_only` (the release's answers; `..._scores`, what logistic
        regression on its scores finds there, cross-validated by group: answers that are
        nearly all of one class score as chance whatever the scores still know), `thumbnail`
        (logistic regression on 8 x 8 pixels) and, where there are two classes, for the lungs
        of each image before the background of an image of another class, `own_lungs` and
        `other_surroundings`: how often the answer is the class of the one or of the other;
        `sources_from` with `features`
        (logistic regression on the release's features, cross-validated by group) and `class`
        (the source in which the true class is most frequent: what the labels alone give away),
        None with fewer than two sources; `map_inside_lungs`; `processed`, the release's answers
        after each of `corruptions.CHANGES`, with `rejected`, the share found out of distribution;
        `frames`, the share whose most probable class another frame changes, per source too;
        `unusual`, after each of `corruptions.UNUSUAL` and as they are, the shares set right
        (`set_right`), answered with any warning or rejected (`noticed`), and answered with a class
        and no warning (`silent`). Each but the last holds `value` (balanced accuracy, or the
        share) and `interval` (95%, bootstrap by group).

    Raises:
        UserError: as for `evaluate.evaluate`.
    """
    if out:
        check_output(out)
    classifier = Classifier.from_pretrained(model, revision=revision, num_threads=1)
    samples, _ = open_test(data, classifier.classes, split)
    size = classifier.config.input_size
    centre = centre_mask(size)

    def best(answer: Prediction) -> str:
        return max(answer.probabilities, key=answer.probabilities.get)

    def noticed(answer: Prediction) -> tuple[bool, bool, bool]:
        said = answer.warning or not answer.is_chest_radiograph
        set_right = SET_RIGHT in (answer.warning or "")
        return set_right, bool(said), answer.label is not None and not said

    def answers_to(changes: dict[str, Callable], pixels: np.ndarray) -> list[Prediction]:
        return [classifier.predict(change(pixels)) for change in changes.values()]

    def look(image: bytes) -> _Answer:
        large = images.prepare(image, 2 * size)  # A border that is cut off costs no detail.
        as_it_is = classifier.predict(large)
        pixels = images.prepare(image, size)
        lungs = outline(pixels)
        whole = classifier.outputs(pixels)
        called = int(whole["probabilities"].argmax())
        inside, area = share_inside(whole.get("heatmaps"), called, lungs)
        changed = answers_to(CHANGES, pixels)
        return _Answer(
            whole["probabilities"],
            classifier.outputs(blank(pixels, lungs))["probabilities"],
            classifier.outputs(blank(pixels, centre))["probabilities"],
            whole["features"],
            images.prepare(pixels, THUMBNAIL).ravel(),
            inside,
            area,
            np.array([list(answer.probabilities.values()) for answer in changed]),
            np.array([not answer.is_chest_radiograph for answer in changed]),
            np.array([best(framed) != best(as_it_is) for framed in answers_to(FRAMES, large)]),
            np.array([noticed(one) for one in (*answers_to(UNUSUAL, large), as_it_is)]),
        )

    read, answers, unreadable = answer_all(look, samples, "auditing")
    report = {
        "model": without_path(model),
        "revision": classifier.revision,
        "model_sha256": release.model_digest(classifier.folder),
        "dataset": title(data, split),
    }
    report |= _report(read, answers, classifier.classes)
    report["classes_from"] |= _swapped(classifier, read)
    report["unreadable"] = unreadable
    if out:
        Path(out).mkdir(parents=True, exist_ok=True)
        release.write_json(Path(out) / release.AUDIT, report)
    return report


def _report(
    samples: Sequence[Sample], answers: Sequence[_Answer], classes: Sequence[str]
) -> dict[str, Any]:
    labels = np.array([sample.label for sample in samples])
    groups = np.array([sample.group for sample in samples])
    sources = np.array([sample.source for sample in samples])

    def stacked(name: str) -> np.ndarray:
        return np.stack([getattr(answer, name) for answer in answers])

    inside, area = stacked("inside"), stacked("area")
    processed, rejected = stacked("processed"), stacked("rejected")
    frames, unusual = stacked("frames"), stacked("unusual")
    return {
        "n": len(labels),
        "groups": len(np.unique(groups)),
        "chance": round(1 / len(np.unique(labels)), 6),
        "classes_from": {
            "whole_image": balanced(labels, stacked("whole").argmax(1), groups, classes),
            **_without_lungs("lungs_blanked", stacked("blanked"), labels, groups, classes),
            **_without_lungs("borders_only", stacked("borders"), labels, groups, classes),
            "thumbnail": learned(stacked("thumbnail"), labels, groups, classes),
        },
        "sources_from": sources_from(stacked("features"), labels, sources, groups),
        "map_inside_lungs": {
            "value": None if np.isnan(inside).all() else round(float(np.nanmean(inside)), 6),
            "interval": mean_interval(inside, groups),
            "uniform": None if np.isnan(area).all() else round(float(np.nanmean(area)), 6),
        },
        "processed": {
            name: balanced(labels, processed[:, index].argmax(1), groups, classes)
            | {"rejected": round(float(rejected[:, index].mean()), 6)}
            for index, name in enumerate(CHANGES)
        },
        "frames": {
            name: {
                "value": round(float(frames[:, index].mean()), 6),
                "interval": mean_interval(frames[:, index].astype(float), groups),
                "sources": {
                    str(source): round(float(frames[sources == source, index].mean()), 6)
                    for source in np.unique(sources)
                },
            }
            for index, name in enumerate(FRAMES)
        },
        "unusual": {
            name: {
                key: round(float(share), 6)
                for key, share in zip(
                    ("set_right", "noticed", "silent"), unusual[:, index].mean(0), strict=True
                )
            }
            for index, name in enumerate((*UNUSUAL, "as it is"))
        },
    }


def _without_lungs(
    name: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The release's answers for images that lack something, and what its scores still know."""
    scores = np.log(np.maximum(probabilities, 1e-12))
    return {
        name: balanced(labels, probabilities.argmax(1), groups, classes),
        f"{name}_scores": learned(scores, labels, groups, classes),
    }


def _swapped(classifier: Classifier, samples: Sequence[Sample]) -> dict[str, Any]:
    """Do answers follow the lungs, or the background? {} with a single class.

    As Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object Recognition" (ICLR
    2021), do with backgrounds.
    """
    labels = np.array([sample.label for sample in samples])
    if len(np.unique(labels)) < 2:
        return {}
    rng, everything = np.random.default_rng(SEED), np.arange(len(samples))
    others = [rng.choice(everything[labels != label]) for label in labels]
    size = classifier.config.input_size

    def look(index: int) -> int:
        own, other = (images.prepare(samples[k].read(), size) for k in (index, others[index]))
        mixed = swap_background(own, outline(own), other, outline(other))
        outputs = classifier.outputs(mixed)
        return int(outputs["probabilities"].argmax())

    called = np.array(list(in_order(look, everything, "swapping backgrounds")))
    groups = np.array([sample.group for sample in samples])
    return {
        "own_lungs": balanced(labels, called, groups, classifier.classes),
        "other_surroundings": balanced(labels[others], called, groups, classifier.classes),
    }


# === For the terminal ===


def render(report: dict[str, Any]) -> str:
    """Show a report: a line per question."""
    classes, sources = report["classes_from"], report["sources_from"] or {}
    maps = report["map_inside_lungs"]
    chance = f"chance {report['chance']:.1%}"
    lines = [
        *((text, classes[name], chance) for name, text in CLASSES_FROM.items() if name in classes),
    ]
    if sources:
        chance = f"chance {sources['chance']:.1%}"
        lines += [
            ("source from the model's features", sources["features"], chance),
            ("source from the true class alone", sources["class"], chance),
        ]
    if maps["value"] is not None:
        lines.append(("heatmap inside the lungs", maps, f"uniform {maps['uniform']:.1%}"))
    for name, figure in report["processed"].items():
        lines.append((f"class, {name}", figure, f"out of distribution {figure['rejected']:.1%}"))
    rows = [(name, *_cells(figure), reference) for name, figure, reference in lines]
    head = f"{report['dataset']}, {report['n']} images: balanced accuracy, and share of the map"
    return f"{head}\n{table(['', 'value', '95% interval', 'against'], rows)}"


def _cells(figure: dict[str, Any] | None) -> tuple[str, str]:
    if figure is None or figure["value"] is None:
        return "-", "too few groups"
    bounds = figure["interval"]
    return f"{figure['value']:.1%}", f"{bounds[0]:.1%} to {bounds[1]:.1%}" if bounds else "-"
