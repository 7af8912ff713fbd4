"""Averaging and checkpoints: the callbacks that `train.py` hands to `model.fit`, on any backend."""

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from aihealth import release
from aihealth.data.cluster import Cluster
from aihealth.data.streaming import Stream
from aihealth.errors import UserError
from aihealth.modeling.starting_weights import averaged_weights, load_average
from aihealth.training.distribution import alone, gather

CHECKPOINT = "checkpoint"
BEST = "best.npz"  # in it: the average of the best epoch
_STATE = "state.json"


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of all weights, used whenever the model is evaluated.

    Batch normalisation's statistics are averaged with the weights that they belong to, which the
    optimisers' own `use_ema` leaves out.
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.average: list[keras.Variable] = []
        self.restored: list[np.ndarray] = []  # from a checkpoint
        self.current: list[Any] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start from the model's weights, unless a checkpoint gave an average."""
        if self.average:  # The second part of an epoch that was cut short.
            return
        self._weights = averaged_weights(self.model)
        start = self.restored or [weight.numpy() for weight in self._weights]
        self.average = [keras.Variable(value, trainable=False) for value in start]
        self._update = _updater(self.average, self._weights)
        self._step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the average towards the weights; faster while there were few steps."""
        if not self.momentum:
            return  # The average is the weights, taken when it is asked for.
        self._step += 1
        sync(self.model)
        self._update(np.float32(min(self.momentum, (1 + self._step) / (10 + self._step))))

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Evaluate the average."""
        self.current = [keras.ops.copy(weight.value) for weight in self._weights]
        if not self.momentum:
            _assign(self.average, self.current)
        _assign(self._weights, [average.value for average in self.average])

    def on_test_end(self, logs: dict | None = None) -> None:
        """Train on from where training was."""
        _assign(self._weights, self.current)
        self.current = []


def random_states(model: keras.Model) -> list[keras.Variable]:
    """What the random numbers of dropout follow from; Keras saves it with no model."""
    return [value for value in model.variables if value.path.endswith("seed_generator_state")]


