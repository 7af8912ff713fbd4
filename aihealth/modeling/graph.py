"""What can be told of a flat functional model, and done with it, without knowing its architecture.

The names of three layers are the same in every network of this project.
"""

from typing import Any

import keras

GREYSCALE = "greyscale"
FEATURES = "features"
PROBABILITIES = "probabilities"
MIRROR = "mirror"  # beginning of the names of the layers that mirror an image


def count_params(model: keras.Model) -> int:
    """Numbers in the weights; the matrices that mirror are none of them."""
    return sum(layer.count_params() for layer in model.layers if not is_mirror(layer))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of a network to another one of the same layers, of one side or both.

    Layers belong together by name, or, as Keras makes some names up, by their order.

    Raises:
        ValueError: the networks differ.
    """
    sources, targets = (
        {layer.name: layer for layer in model.layers if layer.weights and not is_mirror(layer)}
        for model in (source, target)
    )
    if sources.keys() == targets.keys():
        targets = {name: targets[name] for name in sources}
    for one, other in zip(sources.values(), targets.values(), strict=True):
        other.set_weights(one.get_weights())


def is_mirror(layer: keras.layers.Layer) -> bool:
    """Whether a layer exchanges left and right, and does nothing else."""
    return layer.name.startswith(MIRROR)


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
