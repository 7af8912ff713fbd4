"""Flip averaging: a network that looks at an image and its mirror image, inside one model.

A network is trained on one image at a time; what is released sees each from both sides.
"""

import keras
import numpy as np
from keras import layers

from aihealth.modeling import graph
from aihealth.modeling.architectures import feature_layers


def both_sides(model: keras.Model) -> keras.Model:
    """The same network looking at an image and at its mirror image: the mean of both answers.

    The layers between greyscale and `features` are used twice, with the same weights. `features` is
    the mean of both sides' activations, mirrored back where they lie: so are the class activation
    maps, and the logits. The other features of the out-of-distribution score are of
    the image as it is. One flat model still: a nested one would run its batch normalisation as in
    training when it is called.

    Args:
        model: as `networks.build` makes it, trained in any precision; stays as it is.

    Returns:
        A model of new layers of the same names in single precision, which may train or not as
        before, with copies of the weights, and no optimizer. It has one side where `model` has no
        class activation maps. `model` itself where it looks at both sides already.
    """
    if looks_at_both_sides(model):
        return model
    taps = set(feature_layers(model))
    has_two = {graph.GREYSCALE, graph.FEATURES} <= {layer.name for layer in model.layers}
    (inputs,) = (layers.Input(tensor.shape[1:], name=tensor.name) for tensor in model.inputs)
    image, mirrored = {inputs.name: inputs}, {}  # name of a layer: what it gives
    for name, _, origins in graph.calls(model):
        old = model.get_layer(name)
        here = [image[origin] for origin, _ in origins]
        there = [mirrored.get(origin, image[origin]) for origin, _ in origins]
        twice = any(origin in mirrored for origin, _ in origins)
        if has_two and name == graph.FEATURES:
            back = mirror(*there, name=f"{graph.MIRROR}_back")
            image[name] = layers.Average(name=name, dtype="float32")([*here, back])
            continue
        layer = type(old).from_config(old.get_config() | {"dtype": "float32"})
        image[name] = layer(here if len(here) > 1 else here[0])
        if has_two and name == graph.GREYSCALE:
            mirrored[name] = mirror(image[name], name=graph.MIRROR)
        elif twice and name in taps:
            (mirrored[name],) = there  # Used once: the tap of one side.
        elif twice:
            mirrored[name] = layer(there if len(there) > 1 else there[0])
    made = keras.Model(inputs, image[graph.PROBABILITIES], name=model.name)
    graph.copy_weights(model, made)
    return made


def looks_at_both_sides(model: keras.Model) -> bool:
    """Whether a model answers for an image and its mirror image together."""
    return any(map(graph.is_mirror, model.layers))


def mirror(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Left and right exchanged, of finite `(n, h, w, c)`.

    By fixed matrices of zeros and ones, as no layer of Keras reverses an axis: one reverses the
    order of strips of equal width, at most 32, one the columns in each.
    """
    height, width, channels = x.shape[1:]
    strip = max(number for number in range(1, 33) if width % number == 0)
    if strip == width:
        return _reverse(x, name)

    def shaped(x: keras.KerasTensor, shape: tuple[int, ...], part: str) -> keras.KerasTensor:
        return layers.Reshape(shape, name=f"{name}_{part}", dtype="float32")(x)

    strips = shaped(x, (height, width // strip, strip * channels), "strips")
    ordered = _reverse(strips, f"{name}_order")
    columns = shaped(ordered, (height * width // strip, strip, channels), "columns")
    return shaped(_reverse(columns, f"{name}_strip"), (height, width, channels), "whole")


def _reverse(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    width = x.shape[2]
    layer = layers.EinsumDense(
        "nhwc,wv->nhvc", x.shape[1:], trainable=False, name=name, dtype="float32"
    )
    reversed_ = layer(x)
    layer.set_weights([np.eye(width, dtype="float32")[::-1]])
    return reversed_
