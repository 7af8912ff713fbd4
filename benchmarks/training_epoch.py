"""Seconds of training per epoch: `compact` against the original's CNN, both through `train.py`.

Input pipeline and augmentation are included; a few steps a round, from which an epoch follows.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.drawn import prepared
from benchmarks.harness import ORIGINAL, OURS, Settings, Table, alternate, rows

ARCHITECTURES = {OURS: "compact", f"{ORIGINAL}'s network": "baseline"}


def run(settings: Settings) -> list[Table]:
    """All layers trained, batches of 32."""
    root, steps = str(prepared(settings)), 1 if settings.quick else 6
    runs = {name: prepare(arch, root) for name, arch in ARCHITECTURES.items()}

    def epoch(model: object, batches: object, images: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            model.train_on_batch(*next(batches))
        return (time.perf_counter() - started) / (steps * 32) * images

    values = alternate(
        {name: (lambda given=given: epoch(*given)) for name, given in runs.items()},
        settings.rounds,
    )
    images = next(iter(runs.values()))[2]
    checks = {f"parameters, {name}": model.count_params() for name, (model, _, _) in runs.items()}
    return [Table(f"an epoch of {images} images", "s", rows(values), checks=checks)]


def prepare(arch: str, root: str) -> tuple:
    """A compiled model, its endless batches after a warm-up, and the images of an epoch."""
    import keras

    import train
    from aihealth.data import prepared as data
    from aihealth.modeling import networks
    from aihealth.training import augmentation, batches

    recipe = train.RECIPES[arch]
    change, margin = augmentation.by_name(recipe["augment"], recipe["size"], recipe["exchange"])
    images = data.load([root], recipe["size"], round(recipe["size"] * margin))["train"]
    model = networks.build(arch, recipe["size"], len(images.classes))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    batches = iter(
        batches.training_batches(
            images,
            change,
            weights=batches.sampling_weights(images, recipe["balance"]),
            batch_size=32,
            steps=range(10**9),
            smoothing=recipe["smoothing"],
            seed=0,
        )
    )
    for _ in range(2):
        model.train_on_batch(*next(batches))
    return model, batches, len(images)
