"""Calibration error, temperature, and the confidence under which to answer "not sure"."""

from typing import Any

import numpy as np

from aihealth.evaluation.intervals import DRAWS, MIN_GROUPS, SEED, Groups, interval, resample

ECE_BINS = 15


def expected_calibration_error(probabilities: np.ndarray, y_true: np.ndarray) -> float:
    """Expected calibration error of the top-1 confidence, 0..1.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: `ECE_BINS` equal-width bins
    (lower, upper]; the mean over samples of |accuracy - confidence| of their bin.

    Args:
        probabilities: (n, C).
        y_true: (n,) integer class indices.
    """
    gaps = calibration_gaps(probabilities, np.asarray(y_true))
    return float(np.abs(gaps.sum(axis=0)).sum() / len(gaps))


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """The number of the bin that each confidence, 0..1, lies in."""
    return np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)


def calibration_gaps(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Confidence minus correctness of each sample, in the column of its bin.

    Args:
        p: (n, C) probabilities.
        y: (n,) integer class indices.

    Returns:
        (n, ECE_BINS), 0 in all other columns.
    """
    confidence = p.max(axis=1)
    gaps = np.zeros((len(y), ECE_BINS))
    gaps[np.arange(len(y)), bin_of(confidence)] = confidence - (p.argmax(axis=1) == y)
    return gaps


def mean_calibration_error(
    probabilities: np.ndarray, y_true: np.ndarray, sources: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """Mean over all images of the calibration error of their source.

    Pooled over sources, too sure at one and too unsure at another cancel, and no hospital would
    see the result.

    Args:
        probabilities: (n, C).
        y_true: (n,) integer class indices.
        sources: (n,) names.
        groups: (n,) names; what the bootstrap resamples as a whole.

    Returns:
        `value`, and `interval`, 95%; None with fewer than `MIN_GROUPS` groups.
    """
    names, source = np.unique(sources, return_inverse=True)
    gaps = calibration_gaps(probabilities, np.asarray(y_true))
    apart = (gaps[:, None, :] * np.eye(len(names))[source][:, :, None]).reshape(len(gaps), -1)
    units = Groups(groups, len(gaps))
    sums = units.sum(np.column_stack([apart, np.ones(len(gaps))]))

    def error(times: np.ndarray) -> np.ndarray:
        drawn = times @ sums
        return np.abs(drawn[:, :-1]).sum(axis=1) / drawn[:, -1]

    drawn = resample(units, error, DRAWS, SEED) if units.count >= MIN_GROUPS else None
    return {
        "value": round(float(error(np.ones((1, units.count)))[0]), 6),
        "interval": None if drawn is None else interval(drawn),
    }


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
