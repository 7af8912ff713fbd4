"""The networks: plain Keras layers, one flat functional model each.

Every model takes `(n, size, size, 3)` grey levels 0 to 255 and gives `(n, classes)`
probabilities; greyscale conversion and contrast normalisation are layers of it, so training and
serving cannot differ. Only layers that Keras itself knows are used: a published model loads
without this package, on every backend.

Models that end in `features` -> global average pooling -> `probabilities` have exact class
activation maps. `FEATURE_LAYERS` names the layers that the out-of-distribution score looks at.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from aihealth.errors import UserError, first_line
from aihealth.modeling.graph import FEATURES, GREYSCALE, PROBABILITIES

# ITU-R BT.601-7: luma of red, green and blue, as PIL's convert("L").
LUMA = (0.299, 0.587, 0.114)


# === Building blocks ===


def greyscale(images: keras.KerasTensor) -> keras.KerasTensor:
    """`(n, h, w, 3)` to `(n, h, w, 1)` by fixed weights."""
    layer = layers.Conv2D(1, 1, use_bias=False, trainable=False, name=GREYSCALE)
    grey = layer(images)
    layer.set_weights([np.array(LUMA, "float32").reshape(1, 1, 3, 1)])
    return grey


def standardize(grey: keras.KerasTensor) -> keras.KerasTensor:
    """Each image to mean 0 and standard deviation 1/2, whatever its exposure and window."""
    whitened = layers.LayerNormalization(
        axis=(1, 2, 3), center=False, scale=False, epsilon=1.0, name="standardize"
    )(grey)
    # ImageNet weights were trained on values of about this spread.
    return layers.Rescaling(0.5, name="spread")(whitened)


def conv_bn(
    x: keras.KerasTensor,
    filters: int,
    kernel: int,
    strides: int = 1,
    *,
    name: str,
    act: bool = True,
) -> keras.KerasTensor:
    """Convolution, batch normalisation, ReLU6."""
    x = layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return bn_relu6(x, name=name, act=act)


def bn_relu6(x: keras.KerasTensor, *, name: str, act: bool = True) -> keras.KerasTensor:
    """Batch normalisation that follows small epochs (momentum 0.9), then ReLU6."""
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if act else x


def inverted_residual(
    x: keras.KerasTensor, kernel: int, strides: int, expand: int, filters: int, *, name: str
) -> keras.KerasTensor:
    """Inverted residual block (Sandler et al., MobileNetV2, CVPR 2018)."""
    inside = x
    if expand != 1:
        inside = conv_bn(inside, x.shape[-1] * expand, 1, name=f"{name}_expand")
    inside = layers.DepthwiseConv2D(
        kernel, strides, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(inside)
    inside = bn_relu6(inside, name=f"{name}_depthwise")
    inside = conv_bn(inside, filters, 1, name=f"{name}_project", act=False)
    if strides == 1 and x.shape[-1] == filters:
        return layers.Add(name=f"{name}_add")([x, inside])
    return inside


def head(x: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """Global average pooling and one dense layer: class activation maps are exact."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, activation="softmax", name=PROBABILITIES)(x)


# === Architectures ===

# (kernel, strides, expansion, filters, blocks) of EfficientNet-Lite0's first five stages. The
# stages after them hold four fifths of its weights and see a grid of 5 x 5: cutting them keeps
# what transfers to radiographs (Ke et al., "CheXtransfer", CHIL 2021).
COMPACT_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
)


def compact(input_size: int, classes: int) -> keras.Model:
    """The default: the first five stages of EfficientNet-Lite0, 0.75 million parameters.

    Starts from random weights, or from ImageNet's: see `aihealth.modeling.starting_weights`.
    """
    inputs = layers.Input((input_size, input_size, 3), name="image")
    x = standardize(greyscale(inputs))
    x = conv_bn(x, 32, 3, 2, name="stem")
    block = 0
    for stage, (kernel, strides, expand, filters, repeats) in enumerate(COMPACT_STAGES, 1):
        for repeat in range(repeats):
            x = inverted_residual(
                x, kernel, strides if repeat == 0 else 1, expand, filters, name=f"block{block}"
            )
            block += 1
        if f"stage{stage}" in FEATURE_LAYERS["compact"]:
            x = layers.Identity(name=f"stage{stage}")(x)
    x = layers.Identity(name=FEATURES)(conv_bn(x, 256, 1, name="top"))
    return keras.Model(inputs, head(x, classes, dropout=0.2), name="compact")


