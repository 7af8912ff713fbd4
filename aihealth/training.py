"""Feeding, averaging and checkpointing: what `train.py` hands to `model.fit`."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from aihealth import release
from aihealth.data import Images
from aihealth.errors import UserError

CHECKPOINT = "checkpoint"
_STATE = "state.json"


# === Feeding ===


def sampling_weights(images: Images, balance: float) -> np.ndarray:
    """How often each training image is drawn.

    Args:
        images: the training images.
        balance: 0 draws every image equally often, 1 every pair of class and source equally
            often; between them, pairs count by their size to the power `1 - balance`. Classes
            are equally frequent whenever it is above 0.

    Returns:
        `(n,)` probabilities, sum 1.
    """
    weights = np.ones(len(images))
    if balance > 0:
        cells = images.cells()
        counts = np.bincount(cells)
        weights = counts[cells] ** (1.0 - balance) / counts[cells]
        per_class = np.bincount(images.labels, weights)
        weights /= per_class[images.labels]
    return weights / weights.sum()


def training_batches(
    images: Images,
    augment: Callable[[tf.Tensor], tf.Tensor],
    *,
    weights: np.ndarray,
    batch_size: int,
    steps: range,
    smoothing: float,
    seed: int,
) -> tf.data.Dataset:
    """Endless shuffling without Python: step number -> drawn indices -> augmented batch.

    Args:
        images: the training images.
        augment: uint8 `(b, s, s)` to float32 `(b, size, size, 1)`.
        weights: `(n,)` probabilities of being drawn.
        batch_size: images a step, even.
        steps: numbers of the steps; the draw of a step depends on nothing else, so a run that
            resumes draws what it would have drawn.
        smoothing: label smoothing, 0..1.
        seed: of the draws.

    Returns:
        Batches of `(b, size, size, 3)` grey levels 0..255 and one-hot `(b, classes)` labels.
    """
    with tf.device("CPU"):
        pixels = tf.constant(images.pixels)
        labels = tf.one_hot(images.labels, len(images.classes))
        labels = labels * (1 - smoothing) + smoothing / len(images.classes)
        cumulative = tf.constant(np.cumsum(weights), tf.float64)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draw = tf.random.stateless_uniform([batch_size], [seed, step], dtype=tf.float64)
        index = tf.minimum(tf.searchsorted(cumulative, draw), len(images) - 1)
        return three_channels(augment(tf.gather(pixels, index))), tf.gather(labels, index)

    return (
        tf.data.Dataset.range(steps.start, steps.stop)
        .map(batch, num_parallel_calls=2, deterministic=True)
        .prefetch(2)
    )


def evaluation_batches(images: Images, batch_size: int) -> tf.data.Dataset:
    """The images as they are, in order, in batches of grey levels and one-hot labels."""
    labels = tf.one_hot(images.labels, len(images.classes))
    pairs = tf.data.Dataset.from_tensor_slices((images.pixels[..., None], labels))
    return pairs.batch(batch_size).map(lambda x, y: (three_channels(tf.cast(x, tf.float32)), y))


def three_channels(grey: tf.Tensor) -> tf.Tensor:
    """`(n, h, w, 1)` to `(n, h, w, 3)`, as models take images."""
    return tf.repeat(grey, 3, axis=-1)


def original_augmentation(images: tf.Tensor) -> tf.Tensor:
    """What the original script did with ImageDataGenerator: shear 0.2, zoom 0.2, mirror.

    Args:
        images: uint8 `(n, s, s)`.

    Returns:
        float32 `(n, s, s, 1)`, 0..255.
    """
    n, side = tf.shape(images)[0], images.shape[1]
    shear = tf.random.uniform([n], -0.2, 0.2) * (np.pi / 180)  # Keras takes degrees
    zoom_x, zoom_y = tf.random.uniform([n], 0.8, 1.2), tf.random.uniform([n], 0.8, 1.2)
    mirror = tf.where(tf.random.uniform([n]) < 0.5, -1.0, 1.0)
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


# === Averaging and checkpoints ===


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of all weights, used whenever the model is evaluated.

    Batch normalisation's statistics are averaged with the weights that they belong to, which the
    optimisers' own `use_ema` leaves out.
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.average: list[tf.Variable] = []
        self.current: list[np.ndarray] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start from the model's weights, unless a checkpoint gave an average."""
        self._weights = [w.value for w in self.model.weights if "float" in w.dtype]
        if not self.average:
            self.average = [tf.Variable(w, trainable=False) for w in self._weights]
        self._update = tf.function(self._update_all)

    def _update_all(self, momentum: tf.Tensor) -> None:
        for average, weight in zip(self.average, self._weights, strict=True):
            average.assign_sub((1.0 - momentum) * (average - tf.convert_to_tensor(weight)))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the average towards the weights; faster while there were few steps."""
        if not self.momentum:
            return  # The average is the weights, taken when it is asked for.
        step = float(self.model.optimizer.iterations.numpy())
        self._update(tf.constant(min(self.momentum, (1 + step) / (10 + step)), tf.float32))

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Evaluate the average."""
        if not self.momentum:
            self._update(tf.constant(0.0))
        self.current = [w.numpy() for w in self._weights]
        self._assign([average.numpy() for average in self.average])

    def on_test_end(self, logs: dict | None = None) -> None:
        """Train on from where training was."""
        self._assign(self.current)

    def use_average(self) -> None:
        """Leave the average in the model."""
        self._assign([average.numpy() for average in self.average])

    def _assign(self, values: list[np.ndarray]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


@dataclasses.dataclass
class Progress:
    """Where a run is; `state.json` of its checkpoint."""

    epoch: int = 0
    best: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


class Checkpoint(keras.callbacks.Callback):
    """Saves everything that a run needs to go on after each epoch, and the best weights so far.

    A checkpoint is written beside the old one and then takes its name, so a kill leaves the old
    one or the new one.
    """

    def __init__(
        self, run: Path, average: WeightAverage, progress: Progress, patience: int
    ) -> None:
        super().__init__()
        self.run, self.average, self.progress, self.patience = run, average, progress, patience

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save; stop after `patience` epochs without a lower validation loss."""
        logs = logs or {}
        progress = self.progress
        progress.epoch = epoch + 1
        logs = {**logs, "seconds": time.monotonic() - self._started}
        progress.seconds = round(progress.seconds + logs["seconds"], 1)
        for name, value in logs.items():
            progress.history.setdefault(name, []).append(round(float(value), 6))
        loss = logs.get("val_loss", logs["loss"])
        improved = loss < progress.best
        if improved:
            progress.best, progress.best_epoch = float(loss), epoch + 1
        old, new = self.run / CHECKPOINT, self.run / f"{CHECKPOINT}.part"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        self.model.save(new / "model.keras")
        np.savez(new / "average.npz", *[value.numpy() for value in self.average.average])
        if improved:
            shutil.copy(new / "average.npz", new / "best.npz")
        else:
            shutil.copy(old / "best.npz", new / "best.npz")
        release.write_json(new / _STATE, dataclasses.asdict(progress))
        if old.exists():
            previous = self.run / f"{CHECKPOINT}.old"
            shutil.rmtree(previous, ignore_errors=True)
            old.rename(previous)
            new.rename(old)
            shutil.rmtree(previous)
        else:
            new.rename(old)
        if progress.epoch - progress.best_epoch >= self.patience:
            print(f"no lower validation loss for {self.patience} epochs: stopped")
            self.model.stop_training = True

    def use_best(self) -> None:
        """Leave the average of the best epoch in the model."""
        with np.load(self.run / CHECKPOINT / "best.npz", allow_pickle=False) as arrays:
            values = [arrays[name] for name in arrays.files]
        for variable, value in zip(self.average.average, values, strict=True):
            variable.assign(value)
        self.average.use_average()


def restore(
    run: Path, average: WeightAverage, settings: dict[str, Any]
) -> tuple[keras.Model, Progress]:
    """Read the checkpoint of a run.

    Args:
        run: the run's folder.
        average: filled from the checkpoint.
        settings: the command's settings, which must be those of the checkpoint.

    Raises:
        UserError: there is no checkpoint, or it belongs to another command.
    """
    folder, old = run / CHECKPOINT, run / f"{CHECKPOINT}.old"
    if not folder.exists() and old.exists():  # A kill between two renames.
        old.rename(folder)
    state = release.read_json(
        folder / _STATE, missing=f"--resume: {run} has no checkpoint; start without --resume"
    )
    progress = Progress(**state)
    for name, value in settings.items():
        if progress.settings.get(name) != value:
            raise UserError(
                f"--resume: the checkpoint in {run} was made with {name} "
                f"{progress.settings.get(name)}, not {value}; use the same options"
            )
    model = keras.saving.load_model(folder / "model.keras")
    with np.load(folder / "average.npz", allow_pickle=False) as arrays:
        average.average = [tf.Variable(arrays[name], trainable=False) for name in arrays.files]
    return model, progress
