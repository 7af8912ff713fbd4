"""Every radiograph in one frame: a small network finds the lungs, the image is cut to their box.

How large the lungs stand in an image, and where, tells of the hospital and not of the patient. So
the localiser gives a box, lungs and a narrow margin, and the classifying network sees nothing but
what lies in it, at one size. The box may reach over the edge of the image; there its border
pixels are repeated.

All of it is plain layers of Keras inside the published model, so every loader frames alike. The
crop is separable and bilinear: two products of matrices whose weights are `relu(1 - |c - j|)`, with
`c` where a row or column of the frame lies and `j` the rows or columns of the image (the sampling
of Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, without rotation).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers

from aihealth.errors import UserError
from aihealth.modeling import architectures, graph
from aihealth.modeling.pretrained import from_pretrained_keras

if TYPE_CHECKING:
    import tensorflow as tf

# Begin the names of the layers; those that have weights stand in `graph`, too.
LOCALISER, FRAME = "localiser", "frame"
BOX = f"{LOCALISER}_box"
IMAGE_SIDE = 224  # of images whose frame is cut, pixels
LOCALISER_SIDE = 56  # what the localiser looks at, pixels
MAP_SIDE = 28  # pixels of a heatmap that is put back onto the image
MARGIN = 0.06  # at each side, share of the size of the lungs
_BATCH = 64
# Taught the boxes of a segmenter of lungs (docs/lab-notebook.md).
SHIPPED = Path(__file__).with_name("localiser.weights.h5")
_FILTERS = ((16, 2), (32, 1), (48, 2), (64, 1), (64, 2))  # filters and stride of its convolutions


def localiser(grey: keras.KerasTensor) -> keras.KerasTensor:
    """Where the lungs are.

    Args:
        grey: `(n, side, side, 1)` grey levels 0..255; `side` is a multiple of `LOCALISER_SIDE`.

    Returns:
        `(n, 4)`: left, top, right and bottom of the frame, as shares of the image's sides; a
        little below 0 or above 1 where the frame reaches over the edge.
    """
    x = layers.AveragePooling2D(grey.shape[1] // LOCALISER_SIDE, name=f"{LOCALISER}_shrink")(grey)
    x = layers.LayerNormalization(
        axis=(1, 2, 3), center=False, scale=False, epsilon=1.0, name=f"{LOCALISER}_standardize"
    )(x)
    for number, (filters, strides) in enumerate(_FILTERS):
        x = architectures.conv_bn(x, filters, 3, strides, name=f"{LOCALISER}_{number}")
    x = architectures.conv_bn(x, 32, 1, name=f"{LOCALISER}_{len(_FILTERS)}")
    x = layers.Flatten(name=f"{LOCALISER}_flat")(x)
    x = layers.Dense(64, activation="relu", name=f"{LOCALISER}_dense")(x)
    return layers.Dense(4, name=BOX)(x)


def crop(grey: keras.KerasTensor, box: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Cut images to their boxes.

    Args:
        grey: `(n, side, side, 1)`.
        box: `(n, 4)` as `localiser` gives it.
        size: of the frame, pixels.

    Returns:
        `(n, size, size, 1)`; grey levels beyond the edge are those of the nearest pixel.
    """
    side = grey.shape[1]
    rows, columns = (_weights(box, axis, side, size) for axis in ("rows", "columns"))
    x = layers.Reshape((side, side), name=f"{FRAME}_image")(grey)
    x = layers.Dot((2, 1), name=f"{FRAME}_cut_rows")([rows, x])
    x = layers.Dot((2, 2), name=f"{FRAME}_cut_columns")([x, columns])
    return layers.Reshape((size, size, 1), name=FRAME)(x)


def _weights(box: keras.KerasTensor, axis: str, side: int, size: int) -> keras.KerasTensor:
    """`(n, size, side)`: how much each pixel of the image brings to each pixel of the frame."""

    def name(part: str) -> str:
        return f"{FRAME}_{axis}_{part}"

    share = (np.arange(size) + 0.5) / size
    low = 0 if axis == "columns" else 1  # in left, top, right, bottom
    kernel = np.zeros((4, size))
    kernel[low], kernel[low + 2] = (1 - share) * side, share * side
    places = _fixed(layers.Dense(size, trainable=False, name=name("places")), box, kernel, -0.5)
    # A place beyond the edge takes the edge's pixel.
    places = layers.ReLU(max_value=side - 1.0, name=name("inside"))(places)
    places = layers.Reshape((size, 1), name=name("column"))(places)
    ones = np.ones((1, side))
    right = _fixed(
        layers.Dense(side, trainable=False, name=name("right")), places, ones, -np.arange(side)
    )
    left = layers.Rescaling(-1.0, name=name("left"))(right)
    away = layers.Add(name=name("away"))(
        [layers.ReLU(name=name("right_of"))(right), layers.ReLU(name=name("left_of"))(left)]
    )
    near = layers.Rescaling(-1.0, offset=1.0, name=name("near"))(away)
    return layers.ReLU(name=name("weights"))(near)


def _fixed(
    layer: layers.Dense, x: keras.KerasTensor, kernel: np.ndarray, bias: float | np.ndarray
) -> keras.KerasTensor:
    given = layer(x)
    bias = np.broadcast_to(np.asarray(bias, "float32"), kernel.shape[1:])
    layer.set_weights([kernel.astype("float32"), bias])
    return given


