"""`python -m aihealth audit`: does a release look at the lungs, or at what gives the hospital away?

Shortcuts are the rule with radiographs collected class by class (DeGrave et al., "AI for
radiographic COVID-19 detection selects shortcuts over signal", Nature Machine Intelligence 2021;
Maguolo and Nanni, "A critic evaluation of methods for COVID-19 automatic detection from X-ray
images", Information Fusion 2021, who blank out the lungs as is done here).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aihealth import images, release
from aihealth.classifier import Classifier
from aihealth.data.parallel import in_order
from aihealth.data.tables import table
from aihealth.evaluation import corruptions
from aihealth.evaluation.evaluate import (
    Sample,
    answer_all,
    check_output,
    find_samples,
    title,
    without_path,
)
from aihealth.evaluation.intervals import mean_interval
from aihealth.evaluation.metrics import SEED, evaluate_predictions

# The figures that are about the class.
CLASSES_FROM = {
    "whole_image": "class from the whole image",
    "lungs_blanked": "class with the lungs blanked out",
    "lungs_blanked_scores": "the same, logistic regression on the model's three scores",
    "borders_only": "class from the borders only",
    "borders_only_scores": "the same, logistic regression on the model's three scores",
    "thumbnail": "class from an 8 x 8 thumbnail, logistic regression",
    "own_lungs": "background swap: class of the lungs",
    "other_surroundings": "background swap: class of the background",
}
FOLDS = 5
THUMBNAIL = 8  # pixels a side

BORDER = 0.125  # of each side: what "only the borders" keeps


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What one image gives.

    Attributes:
        whole: (C,) probabilities for the image.
        blanked: (C,) with the lungs blanked out.
        borders: (C,) with nothing but the borders.
        features: (d,) of the whole image.
        thumbnail: (64,) grey levels.
        inside: share of the predicted class's activation map inside the lungs; NaN without a map.
        area: share of a uniform map that would lie there; NaN without a map.
        processed: (k, C) probabilities after each of `processing.CHANGES`.
        rejected: (k,) bool, whether it was then turned away as no chest radiograph.
        frames: (f,) bool, whether another class is the most probable after each of
            `corruptions.FRAMES`.
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


def audit(
    model: str,
    data: str,
    *,
    split: str = "test",
    revision: str | None = None,
    token: str | None = None,
    out: str | None = None,
) -> dict[str, Any]:
    """Look for shortcuts in what a release does on a data set.

    Args:
        model: release folder or repo id.
        data: as for `aihealth.evaluate.evaluate`.
        split: of a prepared dataset or a repo.
        revision: of the model's repo.
        token: for the model's repo.
        out: folder for `audit.json`, created where it does not exist.

    Returns:
        JSON-ready: dataset, model_sha256 (`release.model_digest`),
        n, groups, unreadable, chance; `classes_from` with `whole_image`,
        `lungs_blanked`, `borders_only` (the release's answers; `..._scores`, what logistic
        regression on its three scores finds there, cross-validated by group: answers that are
        nearly all of one class score as chance whatever the scores still know), `thumbnail`
        (logistic regression on 8 x 8 pixels) and, where there are two classes, for the lungs
        of each image in the surroundings of an image of another class, `own_lungs` and
        `other_surroundings`: how often the answer is the class of the one or of the other;
        `sources_from` with `features`
        (logistic regression on the release's features, cross-validated by group) and `class`
        (the source in which the true class is most frequent: what the labels alone give away),
        None with
        fewer than two sources; `map_inside_lungs`; `processed`, the release's answers after each
        of `processing.CHANGES`, with `rejected`, the share turned away; `frames`, the share whose
        most probable class another frame changes, per source too. Each holds `value`
        (balanced accuracy, or the share) and `interval` (95%, bootstrap by group).

    Raises:
        UserError: as for `aihealth.evaluate.evaluate`.
    """
    if out:
        check_output(out)
    classifier = Classifier.from_pretrained(model, revision=revision, token=token, num_threads=1)
    samples = find_samples(data, classifier.classes, split)
    size = classifier.config.input_size
    lungs, centre = lung_mask(size), centre_mask(size)

    framings = corruptions.FRAMES.values()

    def best(pixels: np.ndarray) -> int:
        return int(classifier.outputs(pixels)["probabilities"].argmax())

    def look(image: images.ImageLike) -> _Answer:
        pixels = images.prepare(image, size)
        whole = classifier.outputs(pixels)
        called = int(whole["probabilities"].argmax())
        inside, area = _share_inside(whole.get("heatmaps"), called)
        changed = [classifier.predict(change(pixels)) for change in corruptions.CHANGES.values()]
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
            np.array([best(change(pixels)) != called for change in framings]),
        )

    read, answers, unreadable = answer_all(look, samples, "auditing")
    report = {
        "model": without_path(model),
        "revision": classifier.revision,
        "model_sha256": release.model_digest(classifier.folder),
        "dataset": title(data, split),
    }
    report |= _report(read, answers, classifier.classes)
    report["classes_from"] |= _exchanged(classifier, read)
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
    frames = stacked("frames")
    return {
        "n": len(labels),
        "groups": len(np.unique(groups)),
        "chance": round(1 / len(np.unique(labels)), 6),
        "classes_from": {
            "whole_image": _balanced(labels, stacked("whole").argmax(1), groups, classes),
            **_without_lungs("lungs_blanked", stacked("blanked"), labels, groups, classes),
            **_without_lungs("borders_only", stacked("borders"), labels, groups, classes),
            "thumbnail": learned(stacked("thumbnail"), labels, groups, classes),
        },
        "sources_from": _sources(stacked("features"), labels, sources, groups),
        "map_inside_lungs": {
            "value": None if np.isnan(inside).all() else round(float(np.nanmean(inside)), 6),
            "interval": mean_interval(inside, groups),
            "uniform": None if np.isnan(area).all() else round(float(np.nanmean(area)), 6),
        },
        "processed": {
            name: _balanced(labels, processed[:, index].argmax(1), groups, classes)
            | {"rejected": round(float(rejected[:, index].mean()), 6)}
            for index, name in enumerate(corruptions.CHANGES)
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
            for index, name in enumerate(corruptions.FRAMES)
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
        name: _balanced(labels, probabilities.argmax(1), groups, classes),
        f"{name}_scores": learned(scores, labels, groups, classes),
    }


def _exchanged(classifier: Classifier, samples: Sequence[Sample]) -> dict[str, Any]:
    """Do answers follow the lungs, or what is around them? {} with a single class.

    As Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object Recognition" (ICLR
    2021), do with backgrounds.
    """
    labels = np.array([sample.label for sample in samples])
    if len(np.unique(labels)) < 2:
        return {}
    rng, everything = np.random.default_rng(SEED), np.arange(len(samples))
    others = [rng.choice(everything[labels != label]) for label in labels]
    size = classifier.config.input_size
    lungs = lung_mask(size)

    def look(index: int) -> int:
        pair = (images.prepare(samples[k].open(), size) for k in (index, others[index]))
        outputs = classifier.outputs(corruptions.surround(*pair, lungs))
        return int(outputs["probabilities"].argmax())

    called = np.array(list(in_order(look, everything, "exchanging")))
    groups = np.array([sample.group for sample in samples])
    return {
        "own_lungs": _balanced(labels, called, groups, classifier.classes),
        "other_surroundings": _balanced(labels[others], called, groups, classifier.classes),
    }


# === Masks ===


def lung_mask(size: int) -> np.ndarray:
    """(size, size) bool, True where `processing.LUNGS` lie."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    mask = np.zeros((size, size), bool)
    for cx, cy, rx, ry in corruptions.LUNGS:
        mask |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    return mask


