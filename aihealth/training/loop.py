"""The training itself: load the data, build the network, fit it.

What a training has is a `Run`; `start` makes one, `fit` goes on with it, and
`aihealth.training.building` makes a release of it.
"""

import dataclasses
import os
from typing import Any

import keras
import tensorflow as tf

from aihealth.data import prepared, streaming
from aihealth.data import provenance as lineage
from aihealth.data.cluster import Cluster
from aihealth.data.left_out import folders_without
from aihealth.errors import UserError
from aihealth.evaluation.held_out import Predictions
from aihealth.modeling import architectures, export, graph, networks
from aihealth.training import augmentation, batches, checkpoint, distribution, starting_point
from aihealth.training.consistency import Consistent
from aihealth.training.fused import FusedBatchNormalization
from aihealth.training.loading import (
    Data,
    load_data,
    load_held_out,
    train_side,
    with_outlines,
)
from aihealth.training.settings import Settings
from aihealth.training.starting_point import Start


@dataclasses.dataclass
class Run:
    """One training.

    Attributes:
        settings: what was asked for.
        cluster: the processes that take part.
        starts: what the training started from.
        data: see `Data`.
        model: the network, compiled.
        average: of its weights.
        progress: where the training is.
        held_out: predictions at sources that other runs left out, for calibration and the card.
    """

    settings: Settings
    cluster: Cluster
    starts: list[Start]
    data: Data
    model: keras.Model
    average: checkpoint.WeightAverage
    progress: checkpoint.Progress
    held_out: Predictions | None = None

    def facts(self) -> dict[str, Any]:
        """What the run knows of itself, for `provenance.json`."""
        settings, progress = self.settings, self.progress
        neither = folders_without(settings.neither, settings.leave_out)
        facts = {
            "seed": settings.seed,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": progress.seconds,
            "settings": _recipe(settings, self.data),
            "leave_out": settings.leave_out,
            "sources": sorted({*self.data.sources, *(name for name, _ in neither if name)}),
            "starting_weights": [start.path for start in self.starts],
            "base_models": [
                dataclasses.asdict(start) | {"path": None} for start in self.starts if start.repo_id
            ],
            "test_images_seen_before": self.data.overlap.facts,
            "backend": progress.backend,
            "processes": progress.processes,
        }
        return facts | ({"streamed_images": self.data.images} if settings.stream else {})


def start(settings: Settings, cluster: Cluster) -> Run:
    """Load the data and build the network, or take it from the checkpoint.

    Raises:
        UserError: the data, the network or the weights cannot be had, or the checkpoint belongs to
            another command.
    """
    starts = [starting_point.locate(name) for name in settings.weights or ()]
    if settings.leave_out:
        lineage.check_left_out([start.path for start in starts], settings.leave_out)
    held_out = load_held_out(settings)
    say = print if cluster.first else lambda *_: None
    use_the_machine(settings.seed)
    _check_batch(settings, cluster)
    data = load_data(settings, starts)
    if told := starting_point.overlap_text(data.overlap.facts):
        say(told)
    train, validation, test = (data.splits[name] for name in prepared.SPLITS)
    say(
        f"{data.images} images to train on, {len(validation)} to validate, {len(test)} to test; "
        f"{', '.join(train.classes)}; from {', '.join(data.sources)}"
    )
    run = _build(settings, cluster, starts, data)
    run.held_out, run.model.weight = held_out, settings.consistency
    progress = run.progress
    if settings.resume and settings.epochs:
        within = f" and step {progress.step}" if progress.step else ""
        say(f"resuming after epoch {progress.epoch}{within} of {settings.epochs}")
    at = (progress.settings, progress.epoch, progress.step, validation.labels.tolist())
    distribution.check_agreement("options, data and checkpoint", at, cluster)
    say(
        f"{settings.arch}: {run.model.count_params():,} parameters, input {settings.size} px; "
        "compiling takes up to a minute"
    )
    return run


def use_the_machine(seed: int) -> None:
    """Half-precision arithmetic on a GPU; a CPU is faster without. The same seed, the same run."""
    keras.utils.set_random_seed(seed)
    tf.get_logger().setLevel("ERROR")  # Saving warns of metrics that were never compiled.
    gpus = tf.config.list_physical_devices("GPU")
    if keras.backend.backend() == "jax":
        import jax

        tf.config.set_visible_devices([], "GPU")  # TensorFlow feeds; the memory is JAX's.
        gpus = jax.default_backend() != "cpu"
    else:
        tf.config.experimental.enable_op_determinism()
    if gpus:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")


# === Network ===


def _check_batch(settings: Settings, cluster: Cluster) -> None:
    devices = distribution.device_count()
    if settings.batch_size % (2 * cluster.processes) or settings.batch_size % devices:
        raise UserError(
            f"--batch-size {settings.batch_size}: {cluster.processes} processes with {devices} "
            "devices need an even number of images each, and equally many"
        )


