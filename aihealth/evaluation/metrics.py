"""How good predictions are, with intervals, from arrays alone.

Every figure is computed from sums over groups of samples, so that one matrix product of resampled
group counts with these sums gives all draws of the bootstrap at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aihealth.evaluation.calibration import ECE_BINS, calibration_gaps
from aihealth.evaluation.intervals import DRAWS, MIN_GROUPS, SEED, Groups, interval, resample


def evaluate_predictions(
    y_true: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    groups: Sequence[Any] | None = None,
    sources: Sequence[str] | None = None,
    rejected: np.ndarray | None = None,
    abstained: np.ndarray | None = None,
    dataset: str = "",
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, Any]:
    """All figures of one data set, as they stand in `metrics.json`.

    The figures at the top level (and in each source) count the most probable class of **every**
    sample, also where the classifier abstained or found the image out of distribution;
    `answered` gives the same figures on the samples that were neither. `outcomes` gives per true
    class the share of each answer that a user sees.

    Args:
        y_true: (n,) integer class indices.
        probabilities: (n, C), rows sum to 1.
        classes: C names.
        groups: (n,) patients or groups of near-duplicates; each sample its own by default.
        sources: (n,) where each sample comes from; without it there is no `per_source`.
        rejected: (n,) bool, found out of distribution.
        abstained: (n,) bool, answered "not sure".
        dataset: a name for people.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        JSON-ready: dataset, n, groups, accuracy, balanced_accuracy (mean recall over the classes
        that are present), recall, ece, abstained, rejected, called (rows of the confusion matrix
        divided by their sum), outcomes, per_class (sensitivity, specificity, precision, auroc, n),
        confusion, intervals (95%, percentile bootstrap over groups; Wilson's where a share is 0 or
        1 in all of them; None with fewer than `MIN_GROUPS` groups behind the figure), answered
        (share, and the same), and per_source (the same for each). A figure that is undefined is
        None.

    Raises:
        ValueError: no sample, or shapes that do not fit each other.
    """
    if not len(y_true):
        raise ValueError("there is no sample to evaluate")
    samples = _Samples(y_true, probabilities, len(classes), groups, rejected, abstained)
    block = {"dataset": dataset, **_block(samples, list(classes), draws, seed)}
    if sources is not None:
        names = np.asarray(sources).astype(str)
        block["per_source"] = {
            name: _block(samples.subset(names == name), list(classes), draws, seed)
            for name in sorted(set(names.tolist()))
        }
    return block


def paired_bootstrap_difference(
    y_true: np.ndarray,
    probabilities: np.ndarray,
    other: np.ndarray,
    *,
    groups: Sequence[Any] | None = None,
    figure: str = "balanced_accuracy",
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, Any]:
    """How much better one model is than another on the same samples.

    Args:
        y_true: (n,) integer class indices.
        probabilities: (n, C) of the one model.
        other: (n, C) of the other.
        groups: as for `evaluate_predictions`; both models see the same resamples.
        figure: "accuracy", "balanced_accuracy" or "ece".
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        figure, n, groups, value, other, difference (value - other) and interval, the 95% interval
        of the difference (None with fewer than `MIN_GROUPS` groups).
    """
    count = np.shape(probabilities)[1]
    pair = [_Samples(y_true, p, count, groups, None, None) for p in (probabilities, other)]
    units = pair[0].groups

    def both(weights: np.ndarray) -> np.ndarray:
        return np.stack([_counted(samples, weights)[figure] for samples in pair], axis=1)

    value, reference = both(np.ones((1, units.count)))[0]
    drawn = resample(units, both, draws, seed)
    bounds = interval(drawn[:, 0] - drawn[:, 1]) if units.count >= MIN_GROUPS else None
    return {
        "figure": figure,
        "n": len(pair[0].y),
        "groups": units.count,
        "value": _number(value),
        "other": _number(reference),
        "difference": _number(value - reference),
        "interval": bounds,
    }


# === Samples ===


class _Samples:
    """Checked arrays of one data set, or of a part of it (which may be empty)."""

    def __init__(
        self,
        y_true: np.ndarray,
        probabilities: np.ndarray,
        count: int,
        groups: Sequence[Any] | None,
        rejected: np.ndarray | None,
        abstained: np.ndarray | None,
    ) -> None:
        self.y = np.asarray(y_true).astype(np.int64)
        self.p = np.asarray(probabilities, np.float64)
        n = len(self.y)
        if self.p.shape != (n, count):
            raise ValueError(f"probabilities have shape {self.p.shape}, not {(n, count)}")
        if n and (self.y.min() < 0 or self.y.max() >= count):
            raise ValueError(f"y_true has indices outside 0 to {count - 1}")
        self.rejected = _flags(rejected, n)
        self.abstained = _flags(abstained, n)
        self.groups = Groups(groups, n)

    def subset(self, keep: np.ndarray) -> "_Samples":
        return _Samples(
            self.y[keep],
            self.p[keep],
            self.p.shape[1],
            self.groups.names[keep],
            self.rejected[keep],
            self.abstained[keep],
        )


def _flags(flags: np.ndarray | None, n: int) -> np.ndarray:
    flags = np.zeros(n, bool) if flags is None else np.asarray(flags, bool)
    if flags.shape != (n,):
        raise ValueError(f"flags have shape {flags.shape}, not {(n,)}")
    return flags


# === Figures ===

Figures = dict[str, np.ndarray]  # name -> (draws,), (draws, C) or (draws, C, C)


def _figures(samples: _Samples, weights: np.ndarray) -> Figures:
    """All figures; arguments as for `_counted`."""
    return {**_counted(samples, weights), "auroc": _auroc(samples, weights)}


def _counted(samples: _Samples, weights: np.ndarray) -> Figures:
    """The figures that follow from sums over groups, for each row of weights.

    Args:
        samples: n samples in g groups.
        weights: (draws, g) how often each group is taken; a row of ones gives the sample itself.
    """
    count = samples.p.shape[1]
    eye = np.eye(count)
    truth = eye[samples.y]
    confusion = truth[:, :, None] * eye[samples.p.argmax(axis=1)][:, None, :]
    flags = np.stack([samples.abstained, samples.rejected], axis=1)
    columns = [confusion.reshape(-1, count * count), calibration_gaps(samples.p, samples.y), flags]
    sums = weights @ samples.groups.sum(np.concatenate(columns, axis=1))
    matrix, gaps, flag_sums = np.split(sums, [count**2, count**2 + ECE_BINS], axis=1)
    matrix = matrix.reshape(-1, count, count)

    n = matrix.sum(axis=(1, 2))
    hits = np.einsum("dcc->dc", matrix)
    actual, called = matrix.sum(axis=2), matrix.sum(axis=1)
    recall = _divide(hits, actual)
    missed_by_all = n[:, None] - actual - called + hits  # true negatives of each class
    return {
        "accuracy": _divide(hits.sum(axis=1), n),
        "balanced_accuracy": _divide(np.nansum(recall, axis=1), (actual > 0).sum(axis=1)),
        "recall": recall,
        "ece": _divide(np.abs(gaps).sum(axis=1), n),
        "abstained": _divide(flag_sums[:, 0], n),
        "rejected": _divide(flag_sums[:, 1], n),
        "specificity": _divide(missed_by_all, n[:, None] - actual),
        "precision": _divide(hits, called),
        "confusion": matrix,
    }


def _auroc(samples: _Samples, weights: np.ndarray) -> np.ndarray:
    """One-vs-rest area under the ROC curve, (draws, C); ties count one half."""
    areas = np.empty((len(weights), samples.p.shape[1]))
    per_sample = weights[:, samples.groups.index]
    for index in range(areas.shape[1]):
        order = np.argsort(samples.p[:, index], kind="stable")
        score, ordered = samples.p[order, index], per_sample[:, order]
        starts = np.flatnonzero(np.diff(score, prepend=np.nan) != 0)  # first of each run of ties
        positive = samples.y[order] == index
        up = np.add.reduceat(ordered * positive, starts, axis=1)
        down = np.add.reduceat(ordered * ~positive, starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        pairs = up.sum(axis=1) * down.sum(axis=1)
        areas[:, index] = _divide((up * below).sum(axis=1), pairs)
    return areas


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


# === The block of metrics.json ===


def _block(samples: _Samples, classes: list[str], draws: int, seed: int) -> dict[str, Any]:
    answered = ~(samples.rejected | samples.abstained)
    inner = samples.subset(answered)
    return {
        **_report(samples, classes, draws, seed),
        "outcomes": _outcomes(samples, classes),
        "answered": {"share": _number(answered.mean()), **_report(inner, classes, draws, seed)},
    }


def _report(samples: _Samples, classes: list[str], draws: int, seed: int) -> dict[str, Any]:
    groups = samples.groups
    point = {name: v[0] for name, v in _figures(samples, np.ones((1, groups.count))).items()}
    confusion = point["confusion"]
    report = {"n": len(samples.y), "groups": groups.count, **_tree(point, classes, _number)}
    for index, name in enumerate(classes):
        report["per_class"][name]["n"] = int(confusion[index].sum())
    called = _divide(confusion, confusion.sum(axis=1, keepdims=True))
    report["called"] = {
        name: _by_class(row, classes, _number) for name, row in zip(classes, called, strict=True)
    }
    report["confusion"] = {"classes": classes, "counts": confusion.astype(int).tolist()}
    # Few groups resampled are much alike: a narrow interval would promise certainty.
    enough = groups.count >= MIN_GROUPS
    drawn = resample(groups, lambda w: _figures(samples, w), draws, seed) if enough else point
    rows = {name: np.concatenate([drawn[name], [units]] if enough else [[units]])
            for name, units in _units(samples).items()}  # fmt: skip
    report["intervals"] = _tree(rows, classes, _interval if enough else lambda _: None)
    return report


def _units(samples: _Samples) -> dict[str, Any]:
    """How many groups are behind each figure; NaN for those that are no share of samples."""
    each = range(samples.p.shape[1])
    answer = samples.p.argmax(axis=1)

    def count(keep: np.ndarray) -> float:
        return float(len(np.unique(samples.groups.index[keep])))

    return {
        **dict.fromkeys(
            ("accuracy", "balanced_accuracy", "abstained", "rejected"), samples.groups.count
        ),
        "ece": np.nan,
        "recall": np.array([count(samples.y == index) for index in each]),
        "specificity": np.array([count(samples.y != index) for index in each]),
        "precision": np.array([count(answer == index) for index in each]),
        "auroc": np.full(samples.p.shape[1], np.nan),
    }


def _interval(rows: np.ndarray) -> list[float] | None:
    """From the values of all draws, and the number of groups in the last row.

    Where all draws are 0 or all are 1, Wilson's interval of as many groups that agree: none of 800
    radiographs out of distribution does not mean that none ever is.
    """
    if rows[-1] < MIN_GROUPS:
        return None
    bounds = interval(rows[:-1])
    if bounds in ([0.0, 0.0], [1.0, 1.0]) and np.isfinite(rows[-1]):
        room = 1.96**2 / (rows[-1] + 1.96**2)
        return [0.0, round(room, 6)] if bounds[0] == 0 else [round(1 - room, 6), 1.0]
    return bounds


def _tree(figures: Figures, classes: list[str], read: Callable) -> dict[str, Any]:
    """Figures by name and class; `read` turns a value, or the values of all draws, into JSON."""
    overall = ("accuracy", "balanced_accuracy", "ece", "abstained", "rejected")
    tree = {name: read(figures[name]) for name in overall}
    tree["recall"] = _by_class(figures["recall"], classes, read)
    per_class = {"sensitivity": figures["recall"]} | {
        name: figures[name] for name in ("specificity", "precision", "auroc")
    }
    tree["per_class"] = {
        name: {figure: read(values[..., index]) for figure, values in per_class.items()}
        for index, name in enumerate(classes)
    }
    return tree


def _by_class(values: np.ndarray, classes: list[str], read: Callable) -> dict[str, Any]:
    return {name: read(values[..., index]) for index, name in enumerate(classes)}


def _outcomes(samples: _Samples, classes: list[str]) -> dict[str, dict[str, float | None]]:
    """Per true class the share of each answer; out of distribution does not count as abstained."""
    names = [*classes, "abstained", "rejected"]
    answer = samples.p.argmax(axis=1)
    answer[samples.abstained] = len(classes)
    answer[samples.rejected] = len(classes) + 1
    outcomes = {}
    for index, name in enumerate(classes):
        counts = np.bincount(answer[samples.y == index], minlength=len(names))
        shares = _divide(counts.astype(float), np.full(len(names), float(counts.sum())))
        outcomes[name] = _by_class(shares, names, _number)
    return outcomes


def _number(value: float) -> float | None:
    """JSON knows no NaN; six digits are more than any interval here resolves."""
    return round(float(value), 6) if np.isfinite(value) else None
