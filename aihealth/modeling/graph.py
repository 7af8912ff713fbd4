"""What can be told of a flat functional model, and done with it, without knowing its architecture.

The names of three layers are the same in every network of this project.
"""

from typing import Any

import keras

GREYSCALE = "greyscale"
FEATURES = "features"
PROBABILITIES = "probabilities"
# In releases of old that answered for an image and its mirror image.
NOT_OF_THE_NETWORK = {"mirror", "mirror_order", "mirror_strip", "mirror_back"}


def in_single_precision(model: keras.Model) -> keras.Model:
    """The same network of Keras' own layers, however it was trained.

    Args:
        model: as `networks.build` makes it, perhaps `with_batch_normalization` of another class
            or in half precision; stays as it is.

    Returns:
        A model of new layers of the same names, which may train or not as before, with copies of
        the weights, and no optimizer.
    """
    copy = with_batch_normalization(model, keras.layers.BatchNormalization, dtype="float32")
    return keras.Model(copy.inputs, copy.outputs, name=model.name)  # without the optimizer


def with_batch_normalization(
    model: keras.Model, kind: type[keras.layers.BatchNormalization], **config: Any
) -> keras.Model:
    """A copy that shares nothing, whose batch normalisation is of this class.

    Args:
        model: stays as it is.
        kind: `keras.layers.BatchNormalization`, or what derives from it.
        config: changed in the configuration of every layer.
    """

    def remade(layer: keras.layers.Layer) -> keras.layers.Layer:
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        return (kind if normalizes else type(layer)).from_config(layer.get_config() | config)

    copy = keras.models.clone_model(model, clone_function=remade)
    copy.set_weights(model.get_weights())
    return copy


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of a network to another one of the same layers.

    Layers belong together by name, or, as Keras makes some names up, by their order. What
    mirrored an image in older releases is no part of the network.

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
