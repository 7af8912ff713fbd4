"""Train the network that outlines lungs: `aihealth/data/lungs.tflite`.

Outlines of healthy lungs are what collections have. So opacities are drawn into the lungs, up to a
whole white one, and place, scale, tone and sharpness are varied as for classification.
"""

import random

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from aihealth.errors import UserError
from aihealth.modeling import architectures
from aihealth.release import whole_file
from aihealth.training import image_changes
from aihealth.training.dice import Dice
from data_prep.compose import outlined_radiographs

SIDE = 128  # pixels of the network's input
BATCH = 16
LEAST = 20  # radiographs that are needed
FILTERS = (12, 20, 32, 48, 64)
HARD = image_changes.Strength(zoom=(0.7, 1.5), shift=0.1, rotate=14.0)


def train(radiographs: str, masks: str, out: str, steps: int = 1200, seed: int = 1337) -> float:
    """Train on nine tenths of the outlined radiographs, and write the network for LiteRT.

    Args:
        radiographs: folder, at any depth, of whole radiographs.
        masks: folder of outlines of the lungs of some of these radiographs: white on black, PNG
            files of the radiographs' names.
        out: file to write, such as `lungs.tflite`.
        steps: of `BATCH` images.
        seed: of all that is random.

    Returns:
        The mean Dice coefficient (0..1) on the other tenth.

    Raises:
        UserError: `out` cannot be written, fewer than `LEAST` radiographs belong to a mask, or a
            file cannot be read.
    """
    found = outlined_radiographs(radiographs, masks)
    if len(found) < LEAST:
        raise UserError(f"{masks} outlines {len(found)} of {radiographs}; {LEAST} are needed")
    keras.utils.set_random_seed(seed)
    random.Random(seed).shuffle(found)
    pixels = np.stack([radiograph.astype(np.uint8) for radiograph, *_ in found])
    lungs = np.stack([mask for _, mask, _ in found])
    kept = len(found) // 10
    with whole_file(out, "wb") as file:
        model = u_net()
        schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
        model.compile(keras.optimizers.Adam(schedule), loss)
        model.fit(batches(pixels[kept:], lungs[kept:], steps, seed), verbose=2)
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        file.write(converter.convert())
    return overlap(model, pixels[:kept], lungs[:kept])


def u_net() -> keras.Model:
    """`(n, SIDE, SIDE, 1)` grey levels 0..255 to probabilities (Ronneberger et al. 2015)."""
    inputs = layers.Input((SIDE, SIDE, 1), name="grey")
    x, levels = architectures.standardize(inputs), []
    for depth, filters in enumerate(FILTERS):
        if depth:
            x = layers.MaxPooling2D()(x)
        x = architectures.conv_bn(x, filters, 3, name=f"down{depth}")
        levels.append(x)
    x = architectures.conv_bn(x, FILTERS[-1], 3, name="bottom")
    for depth in reversed(range(1, len(FILTERS) - 1)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), levels[depth]])
        x = architectures.conv_bn(
            x, (FILTERS[depth] + FILTERS[depth - 1]) // 2, 3, name=f"up{depth}"
        )
    x = layers.Conv2D(1, 1, activation="sigmoid", name="lungs")(layers.UpSampling2D()(x))
    return keras.Model(inputs, x, name="lungs")


def loss(asked: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """Cross-entropy and what the overlap lacks of a whole one (Milletari et al., 3DV 2016)."""
    shared = tf.reduce_sum(asked * given, (1, 2, 3))
    both = tf.reduce_sum(asked, (1, 2, 3)) + tf.reduce_sum(given, (1, 2, 3))
    entropy = tf.reduce_mean(keras.losses.binary_crossentropy(asked, given), (1, 2))
    return entropy + 1 - (2 * shared + 1) / (both + 1)


def batches(pixels: np.ndarray, lungs: np.ndarray, steps: int, seed: int) -> tf.data.Dataset:
    """Augmented radiographs `(BATCH, SIDE, SIDE, 1)` and their lungs, 0 or 1.

    Args:
        pixels: uint8 `(n, s, s)`.
        lungs: bool `(n, s, s)`.
        steps: how many batches.
        seed: of the draws.
    """
    with tf.device("CPU"):
        pixels, lungs = tf.constant(pixels), tf.constant(lungs, tf.float32)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        dice = Dice([seed, step])
        index = tf.cast(dice.uniform([BATCH]) * len(pixels), tf.int32)
        inside = tf.gather(lungs, index)[..., None]
        x = image_changes.tone(tf.gather(pixels, index), dice, HARD)[..., None]
        x = tf.concat([opacities(x, inside, dice), 255 * inside], -1)
        x, inside = tf.split(image_changes.warp(x, dice, SIDE, HARD), 2, -1)
        x = image_changes.some(dice, HARD.local, image_changes.local(x, dice), x)
        x = image_changes.disturb(image_changes.resample(x, dice, HARD), dice, HARD)
        x = image_changes.hide(tf.clip_by_value(x, 0.0, 255.0), dice, HARD)
        return x, tf.cast(inside > 127, tf.float32)

    return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=2).prefetch(2)


def opacities(x: tf.Tensor, inside: tf.Tensor, dice: Dice) -> tf.Tensor:
    """Draw soft spots, and in some images a white lower field, into the lungs.

    Args:
        x: float32 `(n, s, s, 1)`, 0..255.
        inside: float32 `(n, s, s, 1)`, 1 inside the lungs.
    """
    n, side = tf.shape(x)[0], x.shape[1]
    grid = (tf.range(side, dtype=tf.float32) + 0.5) / side
    rows, columns = grid[None, :, None, None], grid[None, None, :, None]

    def draw(low: float, high: float) -> tf.Tensor:
        return dice.uniform([n, 1, 1, 1], low, high)

    white = tf.reduce_mean(x, (1, 2, 3), keepdims=True) + 1.5 * tf.math.reduce_std(
        x, (1, 2, 3), keepdims=True
    )
    for _ in range(4):
        away = ((rows - draw(0.1, 0.9)) / draw(0.03, 0.2)) ** 2
        away += ((columns - draw(0.1, 0.9)) / draw(0.03, 0.2)) ** 2
        x += draw(-0.4, 0.85) * tf.exp(-away) * tf.nn.relu(white - x) * inside
    low = tf.sigmoid((rows - draw(0.2, 0.8)) * 40) * tf.sign(draw(-1, 1) * (columns - 0.5))
    share = tf.cast(draw(0, 1) < 0.25, tf.float32) * draw(0.3, 0.9)
    return x + share * tf.nn.relu(low) * (white - x) * inside


def overlap(model: keras.Model, pixels: np.ndarray, lungs: np.ndarray) -> float:
    """Mean Dice coefficient of what a network outlines, at the network's size."""
    small = tf.image.resize(pixels[..., None], [SIDE, SIDE], antialias=True)
    asked = tf.image.resize(lungs[..., None].astype(np.float32), [SIDE, SIDE], antialias=True) > 0.5
    given = model.predict(small, verbose=0) > 0.5
    both = (given & asked.numpy()).sum((1, 2, 3))
    return float(np.mean(2 * both / (given.sum((1, 2, 3)) + asked.numpy().sum((1, 2, 3)))))
