"""Two versions of an image side by side, and what it costs that they get two answers."""

import keras
import numpy as np
import pytest

from aihealth.training import augmentation, batches
from aihealth.training.consistency import Consistent
from aihealth.training.dice import Dice
from tests.training.test_train import some_images


def network(weight):
    """Three probabilities from three pixels; the softmax alone, so answers are known."""
    inputs = keras.layers.Input((1, 1, 3))
    outputs = keras.layers.Softmax()(keras.layers.Flatten()(inputs))
    model = Consistent(inputs, outputs)
    model.weight = weight
    model.compile("sgd", "categorical_crossentropy")
    return model


def loss(weight, probabilities, *, training=True):
    given, asked = np.array(probabilities, "float32"), np.eye(3, dtype="float32")[[0, 0]]
    found = network(weight).compute_loss(None, asked, given, None, training)
    return float(keras.ops.convert_to_numpy(found))


TWO = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]


def test_two_answers_cost_their_divergence_and_one_answer_nothing():
    mean = np.mean(TWO, 0)
    expected = np.mean([np.sum(p * np.log(p / mean)) for p in np.array(TWO)])
    assert loss(4.0, TWO) - loss(0.0, TWO) == pytest.approx(4 * expected, rel=1e-4)
    assert loss(4.0, [TWO[0]] * 2) == pytest.approx(loss(0.0, [TWO[0]] * 2))
    assert np.isfinite(loss(4.0, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


def test_validation_has_the_plain_loss():
    assert loss(4.0, TWO, training=False) == loss(0.0, TWO)


def test_fitting_counts_it_and_evaluating_does_not():
    pixels, asked = np.log(np.array(TWO, "float32")).reshape(2, 1, 1, 3), np.eye(3)[[0, 0]]
    seen = {}
    for weight in (0.0, 4.0):
        model = network(weight)
        fitted = model.fit(pixels, asked, batch_size=2, shuffle=False, verbose=0).history["loss"]
        seen[weight] = fitted[0], model.evaluate(pixels, asked, batch_size=2, verbose=0)
    assert seen[4.0][0] > seen[0.0][0] + 0.1
    assert seen[4.0][1] == seen[0.0][1]


def test_a_saved_network_is_one_again(tmp_path):
    network(4.0).save(tmp_path / "model.keras")
    assert isinstance(keras.saving.load_model(tmp_path / "model.keras"), Consistent)


def test_a_batch_has_each_image_twice_side_by_side_with_its_label():
    images = some_images()
    images.pixels[:] = np.arange(len(images), dtype="uint8")[:, None, None]
    [(pixels, labels)] = batches.training_batches(
        images,
        augmentation.no_augmentation,
        weights=batches.sampling_weights(images, 0.5),
        batch_size=8,
        steps=range(1),
        smoothing=0.0,
        seed=5,
        twice=True,
    )
    drawn = pixels.numpy()[:, 0, 0, 0].astype(int)
    assert drawn.tolist() == drawn[::2].repeat(2).tolist() and len(set(drawn)) > 1
    assert np.array_equal(labels.numpy().argmax(1), images.labels[drawn])


def test_of_each_pair_one_is_changed_a_little_and_one_very_much():
    pixels = np.random.default_rng(3).integers(0, 255, (16, 40, 40), "uint8")
    change, _ = augmentation.by_name("mixed", 32)
    both = batches.two_ways(pixels, change, Dice([1, 2])).numpy()
    apart = augmentation.mixed(np.concatenate([pixels, pixels]), Dice([1, 2]), 32).numpy()
    assert np.array_equal(both[::2], apart[:16]) and np.array_equal(both[1::2], apart[16:])
