"""A small collection of drawn radiographs with the faults of real ones. It is not medical data.

Three hospitals, each with a look of its own; several pictures of some patients; near-duplicates and
exact copies under other patients' names. The layout is that of the original project's
`DataSet/`, one folder per hospital: `<hospital>/<Class>/<hospital>_<patient>_<picture>.png`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from aihealth.data.layouts import CLASSES
from aihealth.data.manifest import DRAWN_KEY, DRAWN_TEXT
from aihealth.data.parallel import in_order
from aihealth.errors import UserError
from aihealth.files import check_output, whole_folder
from data_prep.radiographs import STYLES, Style, draw_anatomy, draw_radiograph

SIZE = 256
_JOB = 8  # pictures that one thread draws at a time
_README = f"""\
These pictures are {DRAWN_TEXT}.

No patient was X-rayed for them and no radiograph was copied: a program drew lungs, ribs, a heart
and, for two of the classes, opacities. They show that the software works. A model trained on them
knows nothing of medicine.

Layout: <hospital>/<class>/<hospital>_<patient>_<picture>.png
"""
_SECOND_PICTURE, _NEAR_DUPLICATE, _COPY = 0.25, 0.08, 0.03  # shares of patients


def make_demo(out: str | Path, images_per_class: int, seed: int) -> str:
    """Draw the collection.

    Args:
        out: folder to make; it must not exist or be empty.
        images_per_class: number of pictures of each class, over all hospitals.
        seed: any integer of 0 or more; the same seed draws the same pictures.

    Returns:
        What was done, for the terminal.

    Raises:
        UserError: too few images, or something is in the way.
    """
    folder = check_output(out, built=True)
    if images_per_class < 4 * len(STYLES):
        raise UserError(f"--images-per-class {images_per_class}: at least {4 * len(STYLES)}")
    if seed < 0:
        raise UserError(f"--seed {seed}: 0 or more")
    jobs = []
    for number, hospital in enumerate(STYLES):
        share = images_per_class // len(STYLES) + (number < images_per_class % len(STYLES))
        starts = range(0, share, _JOB)
        for label in CLASSES:
            jobs += [(hospital, label, first, min(_JOB, share - first)) for first in starts]

    def draw(job: tuple[str, str, int, int]) -> int:
        hospital, label, first, count = job
        (part / hospital / label).mkdir(parents=True, exist_ok=True)
        order = [seed, list(STYLES).index(hospital), CLASSES.index(label), first]
        rng = np.random.default_rng(order)
        for name, picture in _pictures(rng, hospital, label, first, count):
            _save(picture, part / hospital / label / f"{hospital}_{name}.png", hospital)
        return count

    with whole_folder(folder) as part:
        total = sum(in_order(draw, jobs, "drawing"))
        (part / "README.txt").write_text(_README, encoding="utf-8")
    return (
        f"wrote {total} pictures of {len(STYLES)} hospitals to {out}: {DRAWN_TEXT}\n"
        f"next: python -m data_prep prepare {out} --out DIR"
    )


def _pictures(
    rng: np.random.Generator, hospital: str, label: str, first: int, count: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield `count` pictures of one hospital and class with `<patient>_<picture>` names."""
    patient = 10_000 * (1 + CLASSES.index(label)) + 10 * first
    style, made = STYLES[hospital], 0
    while made < count:
        anatomy = draw_anatomy(rng)
        picture = draw_radiograph(rng, label, style, SIZE, anatomy)
        yield f"{patient:06d}_00", picture
        made, chance = made + 1, rng.random()
        if made < count and chance < _SECOND_PICTURE:
            again = draw_radiograph(rng, label, style, SIZE, anatomy)
            yield f"{patient:06d}_01", again
            made += 1
        elif made < count and chance < _SECOND_PICTURE + _NEAR_DUPLICATE:
            yield f"{patient + 1:06d}_00", _retouch(rng, picture)
            made += 1
        elif made < count and chance < _SECOND_PICTURE + _NEAR_DUPLICATE + _COPY:
            yield f"{patient + 1:06d}_00", picture
            made += 1
        patient += 2


def _retouch(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """The same picture as another archive would pass it on: shrunk, brightened, enlarged."""
    size = picture.shape[0]
    small = Image.fromarray(picture).resize((size * 3 // 4,) * 2, Image.Resampling.BILINEAR)
    pixels = np.asarray(small.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)
    return (255 * (pixels / 255) ** rng.uniform(0.93, 1.07)).astype(np.uint8)


def _save(picture: np.ndarray, path: Path, hospital: str) -> None:
    style: Style = STYLES[hospital]
    image = Image.fromarray(picture)
    if image.size != style.shape:
        image = image.resize(style.shape, Image.Resampling.BICUBIC)
    mark = PngInfo()
    mark.add_text(DRAWN_KEY, DRAWN_TEXT)
    image.convert(style.mode).save(path, pnginfo=mark)
