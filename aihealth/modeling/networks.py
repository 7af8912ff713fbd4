"""A network by its name, with the weights that training starts from."""

from collections.abc import Sequence

import keras

from aihealth.errors import UserError
from aihealth.modeling import architectures, starting_weights


def build(
    arch: str, input_size: int, classes: int, weights: str | Sequence[str] | None = None
) -> keras.Model:
    """Build a network.

    Args:
        arch: a key of `architectures.ARCHITECTURES`, or the name of a `keras.applications` model.
        input_size: side of the input, pixels.
        classes: number of classes.
        weights: None; "imagenet"; or a file: `.keras` or `.weights.h5` of the same architecture,
            the `.npz` of a checkpoint's averaged weights, or, for `compact`, the `.pth` of
            EfficientNet-Lite0. Of several the mean.

    Raises:
        UserError: unknown architecture, or weights that are missing or do not fit.
    """
    weights = [weights] if isinstance(weights, str) else list(weights or [])
    imagenet_by_keras = arch not in architectures.ARCHITECTURES and weights == ["imagenet"]
    if arch in architectures.ARCHITECTURES:
        model = architectures.ARCHITECTURES[arch](input_size, classes)
    elif arch in architectures.application_names():
        model = architectures.application(
            arch, input_size, classes, "imagenet" if imagenet_by_keras else None
        )
    else:
        raise UserError(
            f"--arch {arch} is unknown; use {', '.join(architectures.ARCHITECTURES)} or a "
            "keras.applications name such as MobileNetV2"
        )
    if weights and not imagenet_by_keras:
        starting_weights.load_mean_weights(model, weights)
    return model
