"""Images decoded, augmented and batched in a second, as training takes them."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import original
from benchmarks.drawn import prepared
from benchmarks.harness import OURS, Settings, Table, alternate, rows

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_BUFFERED = 10  # batches, more than any of them holds ready


def run(settings: Settings) -> list[Table]:
    """The original's augmentation for all, 224 px, batches of 32; two tables.

    First epoch: opening the data included; ours decodes all before its first batch, so its rate
    is that of the images of all splits. Later epochs: batches of a pipeline that is warm.
    """
    data = prepared(settings)
    folder = data / "train"
    loaded = [0]
    makers: dict[str, Callable[[], Iterator[Any]]] = {
        OURS: lambda: _ours(data, loaded),
        "ImageDataGenerator": lambda: iter(original.generator(folder)),
        "datasets to_tf_dataset, PIL transform": lambda: _to_tf_dataset(folder),
        "image_dataset_from_directory": lambda: _from_directory(folder),
    }
    part = min(len(list(folder.glob("*/*"))), 64 if settings.quick else 640)

    def first_epoch(name: str) -> float:
        start = time.perf_counter()
        batches = makers[name]()
        seen = len(next(batches)[0]) if name == OURS else _count(batches, part)
        return max(seen, loaded[0] if name == OURS else 0) / (time.perf_counter() - start)

    first = {name: (lambda name=name: first_epoch(name)) for name in makers}
    warm = {name: make() for name, make in makers.items()}
    for batches in warm.values():
        next(batches)
    later = {name: (lambda batches=batches: _rate(batches, part)) for name, batches in warm.items()}
    return [
        Table(
            "training input, first epoch",
            "images/s",
            rows(alternate(first, settings.rounds), larger_is_better=True),
            "x5, x5, x1",
        ),
        Table(
            "training input, later epochs",
            "images/s",
            rows(alternate(later, settings.rounds), larger_is_better=True),
            "x5, x5, x1",
        ),
    ]


def _count(batches: Iterable[Any], images: int) -> int:
    """Take batches until so many images were seen."""
    seen = 0
    for batch in batches:
        seen += len(batch[0])
        if seen >= images:
            break
    return seen


def _rate(batches: Iterable[Any], images: int) -> float:
    """Images a second, over so many images, after those that wait ready in buffers."""
    _count(batches, min(_BUFFERED * original.BATCH, images))
    start = time.perf_counter()
    return _count(batches, images) / (time.perf_counter() - start)


def _ours(data: Path, loaded: list[int]) -> Iterator[Any]:
    """What `train.py --arch baseline` does, from the files to batches.

    All splits are decoded before the first batch; `loaded` is told how many images that were.
    """
    from aihealth.data import prepared as prepared_data
    from aihealth.training import augmentation, batches

    splits = prepared_data.load([str(data)], original.SIZE)
    loaded[:] = [sum(map(len, splits.values()))]
    images = splits["train"]
    return iter(
        batches.training_batches(
            images,
            augmentation.original_augmentation,
            weights=batches.sampling_weights(images, 0.0),
            batch_size=original.BATCH,
            steps=range(10**9),
            smoothing=0.0,
            seed=0,
        )
    )


def _to_tf_dataset(folder: Path) -> Iterator[Any]:
    """`datasets` as its documentation shows it, with the augmentation in Pillow."""
    import datasets
    import numpy as np
    from PIL import Image, ImageOps

    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    side = original.SIZE

    def transform(rows: dict[str, list]) -> dict[str, list]:
        out = []
        for picture in rows["image"]:
            picture = picture.convert("RGB").resize((side, side))
            if rng.random() < 0.5:
                picture = ImageOps.mirror(picture)
            zoom_x, zoom_y = rng.uniform(0.8, 1.2, 2)
            shear = rng.uniform(-0.2, 0.2) * np.pi / 180
            matrix = (zoom_x, -np.sin(shear), 0, 0, zoom_y * np.cos(shear), 0)
            picture = picture.transform(
                (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
            )
            out.append(np.asarray(picture, np.float32) / 255)
        return {"image": out, "label": rows["label"]}

    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    loaded = loaded.with_transform(transform)
    batches = loaded.to_tf_dataset(
        columns="image", label_cols="label", batch_size=original.BATCH, shuffle=True
    )
    batches.source = loaded  # It must outlive the iterator.
    return _endless(batches)


def _from_directory(folder: Path) -> Iterator[Any]:
    """Keras' own loader and its augmentation layers, in `map`, prefetched."""
    import keras
    import tensorflow as tf

    batches = keras.utils.image_dataset_from_directory(
        folder,
        label_mode="categorical",
        image_size=(original.SIZE, original.SIZE),
        batch_size=original.BATCH,
        verbose=False,
    )
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomZoom(0.2, 0.2),
        keras.layers.Rescaling(1 / 255),
    ]

    def augment(x: Any, y: Any) -> tuple[Any, Any]:
        for layer in layers:
            x = layer(x)
        return x, y

    return _endless(batches.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2))


def _endless(batches: Any) -> Iterator[Any]:
    return itertools.chain.from_iterable(itertools.repeat(batches))
