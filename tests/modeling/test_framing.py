"""The localiser, and the frame that it gives."""

import keras
import numpy as np
import pytest

from aihealth import release
from aihealth.errors import UserError
from aihealth.modeling import export, framing, graph, networks, starting_weights
from data_prep.radiographs import draw_radiograph

SIDE, SIZE = framing.LOCALISER_SIDE * 2, 64


def finder_of(box):
    """A localiser that gives nearly the same box whatever it sees."""
    model = framing.build_localiser(SIDE)
    last = model.get_layer(framing.BOX)
    kernel, _ = last.get_weights()
    last.set_weights([kernel * 1e-3, np.array(box, "float32")])
    return model


def films(count=2):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, 14, 14))
    return np.uint8(np.kron(coarse, np.ones((1, SIDE // 14, SIDE // 14))))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    network = networks.build("compact", SIZE, 3)
    for layer in network.layers:  # Random weights of one size would give 1/3 to every class.
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, *rest = layer.get_weights()
            layer.set_weights([gamma * 1.5, *rest])
    return framing.framed(network, finder_of((0.1, 0.2, 0.8, 1.1)), SIDE)


def batch(pixels):
    return np.repeat(pixels[..., None], 3, -1).astype("float32")


def test_the_frame_is_the_box_of_the_image_sampled_linearly_and_its_edge_goes_on(model):
    from scipy.ndimage import map_coordinates

    pixels = films()
    tap = keras.Model(
        model.inputs, [model.get_layer(framing.FRAME).output, model.get_layer(framing.BOX).output]
    )
    frames, boxes = tap.predict(batch(pixels), verbose=0)
    share = (np.arange(SIZE) + 0.5) / SIZE
    for film, frame, (left, top, right, bottom) in zip(pixels, frames, boxes, strict=True):
        assert bottom > 1
        rows = np.clip((top + share * (bottom - top)) * SIDE - 0.5, 0, SIDE - 1)
        columns = np.clip((left + share * (right - left)) * SIDE - 0.5, 0, SIDE - 1)
        at = np.meshgrid(rows, columns, indexing="ij")
        expected = map_coordinates(film.astype(float), at, order=1)
        np.testing.assert_allclose(frame[..., 0], expected, atol=0.05)


def test_what_lies_outside_of_the_frame_changes_nothing_but_the_box(model):
    tap = keras.Model(model.inputs, model.get_layer(framing.FRAME).output)
    fixed = framing.framed(
        networks.build("compact", SIZE, 3), finder_of((0.25, 0.25, 0.75, 0.75)), SIDE
    )
    tap = keras.Model(fixed.inputs, fixed.get_layer(framing.FRAME).output)
    pixels = films()
    painted = pixels.copy()
    painted[:, : SIDE // 5] = 255
    one, other = (tap.predict(batch(x), verbose=0) for x in (pixels, painted))
    assert np.abs(one - other).max() < 10 and np.abs(one - other).mean() < 1


def test_every_export_of_a_framed_model_answers_alike(model, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    export.round_weights(copy)
    pixels = films(1)
    ours = copy.predict(batch(pixels), verbose=0)
    older = export.to_tf_keras(copy).predict(batch(pixels), verbose=0)
    np.testing.assert_allclose(older, ours, atol=1e-5)
    export.save_litert(copy, tmp_path / release.LITERT)
    runner = Interpreter(str(tmp_path / release.LITERT)).get_signature_runner()
    outputs = runner(image=pixels[..., None])
    np.testing.assert_allclose(outputs["probabilities"], ours, atol=1e-3)
    assert outputs["heatmaps"].shape == (1, 3, framing.MAP_SIDE, framing.MAP_SIDE)
    export.save_keras(copy, tmp_path)
    again = keras.saving.load_model(tmp_path, compile=False)
    np.testing.assert_allclose(again.predict(batch(pixels), verbose=0), ours, atol=1e-6)


def test_what_is_not_of_the_network_is_known_by_name_and_not_by_how_names_begin(model):
    network = networks.build("compact", SIZE, 3)
    added = {layer.name for layer in model.layers if layer.weights} - {
        layer.name for layer in network.layers
    }
    assert added == {*graph.FRAME_MATRICES, *graph.LOCALISER_LAYERS}
    inputs = keras.Input((4,))
    one, other = (
        keras.Model(inputs, keras.layers.Dense(2, name="frames_and_mirrors")(inputs))
        for _ in range(2)
    )
    graph.copy_weights(one, other)
    np.testing.assert_array_equal(one.get_weights()[0], other.get_weights()[0])
    assert graph.count_params(one) == 10


def test_maps_lie_where_the_frame_lies_on_the_image():
    maps = np.zeros((1, 1, 4, 4), "float32")
    maps[0, 0, 0, 0] = 1  # upper left of the frame
    back = framing.put_back(maps, np.array([[0.5, 0.25, 1.0, 0.75]], "float32")).numpy()[0, 0]
    row, column = np.unravel_index(back.argmax(), back.shape)
    half, quarter = framing.MAP_SIDE // 2, framing.MAP_SIDE // 4
    assert half <= column < half + quarter and quarter <= row < half
    assert not back[:, :half].any() and not back[: quarter - 1].any()


def test_frames_for_training_are_those_of_the_model(model):
    pixels = films()
    tap = keras.Model(model.inputs, model.get_layer(framing.FRAME).output)
    expected = tap.predict(batch(pixels), verbose=0)[..., 0]
    finder = finder_of((0.1, 0.2, 0.8, 1.1))
    frames = framing.frame_images(finder, pixels, SIZE)
    assert np.abs(frames - expected).max() < 3
    trimmed = framing.frame_images(finder, np.repeat(pixels, 8, 0), SIZE, trim=0.1)
    assert (trimmed != np.repeat(frames, 8, 0)).any((1, 2)).any()


def test_a_framed_release_gives_its_localiser_and_its_network(model, tmp_path):
    export.save_keras(model, tmp_path)
    found = framing.load_localiser(tmp_path)
    pixels = films()
    np.testing.assert_allclose(
        framing.find(found, pixels),
        framing.find(finder_of((0.1, 0.2, 0.8, 1.1)), pixels),
        atol=2e-2,
    )
    release.ReleaseConfig(["a", "b", "c"], SIDE, "compact").save(tmp_path)
    network = networks.build("compact", SIZE, 3)
    starting_weights.load_weights(network, str(tmp_path / "model.weights.h5"))
    dense = graph.PROBABILITIES
    np.testing.assert_array_equal(
        network.get_layer(dense).get_weights()[0], model.get_layer(dense).get_weights()[0]
    )


def test_a_release_without_a_localiser_is_refused(tmp_path):
    export.save_keras(networks.build("compact", SIZE, 3), tmp_path)
    with pytest.raises(UserError, match="as a whole"):
        framing.load_localiser(tmp_path)


def test_the_shipped_localiser_finds_the_same_lungs_in_a_smaller_picture_of_a_film():
    finder = framing.load_localiser(framing.SHIPPED)
    side = framing.IMAGE_SIDE
    film = draw_radiograph(np.random.default_rng(0), "Normal", size=side)
    (whole,) = framing.find(finder, film[None])
    assert 0 < whole[2] - whole[0] <= 1.1 and 0 < whole[3] - whole[1] <= 1.1
    bordered = np.full((side, side), film.mean(), np.uint8)
    small, edge = film[::2, ::2], side // 4
    bordered[edge : 3 * edge, edge : 3 * edge] = small
    (inner,) = framing.find(finder, bordered[None])
    np.testing.assert_allclose(inner, whole / 2 + 0.25, atol=0.1)
    with pytest.raises(UserError, match="no localiser's weights"):
        framing.load_localiser("nowhere.weights.h5")
