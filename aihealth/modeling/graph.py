"""What can be told of a flat functional model, and done with it, without knowing its architecture.

The names of three layers are the same in every network of this project.
"""

from typing import Any

import keras
from keras import layers

GREYSCALE = "greyscale"
FEATURES = "features"
PROBABILITIES = "probabilities"
# Layers with weights that `aihealth.modeling.framing` puts before a network.
FRAME_MATRICES = (
    "frame_rows_places", "frame_rows_right", "frame_columns_places", "frame_columns_right",
)  # fmt: skip
LOCALISER_LAYERS = (
    "localiser_0_conv", "localiser_0_bn", "localiser_1_conv", "localiser_1_bn",
    "localiser_2_conv", "localiser_2_bn", "localiser_3_conv", "localiser_3_bn",
    "localiser_4_conv", "localiser_4_bn", "localiser_5_conv", "localiser_5_bn",
    "localiser_dense", "localiser_box",
)  # fmt: skip
# In releases of old that answered for an image and its mirror image.
_MIRRORS = ("mirror", "mirror_order", "mirror_strip", "mirror_back")
NOT_OF_THE_NETWORK = {*FRAME_MATRICES, *LOCALISER_LAYERS, *_MIRRORS}


def in_single_precision(model: keras.Model) -> keras.Model:
    """The same network, whatever precision it was trained in.

    Args:
        model: as `networks.build` makes it; stays as it is.

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
    return sum(layer.count_params() for layer in model.layers if layer.name not in FRAME_MATRICES)


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
            if layer.weights and layer.name not in NOT_OF_THE_NETWORK
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


def has_class_activation_maps(model: keras.Model) -> bool:
    """Whether the model ends in features, global average pooling and one dense layer."""
    return any(layer.name == FEATURES for layer in model.layers)
