"""Predictions for images of sources that a model was trained without, and the rules from them.

`python -m aihealth leave-one-source-out` makes them; the temperature and the threshold of
"not sure" of a release are right for them too, and its card shows the figures.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth.data.prepared import strata
from aihealth.errors import UserError
from aihealth.evaluation import calibration, figures, metrics
from aihealth.release import whole_file

PREDICTIONS = "held_out.npz"
CHANGED = "changed.npz"  # beside a release: predictions for changed validation images
BLOCK = "left_out"  # of metrics.json
KNOWN_ACCURACY = 0.95  # of what is answered of changed validation images
KNOWN_ABSTAINED = 0.20
TARGET_ACCURACY = 0.80  # of what is answered at a hospital that was left out
MAX_ABSTAINED = 0.30
ROWS = ("logits", "labels", "sources", "groups", "rejected")  # of `Predictions`, one row an image
RULES = ("temperatures", "thresholds", "noticed")  # the same, where they are known


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What models gave for images of sources that they were not trained on.

    Attributes:
        logits: `(n, classes)`, before any temperature.
        labels: `(n,)` integers, index into `classes`.
        sources: `(n,)` names.
        groups: `(n,)` names; near-duplicates and images of one patient share one.
        rejected: `(n,)` bool, found out of distribution.
        classes: class names.
        recipe: how the models were trained, for people.
        temperatures: `(n,)` to divide the logits by, the same for all images of a source; None
            where nobody has chosen them yet.
        thresholds: `(n,)` the probability, 0..1, under which the answer is "not sure"; the same.
        noticed: `(n,)` how often 20 images of the source, taken together, show a distribution shift
            (`Classifier.shift`), 0..1; the same for all of a source, NaN where it has too few.
        neither: per source that has images of `--neither`, what a model that has not seen the
            source gives for them; see `leave_one_source_out.neither_of`.
    """

    logits: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    groups: np.ndarray
    rejected: np.ndarray
    classes: np.ndarray
    recipe: str = ""
    temperatures: np.ndarray | None = None
    thresholds: np.ndarray | None = None
    noticed: np.ndarray | None = None
    neither: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write `held_out.npz`."""
        fields = dataclasses.asdict(self) | {"neither": json.dumps(self.neither)}
        with whole_file(path, "wb") as file:
            np.savez_compressed(file, **{name: x for name, x in fields.items() if x is not None})

    @classmethod
    def load(cls, path: str | Path) -> "Predictions":
        """Read `held_out.npz`.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                # Files before 2026-11-23 have no recipe, those before 2026-11-26 no `neither`.
                recipe, neither = (str(arrays.get(name, "")) for name in ("recipe", "neither"))
                rules = {name: arrays[name] for name in RULES if name in arrays}
                rows = {name: arrays[name] for name in (*ROWS, "classes")}
                return cls(**rows, **rules, recipe=recipe, neither=json.loads(neither or "{}"))
        except FileNotFoundError as error:
            raise UserError(
                f"{path} does not exist; `python -m aihealth leave-one-source-out` writes it"
            ) from error
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files.
            raise UserError(
                f"{path} is no file of `python -m aihealth leave-one-source-out`"
            ) from error

    @classmethod
    def join(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """The predictions of all folds."""
        known = [name for name in RULES if all(getattr(part, name) is not None for part in parts)]
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (*ROWS, *known)
        }
        recipes = sorted({part.recipe for part in parts} - {""})
        if len({text.rpartition(" ")[0] for text in recipes}) == 1:  # only the epochs differ
            recipes[1:] = [text.rpartition(" ")[2] for text in recipes[1:]]
        recipe = "; ".join(recipes)
        neither = {source: found for part in parts for source, found in part.neither.items()}
        return cls(**arrays, classes=parts[0].classes, recipe=recipe, neither=neither)

    def subset(self, keep: np.ndarray) -> "Predictions":
        """The images that a boolean mask names, and `neither` of their sources."""
        kept: dict[str, Any] = {name: getattr(self, name)[keep] for name in ROWS}
        names = set(kept["sources"].tolist())
        kept["neither"] = {name: found for name, found in self.neither.items() if name in names}
        return dataclasses.replace(self, **kept, **dict.fromkeys(RULES))

    def weights(self) -> np.ndarray:
        """`(n,)`: every pair of class and source counts alike."""
        numbers = strata(self.labels, self.sources)
        return 1.0 / np.bincount(numbers)[numbers]

    def probabilities(self, temperature: float | np.ndarray = 1.0) -> np.ndarray:
        """`(n, classes)` at a temperature, or at one for each row."""
        scaled = self.logits / temperature
        scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return scaled / scaled.sum(axis=1, keepdims=True)


def temperature(changed: Predictions | None, unseen: Predictions | None) -> float:
    """The temperature, 1 or more, that is right for known hospitals and for those left out.

    Args:
        changed: a model's predictions for validation images that were changed as in training.
        unseen: predictions at sources that were left out; they weigh as much. One of the two.

    Returns:
        1 where the predictions are not too sure: they never become surer than the network's own.
    """
    parts = [part for part in (changed, unseen) if part is not None]
    weights = [part.weights() / part.weights().sum() for part in parts]
    fitted = calibration.temperature_scale(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(weights),
    )
    return max(1.0, fitted)


