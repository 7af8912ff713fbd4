"""Pictures to measure with: drawn, so that they can be made anywhere. They are not medical data."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from aihealth.data.layouts import CLASSES
from benchmarks.harness import Settings, run_process
from data_prep.radiographs import STYLES, draw_radiograph
from tests.helpers.image_files import encode, make_dicom

_DISTINCT = 24  # drawings behind a folder of many; drawing takes longer than answering


def film(seed: int = 0, size: int = 256) -> np.ndarray:
    """A drawn radiograph, uint8 `(size, size)`."""
    style = list(STYLES.values())[seed % len(STYLES)]
    label = CLASSES[seed // len(STYLES) % len(CLASSES)]
    return draw_radiograph(np.random.default_rng(seed), label, style, size)


def png_file(settings: Settings) -> Path:
    """One PNG of 256 pixels, near enough to the training images for one look, as most are."""
    path = settings.work / "film.png"
    if not path.exists():
        Image.fromarray(film(2)).save(path)
    return path


def mixed_folder(settings: Settings, count: int) -> Path:
    """A folder of PNG (256 px), JPEG (1024 px) and DICOM (512 px, 12 bits) in equal parts."""

    def make(part: Path) -> None:
        for index in range(count):
            seed = index // 3 % _DISTINCT
            suffix = ("png", "jpg", "dcm")[index % 3]
            original = part / f"{seed:05d}.{suffix}"
            if original.exists():
                shutil.copy(original, part / f"{index:05d}-copy.{suffix}")
            else:
                original.write_bytes(encoded(film(seed, (256, 1024, 512)[index % 3]), suffix))

    return _made(settings.work / f"mixed-{count}", make)


def collection(settings: Settings, count: int) -> Path:
    """Small films in the layout that `data_prep` takes, no two alike, `count` in all.

    Each is a drawing of 64 pixels under a smooth random field of its own, as strong as patients
    differ, so that the search for near-duplicates meets neither copies nor plain noise.
    """

    def make(part: Path) -> None:
        rng = np.random.default_rng(0)
        drawings = [film(seed, 64).astype(np.float32) for seed in range(9 * _DISTINCT)]
        for label in CLASSES:
            (part / label).mkdir(parents=True)
        for index in range(count):
            field = Image.fromarray(rng.normal(0, 40, (6, 6)).astype(np.float32))
            field = np.asarray(field.resize((64, 64), Image.Resampling.BICUBIC))
            pixels = np.clip(drawings[index % len(drawings)] + field, 0, 255).astype(np.uint8)
            label = CLASSES[index % len(CLASSES)]
            path = part / label / f"drawn_{index:06d}_00.png"
            Image.fromarray(pixels).save(path, compress_level=1)

    return _made(settings.work / f"collection-{count}", make)


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    """The file: suffix is png, jpg or dcm."""
    if suffix == "dcm":  # As a detector writes it: 12 bits in 16, uncompressed.
        return make_dicom(pixels.astype(np.uint16) << 4, BitsStored=12, HighBit=11)
    return encode(Image.fromarray(pixels), {"png": "PNG", "jpg": "JPEG"}[suffix], quality=90)


def grainy(side: int) -> np.ndarray:
    """A drawing with a detector's grain: drawings alone are too smooth, and compress too well."""
    picture = Image.fromarray(film(0, 512)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 2, (side, side))
    return np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)


def _made(folder: Path, make) -> Path:
    """`folder`, made once; a run that is cut short leaves nothing under its name."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(folder)
    return folder


def original_model(settings: Settings) -> Path:
    """The original's model file, 606 MB (quick: 19), in the format that it was kept in."""
    path = settings.work / "original.h5"
    if not path.exists():
        run_process(
            ["-m", "benchmarks.original", "build", path, *(["4"] if settings.quick else [])]
        )
    return path
