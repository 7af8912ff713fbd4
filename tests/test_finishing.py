"""What a release is given after training: the rule for "not sure"."""

import numpy as np
import tensorflow as tf

from aihealth import data, finishing
from tests.releases import CLASSES, lively_model


def test_not_sure_is_chosen_on_changed_images_and_says_so():
    labels = np.zeros(100, int)
    clear, doubtful = [0.9, 0.06, 0.04], [0.3, 0.4, 0.3]
    probability = np.tile([clear] * 90 + [doubtful] * 10, (finishing.PERTURBATIONS, 1))
    threshold, rule = finishing.abstention(probability, labels)
    assert threshold == 0.9
    assert "100 validation images, each changed 4 times as in training" in rule


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

    found = finishing.perturbed(model, images, perturb)
    assert rounds == [5] * finishing.PERTURBATIONS
    assert found.shape == (5 * finishing.PERTURBATIONS, 3)
    assert not np.allclose(found[:5], found[-5:], atol=1e-4)