def abstention(
    changed: Predictions | None, unseen: Predictions | None, temperature: float
) -> tuple[float, str]:
    """Choose the probability under which the classifier answers "not sure".

    On changed images, as for the temperature: on images as they are nearly every answer is right,
    and the threshold would be too low for another hospital's.

    Args:
        changed: as for `temperature`.
        unseen: as for `temperature`; the higher of both thresholds is taken.
        temperature: what the logits are divided by.

    Returns:
        The threshold, and a sentence that says how it was chosen.
    """
    known = "predictions for validation images that were changed as in training", "right"
    left_out = "images of sources that training left out", "right there"
    found = []
    for predictions, accuracy, abstained, (what, right) in (
        (changed, KNOWN_ACCURACY, KNOWN_ABSTAINED, known),
        (unseen, TARGET_ACCURACY, MAX_ABSTAINED, left_out),
    ):
        if predictions is None:
            continue
        probability = predictions.probabilities(temperature)
        correct = probability.argmax(1) == predictions.labels
        confidence = probability.max(1)
        least = calibration.choose_abstention(confidence, correct, accuracy, abstained)
        reached = correct[confidence >= least].mean()
        if reached >= accuracy:
            rule = f"the lowest probability at which {accuracy:.0%} of the answers are {right}."
        else:
            rule = (
                f"{accuracy:.0%} of the answers {right} was asked for; leaving no more than "
                f"{abstained:.0%} unanswered, {reached:.1%} is the most there is."
            )
        found.append((round(least, 4), f"Chosen on {len(predictions.labels)} {what}: {rule}"))
    return max(found, key=lambda pair: pair[0])


def with_rules(predictions: Predictions, changed: dict[str, Predictions]) -> Predictions:
    """Add what a release of each fold's model would have: temperature and threshold.

    Both come from that model's `changed` predictions and from the other sources that were left
    out, so that no image helps to choose what it is measured with.

    Args:
        predictions: of all folds.
        changed: per source that was left out, the predictions for changed validation images.
    """
    temperatures, thresholds = np.full((2, len(predictions.labels)), np.nan)
    for name in np.unique(predictions.sources):
        here = predictions.sources == name
        others = predictions.subset(~here) if not here.all() else None
        known = changed.get(str(name))
        if known is None and others is None:
            others = predictions
        temperatures[here] = temperature(known, others)
        thresholds[here] = abstention(known, others, temperatures[here][0])[0]
    return dataclasses.replace(predictions, temperatures=temperatures, thresholds=thresholds)


def measure(predictions: Predictions) -> dict[str, Any]:
    """Figures at hospitals that were left out, with the rules of `with_rules`.

    Returns:
        A block of `metrics.json`, with `temperatures` and, before any temperature, `ece_before`,
        both per source, `ece_of_sources` (see `calibration.mean_calibration_error`), and, where
        they are known, `noticed` and `neither` per source and the `recipe` of the models.
    """
    predictions = _ruled(predictions)
    as_they_are = predictions.probabilities()
    probability = predictions.probabilities(predictions.temperatures[:, None])
    abstained = (probability.max(1) < predictions.thresholds) & ~predictions.rejected
    temperatures, before, noticed = {}, {}, {}
    for name in sorted(set(predictions.sources.tolist())):
        here = predictions.sources == name
        error = calibration.expected_calibration_error(as_they_are[here], predictions.labels[here])
        before[name] = round(error, 4)
        temperatures[name] = round(float(predictions.temperatures[here][0]), 3)
        if predictions.noticed is not None and not np.isnan(predictions.noticed[here][0]):
            noticed[name] = round(float(predictions.noticed[here][0]), 3)
    groups = np.char.add(
        np.char.add(predictions.sources.astype(str), "/"), predictions.groups.astype(str)
    )
    block = metrics.evaluate_predictions(
        predictions.labels,
        probability,
        predictions.classes.tolist(),
        groups=groups,
        sources=predictions.sources,
        rejected=predictions.rejected,
        abstained=abstained,
        dataset="each source by a model trained without it",
    )
    block |= {"temperatures": temperatures, "ece_before": before, "noticed": noticed}
    block["neither"] = predictions.neither
    block["ece_of_sources"] = calibration.mean_calibration_error(
        probability, predictions.labels, predictions.sources, groups
    )
    return block | ({"recipe": predictions.recipe} if predictions.recipe else {})


def draw(predictions: Predictions, folder: Path) -> list[Path]:
    """Draw reliability and errors against coverage of each source; returns the PNG files."""
    predictions = _ruled(predictions)
    given = predictions.probabilities(predictions.temperatures[:, None])
    return figures.write_left_out(folder, predictions.labels, given, predictions.sources)


def _ruled(predictions: Predictions) -> Predictions:
    """With temperature and threshold of each fold, where nobody has chosen them yet."""
    known = predictions.temperatures is not None and predictions.thresholds is not None
    return predictions if known else with_rules(predictions, {})
