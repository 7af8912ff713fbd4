"""Plain margins are not looked at: how wide they are tells of a page, a screenshot or a scanner.

A network sees how large the lungs stand in an image, and answers by it. A border of one grey level
says nothing of the patient, so the answer is that for what it surrounds.
"""

import numpy as np

from aihealth.limits import MIN_SIDE

PLAIN = 4  # grey levels; what a line of a margin differs by, after JPEG too
SIDE = 28  # pixels of a heatmap that is put back onto the whole image

Box = tuple[slice, slice]


def content(pixels: np.ndarray) -> Box:
    """Where an image is more than a plain margin.

    Args:
        pixels: uint8 `(h, w)`.

    Returns:
        Rows and columns without the plain ones at the edges; all of them where less than a quarter
        of a side, or than an image needs, would be left.
    """
    rows, columns = whole = tuple(slice(0, length) for length in pixels.shape)
    box = None
    while box != (rows, columns):  # A margin may show only when that at another side is gone.
        box = rows, columns
        rows = _without_margins(pixels[:, columns], rows)
        columns = _without_margins(pixels[rows].T, columns)
    enough = [
        part.stop - part.start >= _least(side) for part, side in zip(box, pixels.shape, strict=True)
    ]
    return box if all(enough) else whole


def _least(side: int) -> int:
    return max(MIN_SIDE, side // 4)


def _without_margins(lines: np.ndarray, part: slice) -> slice:
    first, last = part.start, part.stop
    while last - first >= _least(len(lines)) and np.ptp(lines[first]) <= PLAIN:
        first += 1
    while last - first >= _least(len(lines)) and np.ptp(lines[last - 1]) <= PLAIN:
        last -= 1
    return slice(first, last)


def put_back(maps: np.ndarray, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """Heatmaps of what lies in a box, over the whole image.

    Args:
        maps: float32 `(classes, rows, columns)`.
        box: as `content` gives it.
        shape: of the image, pixels.

    Returns:
        float32 `(classes, SIDE, SIDE)`, 0 in the margins; `maps` itself where there are none.
    """
    if box == tuple(slice(0, length) for length in shape):
        return maps
    rows, columns = (
        _weights(part, length, count)
        for part, length, count in zip(box, shape, maps.shape[1:], strict=True)
    )
    return rows @ maps @ columns.T


def _weights(part: slice, length: int, count: int) -> np.ndarray:
    """`(SIDE, count)`: how much each place in the box counts at each place of the whole side."""
    centre = (np.arange(SIDE, dtype=np.float32) + 0.5) * (length / SIDE)
    within = (centre - part.start) / (part.stop - part.start)
    place = np.clip(within * count - 0.5, 0, count - 1)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(count, dtype=np.float32)))
    return weights * ((within > 0) & (within < 1))[:, None]
