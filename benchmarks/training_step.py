"""A step of training, with batch normalisation in one kernel and as Keras has it."""

from collections.abc import Callable

from benchmarks.harness import OURS, Settings, Table, alternate, rows, seconds


def run(settings: Settings) -> list[Table]:
    """The network of the release, its first three blocks frozen, on noise; input not counted."""
    import keras
    import numpy as np

    from aihealth.modeling import architectures, graph, networks
    from aihealth.training import batches, loop
    from aihealth.training.fused import FusedBatchNormalization

    size, count, repeats = (64, 4, 1) if settings.quick else (160, 36, 10)
    loop.use_the_machine(seed=1)
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (count, size, size, 3)).astype("float32")
    labels = np.eye(3, dtype="float32")[rng.integers(0, 3, count)]

    def step(kind: type[keras.layers.BatchNormalization]) -> Callable[[], float]:
        model = graph.with_batch_normalization(networks.build("compact", size, 3), kind)
        architectures.freeze(model, 3)
        model.compile(batches.optimizer("compact", 1e-3, 1e-4, 1000), "categorical_crossentropy")
        loop.make_variables(model)
        return lambda: seconds(lambda: model.train_on_batch(images, labels), repeats)

    steps = {
        OURS: step(FusedBatchNormalization),
        "Keras' layers": step(keras.layers.BatchNormalization),
    }
    return [
        Table(
            f"a step of {count} images at {size} px", "s", rows(alternate(steps, settings.rounds))
        )
    ]