def centre_mask(size: int) -> np.ndarray:
    """(size, size) bool, True everywhere but in the outer `BORDER` of each side."""
    mask = np.zeros((size, size), bool)
    edge = round(BORDER * size)
    mask[edge : size - edge, edge : size - edge] = True
    return mask


def blank(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paint over what a mask covers, with the mean of the rest: nothing of it shines through.

    Args:
        pixels: uint8 (h, w).
        mask: bool (h, w).
    """
    return np.where(mask, np.uint8(round(float(pixels[~mask].mean()))), pixels)


def _share_inside(maps: np.ndarray | None, index: int) -> tuple[float, float]:
    """Share of one class's positive evidence inside the lungs, and of a uniform map there."""
    if maps is None:
        return float("nan"), float("nan")
    evidence = np.maximum(maps[index], 0)
    total = float(evidence.sum())
    height, width = evidence.shape
    fine = Image.fromarray(lung_mask(256).astype(np.float32))
    cover = np.asarray(fine.resize((width, height), Image.Resampling.BOX))  # share of each cell
    inside = float((evidence * cover).sum()) / total if total > 0 else float("nan")
    return inside, float(cover.mean())


# === What can be learned from a few numbers ===


def learned(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> dict[str, Any] | None:
    """How well logistic regression tells labels from features, never within a group.

    Args:
        features: (n, d).
        labels: (n,) integers below len(names).
        groups: (n,) cross-validation keeps each on one side.
        names: of the labels.

    Returns:
        value and interval, the balanced accuracy over `FOLDS` folds; None where a label is in too
        few groups to be held out.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    present = np.unique(labels)
    folds = min(FOLDS, *(len(np.unique(groups[labels == label])) for label in present))
    if len(present) < 2 or folds < 2:
        return None
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    called = cross_val_predict(
        model, features.astype(np.float64), labels, groups=groups, cv=splitter
    )
    return _balanced(labels, called, groups, names)


def _sources(
    features: np.ndarray, labels: np.ndarray, sources: np.ndarray, groups: np.ndarray
) -> dict[str, Any] | None:
    names, index = np.unique(sources, return_inverse=True)
    if len(names) < 2:
        return None
    sizes = np.bincount(index)  # Sources weigh alike in balanced accuracy, so they do here.
    usual = {
        label: (np.bincount(index[labels == label], minlength=len(names)) / sizes).argmax()
        for label in np.unique(labels)
    }
    guessed = np.array([usual[label] for label in labels])
    return {
        "sources": names.tolist(),
        "chance": round(1 / len(names), 6),
        "features": learned(features, index, groups, names),
        "class": _balanced(index, guessed, groups, names),
    }


def _balanced(
    labels: np.ndarray, called: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    names = [str(name) for name in names]
    block = evaluate_predictions(labels, np.eye(len(names))[called], names, groups=groups)
    return {
        "value": block["balanced_accuracy"],
        "interval": block["intervals"]["balanced_accuracy"],
        "recall": block["recall"],
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
        lines.append(("activation map inside the lungs", maps, f"uniform {maps['uniform']:.1%}"))
    for name, figure in report["processed"].items():
        lines.append((f"class, {name}", figure, f"turned away {figure['rejected']:.1%}"))
    rows = [(name, *_cells(figure), reference) for name, figure, reference in lines]
    head = f"{report['dataset']}, {report['n']} images: balanced accuracy, and share of the map"
    return f"{head}\n{table(['', 'value', '95% interval', 'against'], rows)}"


def _cells(figure: dict[str, Any] | None) -> tuple[str, str]:
    if figure is None or figure["value"] is None:
        return "-", "too few groups"
    bounds = figure["interval"]
    return f"{figure['value']:.1%}", f"{bounds[0]:.1%} to {bounds[1]:.1%}" if bounds else "-"
