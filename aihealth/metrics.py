"""How good predictions are, with intervals, from arrays alone.

Every figure is computed from sums over groups of samples, so that one matrix product of resampled
group counts with these sums gives all draws of the bootstrap at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aihealth.bootstrap import DRAWS, SEED, Groups, interval, resample

ECE_BINS = 15


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
    sample, also where the classifier abstained or turned the image away; `answered` gives the
    same figures on the samples that were neither. `outcomes` gives per true class the share of
    each answer that a user sees.

    Args:
        y_true: (n,) integer class indices.
        probabilities: (n, C), rows sum to 1.
        classes: C names.
        groups: (n,) patients or groups of near-duplicates; each sample its own by default.
        sources: (n,) where each sample comes from; without it there is no `per_source`.
        rejected: (n,) bool, turned away as no chest radiograph.
        abstained: (n,) bool, answered "not sure".
        dataset: a name for people.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        JSON-ready: dataset, n, groups, accuracy, balanced_accuracy (mean recall over the classes
        that are present), recall, ece, abstained, rejected, called (rows of the confusion matrix
        divided by their sum), outcomes, per_class (sensitivity, specificity, precision, auroc, n),
        confusion, intervals (95%, percentile bootstrap over groups; Wilson's where a share is 0 or
        1 in all of them), answered (share, and the same), and per_source (the same for each).
        A figure that is undefined is None.

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


def expected_calibration_error(probabilities: np.ndarray, y_true: np.ndarray) -> float:
    """Expected calibration error of the top-1 confidence, 0..1.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: `ECE_BINS` equal-width bins
    (lower, upper]; the mean over samples of |accuracy - confidence| of their bin.

    Args:
        probabilities: (n, C).
        y_true: (n,) integer class indices.
    """
    gaps = _calibration_gaps(probabilities, np.asarray(y_true))
    return float(np.abs(gaps.sum(axis=0)).sum() / len(gaps))


def temperature_scale(
    logits: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The temperature T > 0 for which softmax(logits / T) has the lowest negative log likelihood.

    Args:
        logits: (n, C).
        y_true: (n,) integer class indices.
        weights: (n,) weight of each sample; all equal by default.

    Returns:
        T between 0.02 and 50 (Guo et al. 2017, section 4.2).
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, np.float64)
    rows = np.arange(len(logits))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        nll = np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, y_true]
        return float(np.average(nll, weights=weights))

    bound = np.log(50.0)
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of errors among what is answered when only the most confident samples are.

    Args:
        confidence: (n,) higher is surer.
        correct: (n,) bool.

    Returns:
        (coverage, risk), each (k,) for the k distinct confidences from the highest down: the share
        of samples at least that confident, and the share of errors among them, both 0..1.
    """
    _, coverage, risk = _risk_by_threshold(confidence, correct)
    return coverage, risk


def choose_abstention(
    confidence: np.ndarray, correct: np.ndarray, target_accuracy: float, max_abstain: float = 0.3
) -> float:
    """The lowest confidence to answer at, so that answers reach an accuracy.

    Args:
        confidence: (n,) top-1 confidence on validation data.
        correct: (n,) bool.
        target_accuracy: accuracy to reach among the answered, 0..1.
        max_abstain: largest share that may stay without an answer, 0..1.

    Returns:
        A threshold to answer at or above: that which leaves the fewest without an answer among
        those that reach the target; where none does, the one with the best accuracy.
    """
    thresholds, coverage, risk = _risk_by_threshold(confidence, correct)
    allowed = coverage >= 1 - max_abstain - 1e-12
    thresholds, risk = thresholds[allowed], risk[allowed]
    reached = np.flatnonzero(1 - risk >= target_accuracy - 1e-12)
    return float(thresholds[reached[-1] if len(reached) else np.argmin(risk)])


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
        of the difference (None with a single group).
    """
    count = np.shape(probabilities)[1]
    pair = [_Samples(y_true, p, count, groups, None, None) for p in (probabilities, other)]
    units = pair[0].groups

    def both(weights: np.ndarray) -> np.ndarray:
        return np.stack([_counted(samples, weights)[figure] for samples in pair], axis=1)

    value, reference = both(np.ones((1, units.count)))[0]
    drawn = resample(units, both, draws, seed)
    # With a single group every resample is the sample itself, which says nothing of its spread.
    bounds = interval(drawn[:, 0] - drawn[:, 1]) if units.count > 1 else None
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


def _calibration_gaps(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, ECE_BINS): confidence minus correctness, in the column of the sample's bin."""
    confidence = p.max(axis=1)
    column = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gaps = np.zeros((len(y), ECE_BINS))
    gaps[np.arange(len(y)), column] = confidence - (p.argmax(axis=1) == y)
    return gaps


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
    columns = [confusion.reshape(-1, count * count), _calibration_gaps(samples.p, samples.y), flags]
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
    # One group resampled is always itself: an interval of width 0 would promise certainty.
    enough = groups.count > 1
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
    films turned away does not mean that none ever is.
    """
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
    """Per true class the share of each answer; what is turned away is not counted as abstained."""
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


def _risk_by_threshold(
    confidence: np.ndarray, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if not len(confidence) or confidence.shape != correct.shape:
        raise ValueError("confidence and correct must be of one length, and not empty")
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])  # last of each run of ties
    errors = np.cumsum(~correct[order])[last]
    return ordered[last], (last + 1) / len(ordered), errors / (last + 1)
