"""The fused batch normalisation against Keras' own."""

import keras
import numpy as np
import pytest

from aihealth.modeling import graph
from aihealth.training.fused import FusedBatchNormalization


def network(**options):
    inputs = keras.layers.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.8, epsilon=0.01, name="norm", **options)(x)
    return keras.Model(inputs, x)


def trained(model, *, trainable):
    """The weights after three steps, and the answers before and after."""
    rng = np.random.default_rng(5)
    images, asked = rng.normal(3, 2, (8, 6, 6, 3)), rng.normal(0, 1, (8, 4, 4, 4))
    model.get_layer("norm").trainable = trainable
    model.compile(keras.optimizers.SGD(0.05), "mse")
    before = model.predict(images, verbose=0)
    model.fit(images, asked, batch_size=8, epochs=3, verbose=0)
    return [before, model.predict(images, verbose=0), *model.get_weights()]


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"dtype": "mixed_bfloat16"}])
def test_it_learns_what_the_layer_of_keras_learns(trainable, options):
    plain = network(**options)
    fused = graph.with_batch_normalization(plain, FusedBatchNormalization)
    assert isinstance(fused.get_layer("norm"), FusedBatchNormalization)
    expected, found = trained(plain, trainable=trainable), trained(fused, trainable=trainable)
    assert np.abs(expected[1] - expected[0]).max() > 0.05
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-4)


def test_a_release_has_the_layer_of_keras():
    fused = graph.with_batch_normalization(network(), FusedBatchNormalization)
    images = np.random.default_rng(1).normal(0, 1, (2, 6, 6, 3))
    released = graph.in_single_precision(fused)
    assert type(released.get_layer("norm")) is keras.layers.BatchNormalization
    np.testing.assert_allclose(
        released.predict(images, verbose=0), fused.predict(images, verbose=0), atol=1e-6
    )


def test_a_saved_network_keeps_it(tmp_path):
    graph.with_batch_normalization(network(), FusedBatchNormalization).save(tmp_path / "one.keras")
    saved = keras.saving.load_model(tmp_path / "one.keras")
    assert type(saved.get_layer("norm")) is FusedBatchNormalization