def _steps_per_epoch(settings: Settings, data: Data) -> int:
    return settings.steps or max(1, data.images // settings.batch_size)


def _recipe(settings: Settings, data: Data) -> dict[str, Any]:
    steps = _steps_per_epoch(settings, data)
    return settings.recipe() | {"images": data.images, "steps": steps}


def _identity(settings: Settings, data: Data) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    names = ("leave_out", "train_only", "neither")
    asked = {name: getattr(settings, name) for name in names}
    return _recipe(settings, data) | asked | {"data": data.fingerprints}


def _build(settings: Settings, cluster: Cluster, starts: list[Start], data: Data) -> Run:
    average = checkpoint.WeightAverage(settings.average)
    identity = _identity(settings, data)
    if settings.resume and settings.epochs:
        model, progress = checkpoint.restore(settings.out, average, identity)
        return Run(settings, cluster, starts, data, model, average, progress)
    classes = len(data.splits["train"].classes)
    weights = [start.path for start in starts]
    model = networks.build(settings.arch, settings.size, classes, weights)
    if settings.arch not in architectures.ARCHITECTURES:
        export.to_tf_keras(model)  # An architecture that cannot be released is refused now.
    model = graph.with_batch_normalization(model, FusedBatchNormalization)
    model = Consistent(model.inputs, model.outputs, name=model.name)
    architectures.freeze(model, settings.freeze)
    model.compile(
        optimizer=batches.optimizer(
            settings.arch,
            settings.learning_rate,
            settings.weight_decay,
            settings.epochs * _steps_per_epoch(settings, data),
        ),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    progress = checkpoint.Progress(settings=identity)
    return Run(settings, cluster, starts, data, model, average, progress)


# === Steps ===


def fit(run: Run) -> None:
    """Train to the end, with a checkpoint after every epoch and every `save_every` steps."""
    settings, progress = run.settings, run.progress
    if progress.finished(settings.epochs, settings.patience):
        return
    progress.backend, progress.processes = keras.backend.backend(), run.cluster.processes
    if progress.backend == "tensorflow":  # JAX traces once as it is.
        make_variables(run.model)
    stream = _open_stream(run) if settings.stream else None
    if settings.background_swap and not stream:
        run.data.splits["train"] = with_outlines(run.data.splits["train"])
    saver = checkpoint.Checkpoint(
        settings.out,
        run.average,
        progress,
        settings.patience,
        settings.save_every,
        run.cluster,
        stream,
    )
    steps_per_epoch = _steps_per_epoch(settings, run.data)
    validation_data = batches.evaluation_batches(
        run.data.splits["validation"],
        settings.batch_size,
        run.cluster,
        distribution.device_count(),
    )
    # What is left of an epoch that was cut short, then whole epochs.
    while not progress.finished(settings.epochs, settings.patience):
        begun = progress.epoch * steps_per_epoch + progress.step
        run.model.fit(
            _feed(run, stream, range(begun, settings.epochs * steps_per_epoch)),
            initial_epoch=progress.epoch,
            epochs=progress.epoch + 1 if progress.step else settings.epochs,
            steps_per_epoch=steps_per_epoch - progress.step,
            validation_data=validation_data,
            callbacks=[run.average, saver],
            shuffle=False,  # the draws are random already
            verbose=0 if not run.cluster.first else "auto" if os.isatty(1) else 2,
        )


def make_variables(model: keras.Model) -> None:
    """Make the optimizer's and the metrics' variables before the first step.

    TensorFlow traces a step anew where the first trace made variables, which takes as long again.

    Args:
        model: compiled.
    """
    model.optimizer.build(model.trainable_variables)
    none = keras.ops.zeros((1, *model.output_shape[1:]))
    model.compute_metrics(None, none, none)
    model.reset_metrics()


def _open_stream(run: Run) -> streaming.Stream:
    """The training images of `--stream`, from where an earlier run was in them."""
    settings, cluster, positions = run.settings, run.cluster, run.progress.streams
    if positions and len(positions) != cluster.processes:
        if cluster.first:
            print("another number of processes than before: the pass over the data starts again")
        positions = []
    return streaming.Stream(
        settings.data,
        train_side(settings),
        settings.batch_size // cluster.processes // (2 if settings.consistency else 1),
        weights=streaming.loss_weights(run.data.counts, settings.balance),
        seed=settings.seed,
        cluster=cluster,
        position=positions[cluster.index] if positions else None,
        buffer=settings.buffer,
        outlines=settings.background_swap > 0,
    )


def _feed(run: Run, stream: streaming.Stream | None, steps: range) -> tf.data.Dataset:
    """Batches of these steps, from the stream or from the images in memory."""
    settings, images, neither = run.settings, run.data.splits["train"], run.data.neither
    change, _ = augmentation.by_name(settings.augment, settings.size, settings.background_swap)
    known = {"steps": steps, "seed": settings.seed, "cluster": run.cluster}
    asked = {"smoothing": settings.smoothing, "twice": settings.consistency > 0}
    if stream:
        return batches.streamed_batches(
            stream, change, classes=len(images.classes), **asked, **known
        )
    made = batches.training_batches(
        images,
        change,
        weights=batches.sampling_weights(images, settings.balance),
        batch_size=settings.batch_size,
        **asked,
        **known,
    )
    if not len(neither):
        return made
    change, _ = augmentation.by_name(settings.augment, settings.size)
    return batches.with_doubt(made, images.pixels, neither, change, **known)
