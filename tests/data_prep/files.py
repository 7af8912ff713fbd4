"""Collections of drawn images on the disk."""

import functools
import json
from pathlib import Path

import numpy as np
from PIL import Image

from aihealth.data.layouts import CLASSES
from aihealth.data.manifest import read_manifest
from data_prep.radiographs import draw_radiograph


@functools.cache
def picture(seed, label="Normal", size=48):
    return draw_radiograph(np.random.default_rng(seed), label, size=size)


def save(pixels, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def collection(root, per_class=12, seed=0):
    for number, label in enumerate(CLASSES):
        for index in range(per_class):
            pixels = picture(1000 * seed + 100 * number + index, label)
            save(pixels, root / label / f"{label.upper()}_{index}.png")
    return root


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def rows_by_name(folder):
    return {Path(row.file).stem: row for row in read_manifest(folder)}


def all_unreadable(source):
    for path in source.glob("*/*"):
        path.write_bytes(b"")
