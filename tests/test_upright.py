"""Films that are negative, or lie on their side or head."""

import numpy as np
import pytest

from aihealth import Classifier, upright
from aihealth.classifier import UNLIKE
from tests.helpers.releases import SIZE, copy_release

RIGHT = np.uint8(np.add.outer(np.linspace(0, 150, SIZE), np.linspace(0, 60, SIZE) ** 1.1))
BACK = {
    "is a negative": lambda pixels: 255 - pixels,
    "lies on its side": lambda pixels: np.rot90(pixels, 3),
    "lies on its other side": lambda pixels: np.rot90(pixels),
    "is upside down": lambda pixels: np.rot90(pixels, 2),
}


def distance(pixels):
    return float(np.abs(pixels.astype(float) - RIGHT).mean()) / 20 + 0.1


@pytest.mark.parametrize("name", upright.VERSIONS)
def test_the_version_that_is_a_radiograph_is_found(name):
    wrong = BACK[name](RIGHT)
    assert upright.set_right(wrong, distance(wrong), 1.0, distance) == name
    assert np.array_equal(upright.VERSIONS[name](wrong), RIGHT)


def test_what_is_best_as_it_is_or_never_a_radiograph_stays():
    assert upright.set_right(RIGHT, distance(RIGHT), 1.0, distance) is None
    noise = np.random.default_rng(0).integers(0, 255, RIGHT.shape).astype(np.uint8)
    assert upright.set_right(noise, distance(noise), 1.0, distance) is None


@pytest.fixture
def classifier(hospital, tmp_path, monkeypatch):
    limits = {"versions_above": 0.5, "ood_threshold": 1.0}
    found = Classifier(copy_release(hospital, tmp_path / "release", **limits))
    outputs = found.outputs
    monkeypatch.setattr(
        found, "outputs", lambda image: outputs(image) | {"features": np.asarray(image).ravel()}
    )
    monkeypatch.setattr(
        type(found._distance), "score",
        lambda self, features: np.array([distance(features[0].reshape(SIZE, SIZE))]),
    )  # fmt: skip
    return found


def test_a_wrong_film_is_answered_as_the_right_one_is_and_the_reader_is_told(classifier):
    right = classifier.predict(RIGHT)
    assert right.warning is None or "set right" not in right.warning
    for name, turn in BACK.items():
        answer = classifier.predict(np.ascontiguousarray(turn(RIGHT)))
        assert upright.warning(name) in answer.warning
        assert answer.probabilities == right.probabilities
        assert np.array_equal(answer.pixels, RIGHT)


def test_what_is_unlike_the_training_images_and_right_as_it_is_is_said(classifier):
    classifier.config.lateral_threshold = None
    assert classifier.predict(RIGHT).warning is None
    unlike = classifier.predict(RIGHT + np.uint8(12))
    assert unlike.warning == UNLIKE and unlike.is_chest_radiograph
    classifier.config.versions_above = None
    assert classifier.predict(RIGHT + np.uint8(12)).warning is None


def test_a_release_without_the_limit_answers_what_it_is_given(classifier):
    classifier.config.versions_above = None
    negative = 255 - RIGHT
    assert np.array_equal(classifier.predict(negative).pixels, negative)
