"""The networks: plain Keras layers, one flat functional model each.

Every model takes `(n, size, size, 3)` grey levels 0 to 255 and gives `(n, classes)`
probabilities; greyscale conversion and contrast normalisation are layers of it, so training and
serving cannot differ. Only layers that Keras itself knows are used: a published model loads
without this package, on every backend.

Models that end in `features` -> global average pooling -> `probabilities` have exact class
activation maps. The layers named `stage*` give the features of the out-of-distribution score.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from aihealth.errors import UserError, first_line

FEATURES = "features"
PROBABILITIES = "probabilities"
GREYSCALE = "greyscale"
STAGE = "stage"
# Beginnings of the names of layers that `aihealth.modeling.framing` puts before a network.
LOCALISER, FRAME = "localiser", "frame"
NOT_OF_THE_NETWORK = (LOCALISER, FRAME, "mirror")

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

    Starts from random weights, or from ImageNet's: see `aihealth.pretrained`.
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
        if stage > 1:
            x = layers.Identity(name=f"{STAGE}{stage}")(x)
    x = layers.Identity(name=FEATURES)(conv_bn(x, 256, 1, name="top"))
    return keras.Model(inputs, head(x, classes, dropout=0.2), name="compact")


def baseline(input_size: int, classes: int) -> keras.Model:
    """The original AIHealth network, layer for layer; 50.5 million parameters at 224 px."""
    inputs = layers.Input((input_size, input_size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    x = layers.Conv2D(32, 3, activation="relu", name="conv")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name=f"{STAGE}1")(x)
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


def build(
    arch: str, input_size: int, classes: int, weights: str | Sequence[str] | None = None
) -> keras.Model:
    """Build a network.

    Args:
        arch: a key of `ARCHITECTURES`, or the name of a `keras.applications` model.
        input_size: side of the input, pixels.
        classes: number of classes.
        weights: None; "imagenet"; or a file: `.keras` or `.weights.h5` of the same architecture,
            the `.npz` of a checkpoint's averaged weights, or, for `compact`, the `.pth` of
            EfficientNet-Lite0. Of several the mean.

    Raises:
        UserError: unknown architecture, or weights that are missing or do not fit.
    """
    from aihealth.modeling import starting_weights

    weights = [weights] if isinstance(weights, str) else list(weights or [])
    imagenet_by_keras = arch not in ARCHITECTURES and weights == ["imagenet"]
    if arch in ARCHITECTURES:
        model = ARCHITECTURES[arch](input_size, classes)
    elif arch in application_names():
        model = application(arch, input_size, classes, "imagenet" if imagenet_by_keras else None)
    else:
        raise UserError(
            f"--arch {arch} is unknown; use {', '.join(ARCHITECTURES)} or a keras.applications "
            "name such as MobileNetV2"
        )
    if weights and not imagenet_by_keras:
        starting_weights.load_mean_weights(model, weights)
    return model


# === Copies and weights ===


def in_single_precision(model: keras.Model) -> keras.Model:
    """The same network, whatever precision it was trained in.

    Args:
        model: as `build` makes it; stays as it is.

    Returns:
        A model of new layers of the same names, which may train or not as before, with copies of
        the weights, and no optimizer.
    """
    (inputs,) = (layers.Input(tensor.shape[1:], name=tensor.name) for tensor in model.inputs)
    outputs = apply_again(model, {(inputs.name, 0): inputs})
    made = keras.Model(inputs, outputs, name=model.name)
    copy_weights(model, made)
    return made


def apply_again(
    model: keras.Model, tensors: dict[tuple[str, int], keras.KerasTensor]
) -> keras.KerasTensor:
    """Let new layers, like those of a flat model, follow given tensors.

    Args:
        model: its layers are not used themselves, nor their weights.
        tensors: what calls of the model's layers give, by name and number of the call; what is
            needed of the others is made.

    Returns:
        What the model's last layer gives.
    """
    tensors, made = dict(tensors), {}
    for name, call, origins in calls(model):
        if (name, call) in tensors:
            continue
        if name not in made:
            old = model.get_layer(name)
            made[name] = type(old).from_config(old.get_config() | {"dtype": "float32"})
        taken = [tensors[origin] for origin in origins]
        tensors[name, call] = made[name](taken if len(taken) > 1 else taken[0])
    return tensors[PROBABILITIES, 0]


def count_params(model: keras.Model) -> int:
    """Numbers in the weights; the matrices that crop are none of them."""
    return sum(layer.count_params() for layer in model.layers if not layer.name.startswith(FRAME))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of a network to another one of the same layers.

    Layers belong together by name, or, as Keras makes some names up, by their order. What frames
    an image is no part of the network, nor is what mirrored it in older releases.

    Raises:
        ValueError: the networks differ.
    """
    sources, targets = (
        {
            layer.name: layer
            for layer in model.layers
            if layer.weights and not layer.name.startswith(NOT_OF_THE_NETWORK)
        }
        for model in (source, target)
    )
    if sources.keys() == targets.keys():
        targets = {name: targets[name] for name in sources}
    for one, other in zip(sources.values(), targets.values(), strict=True):
        other.set_weights(one.get_weights())


def calls(model: keras.Model) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """How the layers of a flat functional model follow one another.

    Returns:
        For each call of each layer but inputs: the layer's name, which of its calls this is, and
        the calls whose outputs it takes; each call after these.
    """
    waiting, known = [], set()
    for spec in model.get_config()["layers"]:
        name = spec["config"]["name"]
        if spec["class_name"] == "InputLayer":
            known.add((name, 0))
        for number, node in enumerate(spec["inbound_nodes"]):
            waiting.append((name, number, _origins(node["args"])))
    found = []
    while waiting:
        ready = [call for call in waiting if known.issuperset(call[2])]
        known.update(call[:2] for call in ready)
        found += ready
        waiting = [call for call in waiting if call[:2] not in known]
    return found


def _origins(item: Any) -> list[tuple[str, int]]:
    """The calls whose outputs one call takes, from the arguments in a Keras 3 configuration."""
    if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__":
        return [tuple(item["config"]["keras_history"][:2])]
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [origin for part in item for origin in _origins(part)]
    return []


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


def application_names() -> list[str]:
    """The models of `keras.applications`."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def trunk_depth_layers(model: keras.Model) -> list[str]:
    """Names of the layers whose means are the features of the out-of-distribution score."""
    stages = [layer.name for layer in model.layers if layer.name.startswith(STAGE)]
    return [*stages, FEATURES] if has_class_activation_maps(model) else stages


def has_class_activation_maps(model: keras.Model) -> bool:
    """Whether the model ends in features, global average pooling and one dense layer."""
    return any(layer.name == FEATURES for layer in model.layers)
