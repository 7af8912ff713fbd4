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
from aihealth.modeling import (
    architectures,
    export,
    flip_averaging,
    graph,
    networks,
    starting_weights,
)
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
    model = flip_averaging.both_sides(shaken("compact"))
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
    model = flip_averaging.both_sides(networks.build(arch, 96, 3))
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


# === An image and its mirror image ===


# 74 has prime factors only below and above the widest matrix, 37 none, 64 two of 32.
@pytest.mark.parametrize("width", [10, 37, 64, 74, 160])
def test_mirroring_is_exact_whatever_the_width(width):
    inputs = keras.layers.Input((3, width, 2))
    model = keras.Model(inputs, flip_averaging.mirror(inputs, name="mirror"))
    x = np.random.default_rng(0).normal(size=(2, 3, width, 2)).astype("float32")
    np.testing.assert_array_equal(model.predict(x, verbose=0), x[:, :, ::-1])


@pytest.mark.parametrize("arch", ["compact", "MobileNetV2"])
def test_both_sides_give_the_mean_of_the_logits_of_an_image_and_its_mirror_image(arch, films):
    one = shaken(arch)
    both = flip_averaging.both_sides(one)
    sides = [np.log(one.predict(x, verbose=0)) for x in (rgb(films), rgb(films)[:, :, ::-1])]
    assert np.abs(sides[0] - sides[1]).max() > 1e-3, "the sides must not look alike"
    expected = np.exp(sum(sides) / 2)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.predict(rgb(films), verbose=0), expected, atol=1e-5)
    mirrored = both.predict(rgb(films)[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(mirrored, expected, atol=1e-5)


def test_both_sides_of_a_map_lie_where_the_image_has_them(films):
    both = flip_averaging.both_sides(shaken("compact"))
    maps = keras.Model(both.inputs, both.get_layer(graph.FEATURES).output)
    as_it_is, mirrored = (maps.predict(x, verbose=0) for x in (rgb(films), rgb(films)[:, :, ::-1]))
    np.testing.assert_allclose(as_it_is, mirrored[:, :, ::-1], atol=1e-5)
    assert np.abs(as_it_is - mirrored).max() > 1e-3


def test_both_sides_share_their_weights_and_are_not_doubled_again():
    one = networks.build("compact", SIZE, 3)
    both = flip_averaging.both_sides(one)
    assert 0 < both.count_params() - one.count_params() < 5_000  # the matrices that mirror
    assert flip_averaging.looks_at_both_sides(both) and not flip_averaging.looks_at_both_sides(one)
    assert flip_averaging.both_sides(both) is both
    assert architectures.feature_layers(both) == architectures.feature_layers(one)
    assert graph.count_params(both) == graph.count_params(one) == one.count_params()


def test_a_network_without_maps_keeps_its_one_side_and_is_copied(films):
    one = networks.build("baseline", SIZE, 3)
    one.compile(optimizer="adam", loss="mse")
    copy = flip_averaging.both_sides(one)
    assert getattr(copy, "optimizer", None) is None and not flip_averaging.looks_at_both_sides(copy)
    expected = one.predict(rgb(films), verbose=0)
    np.testing.assert_allclose(copy.predict(rgb(films), verbose=0), expected, atol=1e-6)
    export.scale_logits(copy, 2.0)
    np.testing.assert_array_equal(one.predict(rgb(films), verbose=0), expected)


def test_what_was_trained_in_half_precision_is_released_in_single(films, tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        one = shaken("compact")
        architectures.freeze(one, 3)
        both = flip_averaging.both_sides(one)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {layer.dtype_policy.name for layer in both.layers[1:]} == {"float32"}
    frozen = [[layer.name for layer in m.layers if not layer.trainable] for m in (one, both)]
    assert frozen[0] == [name for name in frozen[1] if not name.startswith(graph.MIRROR)]
    export.round_weights(both)
    export.save_litert(both, tmp_path / release.LITERT)
    release.ReleaseConfig(["Covid", "Normal", "Pneumonia"], SIZE, "compact").save(tmp_path)
    served = [list(a.probabilities.values()) for a in Classifier(tmp_path).predict_batch(films)]
    np.testing.assert_allclose(served, both.predict(rgb(films), verbose=0), atol=1e-3)


def test_a_layer_that_does_something_is_used_for_both_sides_whatever_its_name(films):
    inputs = keras.layers.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 5, strides=4, activation="relu", name="stage1")(
        architectures.greyscale(inputs)
    )
    x = keras.layers.Identity(name=graph.FEATURES)(x)
    one = keras.Model(inputs, architectures.head(x, 3, 0.0))
    both, logits = flip_averaging.both_sides(one), lambda x: np.log(one.predict(x, verbose=0))
    mean = (logits(rgb(films)) + logits(rgb(films)[:, :, ::-1])) / 2
    expected = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.predict(rgb(films), verbose=0), expected, atol=1e-5)


def test_calls_come_after_what_they_take():
    both = flip_averaging.both_sides(networks.build("compact", SIZE, 3))
    seen = {("image", 0)}
    for name, number, origins in graph.calls(both):
        assert origins and seen.issuperset(origins)
        seen.add((name, number))
    assert ("stem_conv", 1) in seen and ("dropout", 1) not in seen


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
    model = flip_averaging.both_sides(shaken(arch))
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


def legacy_file(path, arrays):
    """Write arrays as PyTorch before 1.6 did, without PyTorch."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    class FloatStorage:
        def __init__(self, key, array):
            self.key, self.array = key, array

    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"

    def _rebuild_tensor_v2(*_):
        raise AssertionError("only its name is read")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    torch.FloatStorage, torch._utils = FloatStorage, utils
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2

    class Tensor:
        def __init__(self, key, array):
            self.storage, self.array = FloatStorage(key, array), array

        def __reduce__(self):
            strides = tuple(step // 4 for step in self.array.strides)
            return _rebuild_tensor_v2, (self.storage, 0, self.array.shape, strides, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, FloatStorage):
                return ("storage", FloatStorage, item.key, "cpu", item.array.size, None)
            return None

    saved = {"torch": torch, "torch._utils": utils}
    sys.modules.update(saved)
    try:
        with open(path, "wb") as file:
            for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                pickle.dump(header, file, protocol=2)
            tensors = {
                name: Tensor(str(i), array) for i, (name, array) in enumerate(arrays.items())
            }
            Pickler(file, protocol=2).dump(tensors)
            pickle.dump([str(i) for i in range(len(arrays))], file, protocol=2)
            for array in arrays.values():
                file.write(struct.pack("<q", array.size) + array.astype("<f4").tobytes())
    finally:
        for name in saved:
            del sys.modules[name]


def test_a_pytorch_file_is_read_without_pytorch(tmp_path):
    arrays = {
        "a.weight": np.arange(24, dtype="float32").reshape(2, 3, 2, 2),
        "a.bias": np.array([0.5, -1], "float32"),
    }
    legacy_file(tmp_path / "w.pth", arrays)
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
    released = flip_averaging.both_sides(network)
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
@pytest.mark.parametrize("sides", [lambda model: model, flip_averaging.both_sides])
def test_a_file_of_the_same_network_gives_its_weights(tmp_path, films, name, sides):
    model, path = shaken("compact"), tmp_path / name
    saved = sides(model)
    saved.save(path) if name.endswith(".keras") else saved.save_weights(path)
    again = networks.build("compact", SIZE, 3, str(path))
    np.testing.assert_allclose(again(rgb(films)), model(rgb(films)), atol=1e-6)


def test_a_keras_file_fits_though_its_layers_have_other_names(tmp_path):
    names = [layer.name for layer in networks.build("DenseNet121", SIZE, 3).layers]
    model = networks.build("DenseNet121", SIZE, 3)
    assert names != [layer.name for layer in model.layers]
    model.save(tmp_path / "w.keras")
    again = networks.build("DenseNet121", SIZE, 3, str(tmp_path / "w.keras"))
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
