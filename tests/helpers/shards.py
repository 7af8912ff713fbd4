"""Parquet files of drawn films, as a dataset repo holds them."""

import datasets
import numpy as np
from PIL import Image

from data_prep.radiographs import draw_radiograph
from tests.helpers.image_files import encode

CLASSES = ("Covid", "Normal", "Pneumonia")


def write_shards(folder, images, shards=6, split="train", *, size=128, rows_a_group=10):
    """Different drawn films as Parquet, hard to compress, sorted by class."""
    rng = np.random.default_rng(len(split))
    rows = []
    for number in range(images):
        label = number * len(CLASSES) // images
        film = draw_radiograph(rng, CLASSES[label], size=size)
        film = np.clip(film + rng.normal(0, 6, film.shape), 0, 255).astype(np.uint8)
        rows.append({
            "image": {"bytes": encode(Image.fromarray(film)), "path": None},
            "label": label,
            "source": "north" if number % 3 else "south",
            "group": f"{split}-{number}",
        })  # fmt: skip
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(CLASSES)),
            "source": datasets.Value("string"),
            "group": datasets.Value("string"),
        }
    )
    found = datasets.Dataset.from_list(rows, features=features)
    for index in range(shards):
        name = f"{split}-{index:05d}-of-{shards:05d}.parquet"
        shard = found.shard(shards, index, contiguous=True)
        shard.to_parquet(folder / name, batch_size=rows_a_group)