def _assign(variables: list[keras.Variable], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(keras.ops.copy(value))  # JAX gives an array away at the next step.


def sync(model: keras.Model) -> None:
    """Bring a model's variables up to date in the middle of an epoch; JAX keeps them elsewhere."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def _updater(
    averages: list[keras.Variable], weights: list[keras.Variable]
) -> Callable[[np.float32], None]:
    """What moves the averages towards the weights, by a momentum, compiled by Keras' backend."""
    if keras.backend.backend() == "jax":
        import jax

        @jax.jit
        def moved(averages: list[Any], weights: list[Any], momentum: Any) -> list[Any]:
            pairs = zip(averages, weights, strict=True)
            return [average - (1.0 - momentum) * (average - weight) for average, weight in pairs]

        def update(momentum: np.float32) -> None:
            now, towards = ([variable.value for variable in part] for part in (averages, weights))
            for average, value in zip(averages, moved(now, towards, momentum), strict=True):
                average.assign(value)

        return update

    import tensorflow as tf

    @tf.function
    def update_in_place(momentum: tf.Tensor) -> None:
        for average, weight in zip(averages, weights, strict=True):
            average.value.assign_sub((1.0 - momentum) * (average.value - weight.value))

    return lambda momentum: update_in_place(tf.constant(momentum))


@dataclasses.dataclass
class Progress:
    """Where a run is; `state.json` of its checkpoint.

    Attributes:
        epoch: epochs that are over.
        step: steps done of the one after.
        best: lowest validation loss.
        best_epoch: the epoch that had it, counted from 1; 0 for none.
        seconds: of training.
        history: figures per epoch.
        settings: of the command that began the run, the source left out and its data's
            fingerprints among them.
        backend: Keras' backend that trained last.
        processes: how many trained last.
        streams: where the stream of each of them was.
        random_states: what dropout drew from last.
    """

    epoch: int = 0
    step: int = 0
    best: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    backend: str = "tensorflow"
    processes: int = 1
    streams: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    random_states: list[list[int]] = dataclasses.field(default_factory=list)

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether there is nothing left to train."""
        return self.epoch >= epochs or self.epoch - self.best_epoch >= patience


class Checkpoint(keras.callbacks.Callback):
    """Saves everything that a run needs to go on, after each epoch and every some steps.

    A checkpoint is written beside the old one and then takes its name, so a kill leaves the old
    one or the new one. It also holds the average of the best epoch so far.

    Args:
        run: the run's folder.
        average: what is evaluated, and saved beside the model.
        progress: kept up to date.
        patience: epochs without a lower validation loss after which training stops.
        every: steps between checkpoints inside an epoch.
        cluster: of these processes only the first writes.
        stream: where the images come from, if not from memory.
    """

    def __init__(
        self,
        run: Path,
        average: WeightAverage,
        progress: Progress,
        patience: int,
        every: int,
        cluster: Cluster | None = None,
        stream: Stream | None = None,
    ) -> None:
        super().__init__()
        self.run, self.average, self.progress, self.patience = run, average, progress, patience
        self.every, self.cluster, self.stream = every, cluster or Cluster(), stream

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self._first, self._seconds = self.progress.step, 0.0
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Save every some steps; after the last step of an epoch `on_epoch_end` does."""
        if self.stream:
            self.stream.consumed()
        done = self._first + batch + 1
        if done % self.every == 0 and batch + 1 < self.params["steps"]:
            self.progress.step = done
            self._lap()
            sync(self.model)
            self._save(improved=False)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save; stop after `patience` epochs without a lower validation loss."""
        logs = logs or {}
        progress = self.progress
        progress.epoch, progress.step = epoch + 1, 0
        self._lap()
        logs = {**logs, "seconds": self._seconds}
        for name, value in logs.items():
            progress.history.setdefault(name, []).append(round(float(value), 6))
        loss = logs.get("val_loss", logs["loss"])
        improved = loss < progress.best
        if improved:
            progress.best, progress.best_epoch = float(loss), epoch + 1
        self._save(improved)
        if progress.epoch - progress.best_epoch >= self.patience:
            if self.cluster.first:
                print(f"no lower validation loss for {self.patience} epochs: stopped")
            self.model.stop_training = True

    def _lap(self) -> None:
        now = time.monotonic()
        self._seconds += now - self._started
        self.progress.seconds = round(self.progress.seconds + now - self._started, 1)
        self._started = now

    def _save(self, improved: bool) -> None:
        if self.stream:
            said = gather(json.dumps(self.stream.position), self.cluster)
            self.progress.streams = [json.loads(text) for text in said]
        if not self.cluster.first:
            return
        old, new = self.run / CHECKPOINT, self.run / f"{CHECKPOINT}.part"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        with alone():
            self.model.save(new / "model.keras")
        states = map(keras.ops.convert_to_numpy, random_states(self.model))
        self.progress.random_states = [state.tolist() for state in states]
        np.savez(new / "average.npz", *[value.numpy() for value in self.average.average])
        if improved:
            shutil.copy(new / "average.npz", new / BEST)
        elif self.progress.best_epoch:
            shutil.copy(old / BEST, new / BEST)
        release.write_json(new / _STATE, dataclasses.asdict(self.progress))
        if old.exists():
            previous = self.run / f"{CHECKPOINT}.old"
            shutil.rmtree(previous, ignore_errors=True)
            old.rename(previous)
            new.rename(old)
            shutil.rmtree(previous)
        else:
            new.rename(old)


def use_best(run: Path, model: keras.Model) -> None:
    """Leave the average of the best epoch in the model.

    Raises:
        UserError: no epoch had a loss that is a number.
    """
    if not (run / CHECKPOINT / BEST).exists():
        raise UserError("the validation loss never was a number; lower --learning-rate")
    load_average(run / CHECKPOINT / BEST, model)


def restore(
    run: Path, average: WeightAverage, settings: dict[str, Any]
) -> tuple[keras.Model, Progress]:
    """Read the checkpoint of a run.

    Args:
        run: the run's folder.
        average: filled from the checkpoint.
        settings: of the command, as in `Progress`; they must be those of the checkpoint.

    Raises:
        UserError: there is no checkpoint, or it belongs to another command.
    """
    folder, old = run / CHECKPOINT, run / f"{CHECKPOINT}.old"
    if not folder.exists() and old.exists():  # A kill between two renames.
        with contextlib.suppress(FileNotFoundError):  # Another process was faster.
            old.rename(folder)
    state = release.read_json(
        folder / _STATE, missing=f"--resume: {run} has no checkpoint; start without --resume"
    )
    progress = Progress(**state)
    for name, value in settings.items():
        was = progress.settings.get(name)
        if was != value and (was or value):  # What an older checkpoint does not name was off.
            raise UserError(
                f"--resume: the checkpoint in {run} was made with {name} {was}, not {value}; "
                "use the same options"
            )
    model = keras.saving.load_model(folder / "model.keras")
    for state, value in zip(random_states(model), progress.random_states, strict=False):
        state.assign(value)
    with np.load(folder / "average.npz", allow_pickle=False) as arrays:
        average.restored = [arrays[name] for name in arrays.files]
    return model, progress
