"""Augmentation of a batch of radiographs with TensorFlow operations, against shortcuts.

A hospital shows in the tone curve, the sharpness, the borders and the letters in the corners of
its images. Each step of `image_changes` takes one of these clues away.
"""

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from aihealth.training.dice import Dice
from aihealth.training.image_changes import (
    Strength,
    disturb,
    halves,
    hide,
    local,
    resample,
    some,
    swap_background,
    tone,
    warp,
)

# uint8 `(n, s, s)` and the random numbers to `(n, size, size, 1)`, float32 0..255.
Augmentation = Callable[[tf.Tensor, Dice], tf.Tensor]

LIGHT = Strength(
    zoom=(0.9, 1.0), aspect=0.05, shift=0.03, rotate=5.0, match=0.0, equalise=0.0, gamma=0.1,
    contrast=0.1, resample=0.0, local=0.0, noise=0.0, field=0.0, corners=0.0, cutout=0.0,
    border=0.0,
)  # fmt: skip
WIDE = Strength()


def by_name(name: str, size: int, background_swap: float = 0.0) -> tuple[Augmentation, float]:
    """What happens to training images, and how much larger than `size` they are read for it.

    Args:
        name: a key of `CHANGES`.
        size: side of the input, pixels.
        background_swap: probability of `swap_background`; above 0 the images must be as
            `data.lungs.mark_all` gives them.
    """
    change, margin = CHANGES[name]
    if name not in ("original", "none"):
        change = functools.partial(change, size=size)
    if not background_swap:
        return change, margin
    return lambda images, dice: change(swap_background(images, dice, background_swap), dice), margin


def augment(images: tf.Tensor, dice: Dice, size: int, strength: Strength) -> tf.Tensor:
    """Change each image of a batch at random.

    Args:
        images: uint8 `(n, s, s)`, grey levels 0..255.
        dice: what is drawn at random.
        size: side of the result; choose `s` a little larger, so that crops keep their detail.

    Returns:
        float32 `(n, size, size, 1)`, 0..255.
    """
    x = tone(images, dice, strength)
    x = warp(x[..., None], dice, size, strength)
    if strength.local:
        x = some(dice, strength.local, local(x, dice), x)
    if strength.resample:
        x = resample(x, dice, strength)
    if strength.field or strength.noise:
        x = disturb(x, dice, strength)
    return hide(tf.clip_by_value(x, 0.0, 255.0), dice, strength)


def mixed(images: tf.Tensor, dice: Dice, size: int) -> tf.Tensor:
    """As `augment`, the first half of a batch with `LIGHT`, the second with `WIDE`.

    A network that sees each image both ways learns them as they are and as others process them.
    """
    first, second = halves(images)
    return tf.concat([augment(first, dice, size, LIGHT), augment(second, dice, size, WIDE)], axis=0)


def no_augmentation(images: tf.Tensor, dice: Dice) -> tf.Tensor:
    """uint8 `(n, s, s)` to float32 `(n, s, s, 1)`, as they are."""
    return tf.cast(images[..., None], tf.float32)


def original_augmentation(images: tf.Tensor, dice: Dice) -> tf.Tensor:
    """What the original script did with ImageDataGenerator: shear 0.2, zoom 0.2, mirror.

    Args:
        images: uint8 `(n, s, s)`.

    Returns:
        float32 `(n, s, s, 1)`, 0..255.
    """
    n, side = tf.shape(images)[0], images.shape[1]
    shear = dice.uniform([n], -0.2, 0.2) * (math.pi / 180)  # Keras takes degrees
    zoom_x, zoom_y = dice.uniform([n], 0.8, 1.2), dice.uniform([n], 0.8, 1.2)
    mirror = tf.where(dice.uniform([n]) < 0.5, -1.0, 1.0)
    half = (side - 1) / 2
    a, b = mirror * zoom_x, -tf.sin(shear) * zoom_y
    c, d = tf.zeros([n]), tf.cos(shear) * zoom_y
    zero = tf.zeros([n])
    transforms = [a, b, half - half * (a + b), c, d, half - half * (c + d), zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images[..., None], tf.float32),
        transforms=tf.stack(transforms, axis=1),
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


LARGER = 1.25  # Crops of images that are a quarter larger keep their detail.

# What `--augment` names: a function, and how much larger than the input its images are.
CHANGES: dict[str, tuple[Callable[..., tf.Tensor], float]] = {
    "mixed": (mixed, LARGER),
    "light": (functools.partial(augment, strength=LIGHT), LARGER),
    "original": (original_augmentation, 1.0),
    "none": (no_augmentation, 1.0),
}
