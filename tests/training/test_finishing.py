"""What a release is given after training: the rule for "not sure"."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from aihealth.data import prepared as data
from aihealth.evaluation import leave_one_source_out as loso
from aihealth.modeling import architectures
from aihealth.training import distance, finishing
from tests.helpers.releases import CLASSES, lively_model


def test_not_sure_is_chosen_on_changed_images_and_says_so():
    probability = np.array([[0.9, 0.06, 0.04]] * 90 + [[0.3, 0.4, 0.3]] * 10)
    where, groups = np.full(100, "harbour"), np.arange(100).astype(str)
    changed = loso.Answers(np.log(probability), np.zeros(100, int), where, groups,
                                np.zeros(100, bool), np.array(CLASSES))  # fmt: skip
    threshold, rule = loso.abstention(changed, None, 1.0)
    assert threshold == 0.9
    assert "100 answers for validation images that were changed as in training: the lowest" in rule


def test_a_split_of_one_group_is_summed_up_without_an_interval():
    block = {"n": 3, "balanced_accuracy": 0.5, "accuracy": 0.5}
    told = finishing.summary(block | {"intervals": {"balanced_accuracy": None}})
    assert told == "3 images, balanced accuracy 0.500, accuracy 0.500"


def test_images_are_changed_anew_for_each_round():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 64, 64)).astype(np.uint8)
    sources, groups = np.full(5, "harbour"), np.arange(5).astype(str)
    images = data.Images(pixels, np.zeros(5, int), list(CLASSES), sources, groups)
    model = lively_model(np.repeat(pixels[..., None], 3, -1).astype(np.float32))
    rounds = []

    def perturb(batch):
        rounds.append(len(batch))
        return tf.cast(batch[..., None], tf.float32) / 2 ** len(rounds)

    found = finishing.changed_answers(model, images, perturb)
    assert rounds == [5] * finishing.PERTURBATIONS
    assert found.logits.shape == (5 * finishing.PERTURBATIONS, 3)
    assert found.groups.tolist() == groups.tolist() * finishing.PERTURBATIONS
    assert not np.allclose(found.logits[:5], found.logits[-5:], atol=1e-4)


def test_images_are_changed_beside_those_of_other_classes_and_answers_keep_their_place():
    count = 90  # sorted by class, as a folder of images is
    pixels = np.random.default_rng(0).integers(0, 255, (count, 64, 64)).astype(np.uint8)
    pixels[:, 0, 0] = np.arange(count)
    labels = np.repeat([0, 1, 2], count // 3)
    names = np.arange(count).astype(str)
    images = data.Images(pixels, labels, list(CLASSES), np.full(count, "harbour"), names)
    three = np.repeat(pixels[..., None], 3, -1).astype(np.float32)
    model, batches = lively_model(three), []

    def unchanged(batch):
        batches.append(batch.numpy()[:, 0, 0])
        return tf.cast(batch[..., None], tf.float32)

    found = finishing.changed_answers(model, images, unchanged)
    expected = np.log(model.predict(three, verbose=0))
    for start in range(0, len(found.labels), count):
        assert np.allclose(found.logits[start : start + count], expected, atol=1e-4)
    assert found.groups.tolist() == names.tolist() * finishing.PERTURBATIONS
    neighbours = [labels[rows] for rows in batches]
    assert all((a != np.roll(a, 1)).mean() > 0.4 for a in neighbours)
    assert not np.array_equal(batches[0], batches[len(batches) // finishing.PERTURBATIONS])


def test_the_distance_is_fitted_on_images_and_their_mirror_images(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 64, 64)).astype(np.uint8)
    sources, groups = np.full(6, "harbour"), np.arange(6).astype(str)
    images = data.Images(pixels, np.arange(6) % 3, list(CLASSES), sources, groups)
    x = np.repeat(pixels[..., None], 3, -1).astype(np.float32)
    model, given = lively_model(x), []
    fit = distance.fit_distance

    def watched(features, cells):
        given.append((features, cells))
        return fit(features, cells)

    monkeypatch.setattr(distance, "fit_distance", watched)
    fitted, limits = distance.distance_of_model(model, images, images)
    threshold = limits["ood_threshold"]
    assert 0 < limits["versions_above"] < threshold
    assert limits["shift_limit"] is None, "six images tell nothing of where they come from"
    ((features, cells),) = given
    assert cells.tolist() == images.cells().tolist() * 2
    taps = [model.get_layer(name).output for name in architectures.feature_layers(model)]
    mirrored = keras.Model(model.inputs, taps).predict(x[:, :, ::-1], verbose=0)
    for depth, one in zip(features, mirrored, strict=True):
        assert len(depth) == 12
        np.testing.assert_allclose(depth[6:], one.mean(axis=(1, 2)), atol=1e-4)
    assert not np.allclose(features[0][:6], features[0][6:], atol=1e-4)
    seen = fitted.score(np.concatenate(features, axis=1))
    assert threshold == pytest.approx(np.quantile(seen, 0.99) * distance.OOD_ROOM, abs=1e-3)
