"""Images without the lungs, without anything else, or with other surroundings."""

import numpy as np
from PIL import Image

from aihealth.data.lungs import box_of

BORDER = 0.125  # of each side: what "only the borders" keeps


def swap_background(
    pixels: np.ndarray, lungs: np.ndarray, other: np.ndarray, other_lungs: np.ndarray
) -> np.ndarray:
    """The lungs of one image before the background of another.

    The other image is moved and scaled so that its lungs lie where those of this one lie, and
    brought to its grey levels (mean and deviation inside the lungs become the same). Inside both
    outlines is this image.

    Args:
        pixels: uint8 `(size, size)`.
        lungs: bool `(size, size)`, as `data.lungs.outline` gives them.
        other: as `pixels`, which gives the background.
        other_lungs: as `lungs`.
    """
    size = len(pixels)
    left, top, right, bottom = box_of(lungs)
    other_left, other_top, other_right, other_bottom = box_of(other_lungs)
    across = (other_right - other_left) / (right - left)
    along = (other_bottom - other_top) / (bottom - top)

    def moved(image: np.ndarray, beyond: str) -> np.ndarray:
        # What lies beyond the other image's edge.
        wide = Image.fromarray(np.pad(image, size, mode=beyond))
        shift = size + other_left - across * left, size + other_top - along * top
        coefficients = (across, 0, shift[0], 0, along, shift[1])
        return np.asarray(
            wide.transform(
                (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
            )
        )

    background = moved(other, "edge").astype(np.float32)
    inside = lungs | (moved(np.uint8(255) * other_lungs, "constant") > 127)
    mean, spread = pixels[inside].mean(), pixels[inside].std() + 5
    background -= background[inside].mean()
    background *= spread / (background[inside].std() + 5)
    return np.where(inside, pixels, np.uint8(np.clip(np.rint(background + mean), 0, 255)))


def centre_mask(size: int) -> np.ndarray:
    """(size, size) bool, True everywhere but in the outer `BORDER` of each side."""
    mask = np.zeros((size, size), bool)
    edge = round(BORDER * size)
    mask[edge : size - edge, edge : size - edge] = True
    return mask


def blank(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paint over what a mask covers, with the mean of the rest: nothing of it shines through.

    Args:
        pixels: uint8 (h, w).
        mask: bool (h, w).
    """
    return np.where(mask, np.uint8(round(float(pixels[~mask].mean()))), pixels)


def share_inside(maps: np.ndarray | None, index: int, lungs: np.ndarray) -> tuple[float, float]:
    """Share of one class's positive heatmap inside the lungs, and of a uniform map there.

    Args:
        maps: (C, h, w) heatmaps; None for a model without.
        index: of the class.
        lungs: bool (size, size), as `data.lungs.outline` gives them.
    """
    if maps is None:
        return float("nan"), float("nan")
    positive = np.maximum(maps[index], 0)
    total = float(positive.sum())
    fine = Image.fromarray(lungs.astype(np.float32))
    cover = np.asarray(fine.resize(positive.shape[::-1], Image.Resampling.BOX))
    inside = float((positive * cover).sum()) / total if total > 0 else float("nan")
    return inside, float(cover.mean())