def baseline(input_size: int, classes: int) -> keras.Model:
    """The original AIHealth network, layer for layer; 50.5 million parameters at 224 px."""
    inputs = layers.Input((input_size, input_size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    x = layers.Conv2D(32, 3, activation="relu", name="conv")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="stage1")(x)
    outputs = layers.Dense(classes, activation="softmax", name=PROBABILITIES)(x)
    return keras.Model(inputs, outputs, name="baseline")


# What the families of keras.applications expect of 0..255 grey levels; others rescale themselves.
_MINUS_ONE_TO_ONE = ("MobileNet", "MobileNetV2", "InceptionV3", "InceptionResNetV2", "Xception",
    "NASNetMobile", "NASNetLarge", "ResNet50V2", "ResNet101V2", "ResNet152V2")  # fmt: skip
_IMAGENET_MEAN = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
_UNIT = ("DenseNet121", "DenseNet169", "DenseNet201")


def application(
    name: str, input_size: int, classes: int, weights: str | None = None
) -> keras.Model:
    """A backbone of `keras.applications` under the same greyscale input and head.

    Args:
        name: as Keras spells it, such as "MobileNetV2".
        weights: "imagenet" downloads Keras' own; None starts from random weights.

    Raises:
        UserError: the weights cannot be downloaded.
    """
    inputs = layers.Input((input_size, input_size, 3), name="image")
    x = layers.Concatenate(name="three_channels")([greyscale(inputs)] * 3)
    if name in _MINUS_ONE_TO_ONE:
        x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling_input")(x)
    elif name in _IMAGENET_MEAN:
        x = layers.Rescaling(1.0, offset=-114.8, name="rescaling_input")(x)
    elif name in _UNIT:
        x = layers.Rescaling(1 / (255 * 0.226), offset=-0.449 / 0.226, name="rescaling_input")(x)
    try:
        # `input_tensor` keeps the model flat: a nested one would run its dropout when called.
        backbone = getattr(keras.applications, name)(
            include_top=False, weights=weights, input_tensor=x
        )
    except Exception as error:
        if weights == "imagenet":
            raise UserError(
                f"the ImageNet weights of {name} cannot be had: {first_line(error)}"
            ) from error
        raise UserError(
            f"{name} cannot be built at {input_size} px: {first_line(error)}"
        ) from error
    x = layers.Identity(name=FEATURES)(backbone.output)
    return keras.Model(inputs, head(x, classes, dropout=0.2), name=name)


ARCHITECTURES: dict[str, Callable[[int, int], keras.Model]] = {
    "compact": compact,
    "baseline": baseline,
}

# The layers whose means are the features of the out-of-distribution score, from shallow to deep;
# of any other network the last activations alone.
FEATURE_LAYERS = {
    "compact": ("stage2", "stage3", "stage4", "stage5", FEATURES),
    "baseline": ("stage1",),
}


def feature_layers(model: keras.Model) -> tuple[str, ...]:
    """Names of the layers whose means are the features of the out-of-distribution score."""
    return FEATURE_LAYERS.get(model.name, (FEATURES,))


def application_names() -> list[str]:
    """The models of `keras.applications`."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def freeze(model: keras.Model, blocks: int) -> None:
    """Keep the stem and the first blocks of `compact` as they are, their normalisation included.

    Args:
        blocks: how many of the eleven; 0 freezes nothing.
    """
    if blocks:
        fixed = ("stem_", *(f"block{index}_" for index in range(blocks)))
        for layer in model.layers:
            if layer.name.startswith(fixed):
                layer.trainable = False