def framed(network: keras.Model, finder: keras.Model, side: int) -> keras.Model:
    """A network that looks at the frame of an image instead of the whole.

    Args:
        network: as `networks.build` makes it, trained on frames; stays as it is.
        finder: as `build_localiser` makes it.
        side: of the new model's input, pixels.

    Returns:
        One flat model of new layers, in single precision and not compiled.
    """
    inputs = layers.Input((side, side, 3), name="image")
    grey = architectures.greyscale(inputs)
    cut = crop(grey, localiser(grey), network.input_shape[1])
    outputs = graph.apply_again(network, {(graph.GREYSCALE, 0): cut})
    whole = keras.Model(inputs, outputs, name=network.name)
    for source in (network, finder):
        for layer in source.layers:
            if layer.weights and layer.name != graph.GREYSCALE:
                whole.get_layer(layer.name).set_weights(layer.get_weights())
    return whole


def build_localiser(side: int = 2 * LOCALISER_SIDE) -> keras.Model:
    """The localiser alone, `(n, side, side, 1)` grey levels to `(n, 4)`, with random weights."""
    inputs = layers.Input((side, side, 1), name="grey")
    return keras.Model(inputs, localiser(inputs), name=LOCALISER)


def load_localiser(source: str | Path) -> keras.Model:
    """A localiser with its weights.

    Args:
        source: a `.weights.h5` of one, as `SHIPPED`, or a release that has one, as
            `aihealth.from_pretrained_keras` takes it.

    Raises:
        UserError: there is no such file or release, or it has no localiser.
    """
    if str(source).endswith(".weights.h5"):
        model = build_localiser()
        try:
            model.load_weights(source)
        except Exception as error:  # h5py and Keras raise many kinds.
            raise UserError(f"--localiser {source}: no localiser's weights are there") from error
        return model
    whole = from_pretrained_keras(source)
    if not is_framed(whole):
        raise UserError(f"--localiser {source}: this release has none; it judges images as a whole")
    model = build_localiser()
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
    return model


def put_back(maps: "tf.Tensor", box: "tf.Tensor") -> "tf.Tensor":
    """Maps of the frame where they lie on the image.

    Args:
        maps: `(1, classes, h, w)`.
        box: `(1, 4)` as `localiser` gives it.

    Returns:
        `(1, classes, MAP_SIDE, MAP_SIDE)`, of the whole image; 0 outside of the frame.
    """
    import tensorflow as tf

    def weights(low: tf.Tensor, high: tf.Tensor, pixels: int) -> tf.Tensor:
        places = (tf.range(MAP_SIDE, dtype=tf.float32) + 0.5) / MAP_SIDE
        share = (places - low) / tf.maximum(high - low, 1e-3)
        # Between the last pixel's centre and the edge of the frame the map goes on as it is.
        inside = tf.cast((share >= 0.0) & (share <= 1.0), tf.float32)[:, None]
        place = tf.clip_by_value(share * pixels - 0.5, 0.0, pixels - 1.0)[:, None]
        away = tf.abs(place - tf.range(pixels, dtype=tf.float32)[None])
        return inside * tf.nn.relu(1.0 - away)

    left, top, right, bottom = tf.unstack(box[0])
    rows = weights(top, bottom, maps.shape[2])
    columns = weights(left, right, maps.shape[3])
    return tf.matmul(tf.matmul(rows[None, None], maps), columns[None, None], transpose_b=True)


def frame_images(
    finder: keras.Model, pixels: np.ndarray, size: int, trim: float = 0.0, seed: int = 0
) -> np.ndarray:
    """The frames of images, as the published model cuts them.

    Args:
        finder: as `build_localiser` makes it.
        pixels: uint8 `(n, side, side)`.
        size: of the frames, pixels.
        trim: 0..1. In every other image what lies farther from the lungs than a random share of
            this size of them is first replaced by the border of what is left, as if the image had
            ended there: that an image is cut tightly then says nothing of its hospital.
        seed: of `trim`.

    Returns:
        uint8 `(n, size, size)`.
    """
    side, rng = pixels.shape[1], np.random.default_rng(seed)
    image, box = layers.Input((side, side, 1)), layers.Input((4,))
    cutter = keras.Model([image, box], crop(image, box, size))
    frames = np.empty((len(pixels), size, size), np.uint8)
    for start in range(0, len(pixels), _BATCH):
        images = pixels[start : start + _BATCH]
        boxes = find(finder, images)
        if trim:
            images = np.stack(
                [_trimmed(*pair, trim, rng) for pair in zip(images, boxes, strict=True)]
            )
        cut = cutter.predict_on_batch([images[..., None].astype("float32"), boxes])
        frames[start : start + _BATCH] = np.rint(np.clip(cut[..., 0], 0, 255))
    return frames


def find(finder: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Boxes as `localiser` gives them, `(n, 4)`, of uint8 `(n, side, side)`."""
    small = finder.input_shape[1]
    factor = pixels.shape[1] // small
    grey = pixels.reshape(len(pixels), small, factor, small, factor).mean((2, 4))
    return finder.predict_on_batch(grey[..., None].astype("float32"))


def _trimmed(
    image: np.ndarray, box: np.ndarray, trim: float, rng: np.random.Generator
) -> np.ndarray:
    side, away = len(image), rng.uniform(-MARGIN, trim, 4)
    if rng.random() < 0.5:
        return image
    width, height = box[2] - box[0], box[3] - box[1]
    sizes = np.array([-width, -height, width, height])
    # The box has a margin around the lungs already.
    ends = np.rint(np.clip(box + away * sizes, 0, 1) * side).astype(int)
    left, top, right, bottom = ends
    if right - left < side // 4 or bottom - top < side // 4:
        return image
    edges = ((top, side - bottom), (left, side - right))
    return np.pad(image[top:bottom, left:right], edges, mode="edge")


def is_framed(model: keras.Model) -> bool:
    """Whether a model frames what it is given."""
    return any(layer.name == FRAME for layer in model.layers)
