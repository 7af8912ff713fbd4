"""What a release is given after training: the rule for "not sure"."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from aihealth.data import prepared as data
from aihealth.evaluation import held_out
from aihealth.modeling import architectures
from aihealth.training import building, calibrating, distance
from tests.helpers.releases import CLASSES, SIZE, brightness_model, lively_model


def test_not_sure_is_chosen_on_changed_images_and_says_so():
    probability = np.array([[0.9, 0.06, 0.04]] * 90 + [[0.3, 0.4, 0.3]] * 10)
    where, groups = np.full(100, "harbour"), np.arange(100).astype(str)
    changed = held_out.Predictions(np.log(probability), np.zeros(100, int), where, groups,
                                np.zeros(100, bool), np.array(CLASSES))  # fmt: skip
    threshold, rule = held_out.abstention(changed, None, 1.0)
    assert threshold == 0.9
    assert "100 predictions for validation images that were changed as in training: the" in rule


def test_a_split_of_one_group_is_summed_up_without_an_interval():
    block = {"n": 3, "balanced_accuracy": 0.5, "accuracy": 0.5}
    told = building.summary(block | {"intervals": {"balanced_accuracy": None}})
    assert told == "3 images, balanced accuracy 0.500, accuracy 0.500"


def test_images_are_changed_anew_for_each_round():
    pixels = np.random.default_rng(0).integers(0, 255, (5, SIZE, SIZE)).astype(np.uint8)
    sources, groups = np.full(5, "harbour"), np.arange(5).astype(str)
    images = data.Images(pixels, np.zeros(5, int), list(CLASSES), sources, groups)
    model, rounds = brightness_model(), []

    def perturb(batch, dice):
        rounds.append(len(batch))
        return tf.cast(batch[..., None], tf.float32) / 2 ** len(rounds)

    found = calibrating.changed_predictions(model, images, perturb)
    assert rounds == [5] * calibrating.PERTURBATIONS
    assert found.logits.shape == (5 * calibrating.PERTURBATIONS, 3)
    assert found.groups.tolist() == groups.tolist() * calibrating.PERTURBATIONS
    assert not np.allclose(found.logits[:5], found.logits[-5:], atol=1e-4)


def test_images_are_changed_beside_those_of_other_classes_and_answers_keep_their_place():
    count = 90  # sorted by class, as a folder of images is; no two alike
    levels = np.arange(80, 80 + count, dtype=np.uint8)
    pixels = levels[:, None, None] * np.ones((1, SIZE, SIZE), np.uint8)
    labels = np.repeat([0, 1, 2], count // 3)
    names = np.arange(count).astype(str)
    images = data.Images(pixels, labels, list(CLASSES), np.full(count, "harbour"), names)
    three = np.repeat(pixels[..., None], 3, -1).astype(np.float32)
    model, batches = brightness_model(), []

    def unchanged(batch, dice):
        batches.append(batch.numpy()[:, 0, 0] - levels[0])
        return tf.cast(batch[..., None], tf.float32)

    found = calibrating.changed_predictions(model, images, unchanged)
    expected = np.log(model.predict(three, verbose=0))
    for start in range(0, len(found.labels), count):
        assert np.allclose(found.logits[start : start + count], expected, atol=1e-4)
    assert found.groups.tolist() == names.tolist() * calibrating.PERTURBATIONS
    neighbours = [labels[rows] for rows in batches]
    assert all((a != np.roll(a, 1)).mean() > 0.4 for a in neighbours)
    assert not np.array_equal(batches[0], batches[len(batches) // calibrating.PERTURBATIONS])


def test_the_distance_is_fitted_on_images_and_their_mirror_images(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 64, 64)).astype(np.uint8)
    sources, groups = np.full(6, "harbour"), np.arange(6).astype(str)
    images = data.Images(pixels, np.arange(6) % 3, list(CLASSES), sources, groups)
    x = np.repeat(pixels[..., None], 3, -1).astype(np.float32)
    model, given = lively_model(x), []
    fit = distance.fit_distance

    def watched(features, strata):
        given.append((features, strata))
        return fit(features, strata)

    monkeypatch.setattr(distance, "fit_distance", watched)
    fitted, limits = distance.distance_of_model(model, images, images)
    threshold = limits["ood_threshold"]
    assert 0 < limits["versions_above"] < threshold
    assert limits["shift_limit"] is None, "six images tell nothing of where they come from"
    ((features, strata),) = given
    assert strata.tolist() == images.strata().tolist() * 2
    taps = [model.get_layer(name).output for name in architectures.feature_layers(model)]
    mirrored = keras.Model(model.inputs, taps).predict(x[:, :, ::-1], verbose=0)
    for depth, one in zip(features, mirrored, strict=True):
        assert len(depth) == 12
        np.testing.assert_allclose(depth[6:], one.mean(axis=(1, 2)), atol=1e-4)
    assert not np.allclose(features[0][:6], features[0][6:], atol=1e-4)
    seen = fitted.score(np.concatenate(features, axis=1))
    assert threshold == pytest.approx(np.quantile(seen, 0.99) * distance.OOD_ROOM, abs=1e-3)
