"""Lungs of one collection in the radiographs of another: images with two classes from one source.

Some collections hold lungs only, cut out along an outline that follows the disease: the outline
alone tells the class. Put into the lungs of whole radiographs, box on box, with
the grey levels of the radiograph and a soft edge, outline and surroundings say nothing any more.
Such images share their surroundings: they are for `train.py --train-only`, never to measure with.
"""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from aihealth import images
from aihealth.data.layouts import CLASSES
from aihealth.data.lungs import box_of
from aihealth.errors import UserError
from aihealth.files import check_output, suffix_is_image, whole_folder

SIDE = 224  # of the images, pixels
_BLACK = 8  # grey levels up to this are outside of the lungs
_LEAST = 1500  # pixels of lung that both share, below which a pair is left out
_QUALITY = 92  # of JPEG


def compose(lungs: str, radiographs: str, masks: str, out: str, seed: int = 1337) -> int:
    """Write a folder with the class folders of `lungs`, for `train.py --train-only`.

    Args:
        lungs: folder with folders of some of the classes, with lungs on black in them.
        radiographs: folder, at any depth, of whole radiographs.
        masks: folder of outlines of the lungs of some of these radiographs: white on black, PNG
            files of the radiographs' names.
        out: the folder to write; must be empty or not there.
        seed: which lungs go into which radiograph.

    Returns:
        How many images were written; pairs that hardly overlap are left out.

    Raises:
        UserError: `out` holds something, no radiograph belongs to a mask, there are no lungs, or
            a file cannot be read.
    """
    folder = check_output(out, built=True)
    backgrounds = outlined_radiographs(radiographs, masks)
    with whole_folder(folder) as part:
        if written := _write(lungs, backgrounds, random.Random(seed), part):
            return written
        raise UserError(f"{lungs} has no class folder ({', '.join(CLASSES)}) with lungs on black")


def _write(lungs: str, backgrounds: list[tuple], rng: random.Random, out: Path) -> int:
    written = 0
    for path in sorted(Path(lungs).glob("*/*")):
        if path.parent.name not in CLASSES or not suffix_is_image(path):
            continue
        radiograph, mask, box = backgrounds[rng.randrange(len(backgrounds))]
        made = put(images.decode(path).astype(np.float32), radiograph, mask, box)
        if made is not None:
            target = Path(out, path.parent.name, f"{path.stem}.jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            # Pillow writes a JPEG past Python, and does not see that a full disk took half of it.
            file = io.BytesIO()
            Image.fromarray(made).save(file, "JPEG", quality=_QUALITY)
            target.write_bytes(file.getbuffer())
            written += 1
    return written


def put(
    lungs: np.ndarray, radiograph: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int]
) -> np.ndarray | None:
    """Lungs, squeezed into the box of a radiograph's lungs.

    Args:
        lungs: `(h, w)` grey levels, black outside.
        radiograph: `(SIDE, SIDE)` grey levels.
        mask: `(SIDE, SIDE)` bool, the radiograph's lungs.
        box: left, top, right, bottom of `mask`.

    Returns:
        uint8 `(SIDE, SIDE)`; None where both lungs share too little.
    """
    outline = lungs > _BLACK
    if not outline.any():
        return None
    target, size = (
        (slice(box[1], box[3]), slice(box[0], box[2])),
        (box[2] - box[0], box[3] - box[1]),
    )
    inside, cover = np.zeros_like(radiograph), np.zeros_like(radiograph)
    inside[target] = _resized(lungs, box_of(outline), size)
    shrunk = _resized(outline * 255.0, box_of(outline), size)
    cover[target] = _filtered(shrunk, ImageFilter.MinFilter(7))
    # Edges of both are left out: there the cut shows.
    common = (cover / 255 * _filtered(mask * 255.0, ImageFilter.MinFilter(5)) / 255) > 0.5
    if common.sum() < _LEAST:
        return None
    spread = np.clip(radiograph[mask].std() / (inside[common].std() + 1), 0.6, 1.6)
    dark, own = np.percentile(radiograph[mask], 25), np.percentile(inside[common], 25)
    levels = (inside - own) * spread + dark
    soft = _filtered(common * 255.0, ImageFilter.GaussianBlur(2)) / 255 * (cover > 0)
    return np.uint8(np.clip(radiograph * (1 - soft) + levels * soft, 0, 255))


def outlined_radiographs(radiographs: str, masks: str) -> list[tuple]:
    """Whole radiographs whose lungs are outlined.

    Args:
        radiographs: as for `compose`.
        masks: as for `compose`.

    Returns:
        For each `(SIDE, SIDE)` float32 grey levels, bool outline, and the outline's box.

    Raises:
        UserError: no radiograph belongs to a mask, or a file cannot be read.
    """
    outlines = {path.stem: path for path in sorted(Path(masks).rglob("*.png"))}
    found = []
    for path in sorted(Path(radiographs).rglob("*")):
        if path.stem in outlines and suffix_is_image(path) and path != outlines[path.stem]:
            mask = images.prepare(outlines[path.stem], SIDE) > 127
            if mask.any():
                radiograph = images.prepare(path, SIDE).astype(np.float32)
                found.append((radiograph, mask, box_of(mask)))
    if not found:
        raise UserError(f"no radiograph in {radiographs} has an outline of its name in {masks}")
    return found


def _resized(x: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(np.uint8(x)).crop(box).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32)


def _filtered(x: np.ndarray, kind: ImageFilter.Filter) -> np.ndarray:
    return np.asarray(Image.fromarray(np.uint8(x)).filter(kind), np.float32)
