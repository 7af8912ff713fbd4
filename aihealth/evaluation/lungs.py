"""Where the lungs lie in an image, and images without them, or without anything else."""

import numpy as np
from PIL import Image

BORDER = 0.125  # of each side: what "only the borders" keeps

# Where the lungs of a frontal radiograph lie, as shares of its width and height: two upright
# ellipses (centre x, centre y, half width, half height), laid over the mean images of the
# collections that the project knows. Plain geometry, no segmentation: the same place in every
# image, so that its outline tells nothing of the patient. They hold 0.87 of the lungs, and as much
# again that is none: heart, spine, chest wall.
LUNGS = ((0.29, 0.47, 0.19, 0.37), (0.71, 0.47, 0.19, 0.37))


def swap_background(pixels: np.ndarray, other: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """The lungs of one image before the background of another.

    The other image is brought to the grey levels of this one (mean and deviation where the lungs
    lie become the same), so that the seam tells of neither.

    Args:
        pixels: uint8 `(size, size)`.
        other: the same, which gives the background.
        lungs: bool `(size, size)`.
    """
    mean, spread = pixels[lungs].mean(), pixels[lungs].std() + 5
    frame = (other - other[lungs].mean()) / (other[lungs].std() + 5) * spread + mean
    return np.where(lungs, pixels, np.uint8(np.clip(np.rint(frame), 0, 255)))


def lung_mask(size: int) -> np.ndarray:
    """(size, size) bool, True where `LUNGS` lie."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    mask = np.zeros((size, size), bool)
    for cx, cy, rx, ry in LUNGS:
        mask |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    return mask


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


def share_inside(maps: np.ndarray | None, index: int) -> tuple[float, float]:
    """Share of one class's positive heatmap inside `LUNGS`, and of a uniform map there."""
    if maps is None:
        return float("nan"), float("nan")
    positive = np.maximum(maps[index], 0)
    total = float(positive.sum())
    height, width = positive.shape
    fine = Image.fromarray(lung_mask(256).astype(np.float32))
    cover = np.asarray(fine.resize((width, height), Image.Resampling.BOX))
    inside = float((positive * cover).sum()) / total if total > 0 else float("nan")
    return inside, float(cover.mean())
