"""Calibration error, temperature and abstention, against numbers by hand."""

import numpy as np
import pytest

from aihealth.evaluation.calibration import (
    choose_abstention,
    expected_calibration_error,
    mean_calibration_error,
    risk_coverage,
    temperature_scale,
)
from aihealth.evaluation.metrics import evaluate_predictions
from tests.helpers.samples import CLASSES, sample, softmax

# === Calibration ===


def test_a_perfectly_calibrated_sample_has_almost_no_calibration_error():
    rng = np.random.default_rng(0)
    p = softmax(2 * rng.normal(size=(20000, 3)))
    y = (rng.random((20000, 1)) > p.cumsum(1)).sum(1)
    assert expected_calibration_error(p, y) < 0.015
    assert evaluate_predictions(y, p, CLASSES, draws=2)["ece"] < 0.015


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1, 0.0]] * 4 + [[0.5, 0.3, 0.2]] * 6)
    y = np.array([0, 0, 0, 1] + [0] * 6)
    # 4 at confidence 0.9 with accuracy 0.75, 6 at 0.5 with accuracy 1
    assert expected_calibration_error(p, y) == pytest.approx(0.4 * 0.15 + 0.6 * 0.5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_fitted_temperature_is_the_one_the_labels_were_drawn_with(temperature):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(20000, 3))
    y = (rng.random((20000, 1)) > softmax(logits / temperature).cumsum(1)).sum(1)
    assert temperature_scale(logits, y) == pytest.approx(temperature, rel=0.05)


def test_weights_of_zero_leave_samples_out_of_the_temperature():
    y, p = sample(400)
    weights = (np.arange(400) < 200).astype(float)
    weighted = temperature_scale(np.log(p), y, weights)
    assert weighted == pytest.approx(temperature_scale(np.log(p[:200]), y[:200]), rel=1e-3)


def test_errors_of_opposite_sign_at_two_sources_do_not_cancel():
    p = np.array([[0.7, 0.2, 0.1]] * 16)
    y = np.array([0] * 12 + [1] * 4)  # all right at a; half at b
    sources, groups = np.repeat(["a", "b"], 8), np.arange(16)
    pooled = abs(0.7 - 12 / 16)
    assert expected_calibration_error(p, y) == pytest.approx(pooled)
    found = mean_calibration_error(p, y, sources, groups)
    assert found["value"] == pytest.approx((0.3 + 0.2) / 2)
    low, high = found["interval"]
    assert low <= found["value"] <= high
    alone = mean_calibration_error(p, y, np.full(16, "a"), groups)
    assert alone["value"] == pytest.approx(pooled)
    assert mean_calibration_error(p, y, sources, np.zeros(16))["interval"] is None


# === Abstention ===


def test_risk_and_coverage_by_hand():
    coverage, risk = risk_coverage([0.9, 0.8, 0.8, 0.5], [True, True, False, False])
    assert coverage == pytest.approx([0.25, 0.75, 1.0])  # the two at 0.8 come together
    assert risk == pytest.approx([0, 1 / 3, 0.5])


def test_the_threshold_abstains_no_more_than_the_target_asks_for():
    confidence = np.linspace(0.01, 1, 100)
    correct = confidence > 0.205  # the least confident 20 are wrong
    threshold = choose_abstention(confidence, correct, target_accuracy=0.9)
    answered = confidence >= threshold
    assert correct[answered].mean() >= 0.9
    assert answered.sum() == 88


def test_an_accuracy_out_of_reach_gives_the_best_within_the_allowed_abstention():
    confidence = np.linspace(0.01, 1, 100)
    correct = np.arange(100) % 2 == 0
    correct[70:] = True
    threshold = choose_abstention(confidence, correct, target_accuracy=0.99, max_abstain=0.3)
    assert (confidence >= threshold).mean() == pytest.approx(0.7)


def test_nothing_is_left_out_when_the_target_is_met_already():
    assert choose_abstention([0.6, 0.9], [True, True], 0.8) == 0.6
