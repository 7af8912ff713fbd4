"""A release that one of its loaders cannot open is not published."""

import json
import shutil

import numpy as np
import pytest

from aihealth.publishing import verification
from tests.helpers.programs import sentence
from tests.helpers.releases import copy_release, make_release, stage


@pytest.fixture(scope="module")
def staged(release, tmp_path_factory):
    return stage(release, tmp_path_factory.mktemp("staged") / "staged")


@pytest.fixture
def damaged(staged, tmp_path):
    """A copy to damage."""
    return copy_release(staged, tmp_path / "release")


def refusal(folder):
    return sentence(verification.check_release, folder)


def test_every_way_of_loading_gives_the_same(staged):
    differences = verification.check_release(staged)
    ways = {"model.predict", "model(x)", "tf_keras", "aihealth.Classifier", "handler.py"}
    assert set(differences) == ways
    assert max(differences.values()) < 1e-3


@pytest.mark.parametrize("name", ["model.tflite", "saved_model.pb", "variables", "handler.py"])
def test_a_missing_file_is_named(damaged, name):
    path = damaged / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert f"{damaged} is not a whole release: {name} missing" in refusal(damaged)


def test_features_are_needed_where_there_is_a_threshold(damaged):
    config = json.loads((damaged / "aihealth.json").read_text())
    (damaged / "aihealth.json").write_text(json.dumps(config | {"ood_threshold": 1.0}))
    assert "ood.npz missing" in refusal(damaged)


@pytest.mark.parametrize(
    "name, loader",
    [
        ("model.weights.h5", "Keras"),
        ("saved_model.pb", "tf_keras"),
        ("model.tflite", "model.tflite"),
        ("handler.py", "handler.py"),
    ],
)
def test_a_damaged_file_is_found_by_its_loader(damaged, name, loader):
    (damaged / name).write_bytes(b"not what it should be")
    assert loader in refusal(damaged)


def test_loaders_that_disagree_are_named(damaged, tmp_path):
    other = make_release(tmp_path / "other", centres=(180, 120, 60))
    shutil.copy(other / "model.tflite", damaged / "model.tflite")
    assert "aihealth.Classifier gives other probabilities than Keras" in refusal(damaged)


def test_a_layer_that_is_not_of_keras_is_refused(damaged):
    config = json.loads((damaged / "config.json").read_text())
    config["config"]["layers"][1] |= {"module": "mine", "registered_name": "mine>Layer"}
    (damaged / "config.json").write_text(json.dumps(config))
    assert "is not a plain layer of Keras" in refusal(damaged)


def test_a_model_within_the_model_is_refused(damaged):
    """Called without training=False, such a model runs its dropout."""
    import keras

    from aihealth.modeling.export import save_keras

    inputs = keras.Input((32, 32, 3))
    inner = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    outputs = keras.layers.Dense(3, activation="softmax")(inner(inputs))
    save_keras(keras.Model(inputs, outputs), damaged)
    assert "publish one flat model" in refusal(damaged)


def test_outputs_that_are_no_probabilities_are_refused(damaged):
    from aihealth.modeling import export
    from tests.helpers.releases import brightness_model

    model = brightness_model()
    model.get_layer("probabilities").activation = __import__("keras").activations.linear
    export.save_keras(model, damaged)
    text = refusal(damaged)
    assert "probabilities" in text
    assert np.all([word not in text for word in ("Traceback", "\n")])
