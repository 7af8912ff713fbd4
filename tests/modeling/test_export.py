"""The serving file rounds to half floats just what the Keras model holds."""

import numpy as np
import pytest

from aihealth import Classifier, release
from aihealth.images import prepare
from aihealth.modeling import export
from data_prep.radiographs import draw_radiograph
from tests.helpers.releases import CLASSES, lively_model

SIZE = 64


@pytest.fixture(scope="module")
def films():
    drawn = (draw_radiograph(np.random.default_rng(i), CLASSES[i % 3]) for i in range(12))
    return [prepare(film, SIZE) for film in drawn]


@pytest.fixture(scope="module")
def x(films):
    return np.repeat(np.stack(films)[..., None], 3, -1).astype("float32")


@pytest.fixture(scope="module")
def model(x):
    return lively_model(x)


def test_rounding_changes_little_though_the_head_magnifies_it(model, x):
    import keras

    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    before = twin.predict(x, verbose=0)
    export.round_weights(twin)
    assert np.allclose(twin.predict(x, verbose=0), before, atol=0.05)


def test_the_serving_file_gives_what_keras_gives(model, x, films, tmp_path):
    export.round_weights(model)
    expected = model.predict(x, verbose=0)
    assert expected.std(axis=0).max() > 0.01
    export.save_litert(model, tmp_path / release.LITERT)
    settings = {"classes": CLASSES, "input_size": SIZE, "arch": "compact"}
    release.ReleaseConfig(**settings).save(tmp_path)
    served = [list(a.probabilities.values()) for a in Classifier(tmp_path).predict_batch(films)]
    # The head's weights reach 265: one float32 rounding of each feature moves answers by 1e-5, and
    # Keras itself is 2e-5 off float64. LiteRT adds up in another order: 1.1e-4 was seen.
    assert np.abs(served - expected).max() < 2e-4
