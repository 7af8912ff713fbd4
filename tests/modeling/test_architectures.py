import pickle
import struct
import sys
import types

import keras
import numpy as np
import pytest

from aihealth import release
from aihealth.classifier import Classifier
from aihealth.errors import UserError
from aihealth.modeling import architectures, export, graph, networks, starting_weights
from data_prep.radiographs import draw_radiograph

SIZE = 64


def shaken(arch, size=SIZE):
    """A network that tells images apart: its normalisation has seen some."""
    keras.utils.set_random_seed(1)
    model = networks.build(arch, size, 3)
    rng = np.random.default_rng(0)
    batch = rgb(np.stack([draw_radiograph(rng, "Covid", size=size) for _ in range(8)]))
    norms = [n for n in model.layers if isinstance(n, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0  # The statistics of this batch, at once.
    model(batch, training=True)
    for norm in norms:
        norm.momentum = 0.9
    return model


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(3)
    return np.stack([draw_radiograph(rng, label, size=SIZE) for label in ("Covid", "Normal")])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model = shaken("compact")
    export.round_weights(model)
    export.export_model(model, folder)
    release.ReleaseConfig(["Covid", "Normal", "Pneumonia"], SIZE, "compact").save(folder)
    return model, folder


def rgb(films):
    return np.repeat(films[..., None], 3, axis=-1)


def test_the_default_network_is_small_and_ends_in_pooling_and_one_dense_layer():
    model = networks.build("compact", 160, 3)
    assert model.count_params() < 1_000_000
    kinds = [type(layer).__name__ for layer in model.layers[-4:]]
    assert kinds == ["Identity", "GlobalAveragePooling2D", "Dropout", "Dense"]


def test_the_baseline_is_the_original_layer_for_layer():
    model = networks.build("baseline", 224, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "InputLayer", "Rescaling", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense",
    ]  # fmt: skip
    assert model.count_params() == 50_468_227


@pytest.mark.parametrize("arch", ["compact", "MobileNetV2"])
def test_networks_are_flat_so_that_calling_them_is_inference(arch):
    model = networks.build(arch, 96, 3)
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]


def test_a_single_exposure_change_does_not_change_the_answer(films):
    model = shaken("compact")
    darker = rgb(films).astype("float32") * 0.6 + 20
    np.testing.assert_allclose(
        model.predict(rgb(films), verbose=0), model.predict(darker, verbose=0), atol=2e-3
    )


def test_unknown_architecture_is_one_sentence():
    with pytest.raises(UserError, match="--arch vgg is unknown; use compact, baseline or"):
        networks.build("vgg", 64, 3)


def test_freezing_keeps_the_first_blocks():
    model = networks.build("compact", 64, 3)
    architectures.freeze(model, 3)
    fixed = {layer.name.split("_")[0] for layer in model.layers if not layer.trainable}
    assert {"stem", "block0", "block1", "block2"} <= fixed
    assert "block3" not in fixed


# === Copies ===


@pytest.mark.parametrize("arch", ["compact", "baseline"])
def test_a_copy_shares_nothing_with_the_network(films, arch):
    one = shaken(arch)
    one.compile(optimizer="adam", loss="mse")
    copy = graph.in_single_precision(one)
    assert getattr(copy, "optimizer", None) is None
    expected = one.predict(rgb(films), verbose=0)
    np.testing.assert_allclose(copy.predict(rgb(films), verbose=0), expected, atol=1e-5)
    export.scale_logits(copy, 2.0)
    np.testing.assert_array_equal(one.predict(rgb(films), verbose=0), expected)


def test_what_was_trained_in_half_precision_is_released_in_single(films, tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        one = shaken("compact")
        architectures.freeze(one, 3)
        copy = graph.in_single_precision(one)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {layer.dtype_policy.name for layer in copy.layers[1:]} == {"float32"}
    frozen, kept = ([layer.name for layer in m.layers if not layer.trainable] for m in (one, copy))
    assert frozen == kept
    export.round_weights(copy)
    export.save_litert(copy, tmp_path / release.LITERT)
    release.ReleaseConfig(["Covid", "Normal", "Pneumonia"], SIZE, "compact").save(tmp_path)
    served = [list(a.probabilities.values()) for a in Classifier(tmp_path).predict_batch(films)]
    np.testing.assert_allclose(served, copy.predict(rgb(films), verbose=0), atol=1e-3)


def test_calls_come_after_what_they_take_and_a_layer_may_be_called_twice(films):
    inputs = keras.layers.Input((SIZE, SIZE, 3), name="image")
    twice = keras.layers.Conv2D(3, 3, padding="same", name="twice")
    x = keras.layers.GlobalAveragePooling2D()(twice(twice(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3, name=graph.PROBABILITIES)(x))
    seen = {("image", 0)}
    for name, number, origins in graph.calls(model):
        assert origins and seen.issuperset(origins)
        seen.add((name, number))
    assert ("twice", 1) in seen
    copy = graph.in_single_precision(model)
    np.testing.assert_allclose(copy(rgb(films)), model(rgb(films)), atol=1e-3, rtol=1e-4)


# === Layouts ===


def test_calling_predicting_and_serving_agree(exported, films):
    model, folder = exported
    expected = model.predict(rgb(films), verbose=0)
    assert expected.std(axis=0).max() > 1e-3, "the images must not all get the same answer"
    np.testing.assert_allclose(model(rgb(films)), expected, atol=1e-5)
    np.testing.assert_allclose(model(rgb(films), training=False), expected, atol=1e-5)
    served = [list(a.probabilities.values()) for a in Classifier(folder).predict_batch(films)]
    np.testing.assert_allclose(served, expected, atol=1e-3)


def test_the_keras_layout_loads_in_safe_mode_without_this_package(exported, films):
    model, folder = exported
    assert {path.name for path in folder.iterdir()} >= set(release.KERAS_FILES)
    assert "aihealth" not in (folder / "config.json").read_text()
    from aihealth import from_pretrained_keras

    loaded = from_pretrained_keras(str(folder))
    np.testing.assert_allclose(
        loaded.predict(rgb(films), verbose=0), model.predict(rgb(films), verbose=0), atol=1e-5
    )


def test_the_saved_model_is_revived_by_the_previous_generation_of_keras(exported, films):
    import tf_keras

    model, folder = exported
    loaded = tf_keras.models.load_model(str(folder))
    expected = model.predict(rgb(films), verbose=0)
    np.testing.assert_allclose(loaded.predict(rgb(films), verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(loaded(rgb(films).astype("float32")), expected, atol=1e-5)


@pytest.mark.parametrize("arch", ["MobileNetV2", "baseline"])
def test_other_networks_have_a_twin_of_the_previous_generation_too(arch, films):
    model = shaken(arch)
    twin = export.to_tf_keras(model)
    expected = model(rgb(films)).numpy()
    assert expected.std(axis=0).max() > 1e-3, "the images must not all get the same answer"
    np.testing.assert_allclose(twin(rgb(films).astype("float32")), expected, atol=1e-4)


@pytest.mark.parametrize("arch", ["MobileNetV3Small", "EfficientNetB0"])
def test_a_network_that_the_previous_generation_cannot_hold_is_refused_by_name(arch):
    with pytest.raises(UserError, match=f"--arch {arch} cannot be released"):
        export.to_tf_keras(networks.build(arch, SIZE, 3))


def test_the_maps_add_up_to_the_logits(exported, films):
    model, folder = exported
    outputs = Classifier(folder).outputs(films[0])
    dense = model.get_layer(graph.PROBABILITIES)
    logits = outputs["heatmaps"].mean(axis=(1, 2)) + dense.bias.numpy()
    softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(softmax, outputs["probabilities"], atol=2e-3)


def test_a_temperature_goes_into_the_last_layer(films):
    model = shaken("compact")
    before = np.log(model.predict(rgb(films), verbose=0))
    export.scale_logits(model, 2.0)
    expected = np.exp(before / 2) / np.exp(before / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(rgb(films), verbose=0), expected, atol=1e-5)


# === Starting weights ===


@pytest.fixture
def torch(monkeypatch):
    """The two names of PyTorch that its files hold, without PyTorch."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    module.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    rebuild = type("_rebuild_tensor_v2", (), {"__module__": "torch._utils"})
    module._utils, utils._rebuild_tensor_v2 = utils, rebuild
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def legacy_file(path, arrays, torch):
    """Write arrays as PyTorch before 1.6 did."""
    keys = {id(array): str(number) for number, array in enumerate(arrays.values())}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, torch.FloatStorage):
                return ("storage", torch.FloatStorage, item.key, "cpu", item.size, None)
            return None

        def reducer_override(self, item):
            if not isinstance(item, np.ndarray):
                return NotImplemented
            storage = torch.FloatStorage()
            storage.key, storage.size = keys[id(item)], item.size
            strides = tuple(step // 4 for step in item.strides)
            tensor = (storage, 0, item.shape, strides, False, {})
            return torch._utils._rebuild_tensor_v2, tensor

    with open(path, "wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(header, file, protocol=2)
        Pickler(file, protocol=2).dump(arrays)
        pickle.dump(list(keys.values()), file, protocol=2)
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.astype("<f4").tobytes())


def test_a_pytorch_file_is_read_without_pytorch(tmp_path, torch):
    arrays = {
        "a.weight": np.arange(24, dtype="float32").reshape(2, 3, 2, 2),
        "a.bias": np.array([0.5, -1], "float32"),
    }
    legacy_file(tmp_path / "w.pth", arrays, torch)
    read = starting_weights.read_torch_state(tmp_path / "w.pth")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_code_in_a_pytorch_file_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, ("open('harm', 'w')",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(pickle.UnpicklingError, match="not an array"):
        starting_weights.read_torch_state(path)
    with pytest.raises(UserError, match=r"evil\.pth: the file does not fit"):
        networks.build("compact", 64, 3, str(path))


def test_the_weights_of_a_release_start_without_their_temperature(tmp_path):
    network = networks.build("compact", 32, 3)
    released = graph.in_single_precision(network)
    export.scale_logits(released, 2.0)
    export.save_keras(released, tmp_path)
    path = tmp_path / "model.weights.h5"
    head = network.get_layer(graph.PROBABILITIES)
    alone = networks.build("compact", 32, 3, str(path)).get_layer(graph.PROBABILITIES)
    np.testing.assert_allclose(2 * alone.get_weights()[0], head.get_weights()[0], rtol=1e-6)
    release.ReleaseConfig(["a", "b", "c"], 32, "compact", temperature=2.0).save(tmp_path)
    begun = networks.build("compact", 32, 3, [str(path)] * 2).get_layer(graph.PROBABILITIES)
    np.testing.assert_allclose(begun.get_weights()[0], head.get_weights()[0], rtol=1e-6)


def test_weights_that_are_not_there_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        networks.build("compact", 64, 3, str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="there are none for --arch baseline"):
        networks.build("baseline", 64, 3, "imagenet")


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_a_file_of_the_same_network_gives_its_weights(tmp_path, films, name):
    model, path = shaken("compact"), tmp_path / name
    model.save(path) if name.endswith(".keras") else model.save_weights(path)
    again = networks.build("compact", SIZE, 3, str(path))
    np.testing.assert_allclose(again(rgb(films)), model(rgb(films)), atol=1e-6)


def test_a_keras_file_fits_though_its_layers_have_other_names(tmp_path):
    names = [layer.name for layer in networks.build("MobileNetV3Small", SIZE, 3).layers]
    model = networks.build("MobileNetV3Small", SIZE, 3)
    assert names != [layer.name for layer in model.layers]
    model.save(tmp_path / "w.keras")
    again = networks.build("MobileNetV3Small", SIZE, 3, str(tmp_path / "w.keras"))
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cut", ["pool", "block6_add"])
def test_a_keras_file_of_another_network_is_one_sentence(tmp_path, cut):
    whole = networks.build("compact", SIZE, 3)
    x = whole.get_layer(cut).output
    other = networks.build("baseline", SIZE, 3) if cut == "pool" else keras.Model(whole.inputs, x)
    other.save(tmp_path / "w.keras")
    with pytest.raises(UserError, match=r"w\.keras: the file does not fit --arch compact"):
        networks.build("compact", SIZE, 3, str(tmp_path / "w.keras"))


def test_of_several_files_the_model_gets_the_mean(tmp_path):
    files = [str(tmp_path / f"{name}.weights.h5") for name in "ab"]
    model = shaken("compact")
    first = model.get_weights()
    model.save_weights(files[0])
    model.set_weights([3 * weight for weight in first])
    model.save_weights(files[1])
    mean = networks.build("compact", SIZE, 3, files)
    for one, two in zip(first, mean.get_weights(), strict=True):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-5)


def test_a_checkpoint_that_is_cut_short_is_one_sentence(tmp_path):
    path = tmp_path / "average.npz"
    np.savez(path, np.zeros(100))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"average\.npz: the file does not fit"):
        networks.build("compact", SIZE, 3, str(path))
