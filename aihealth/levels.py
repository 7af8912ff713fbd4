"""Grey levels of any range stretched to 0..255, where a defect of the detector decides nothing."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from aihealth import limits
from aihealth.errors import ImageError

Strips = Iterable[tuple[slice, np.ndarray]]  # rows, and their values


def stretch(pixels: np.ndarray, ends: tuple[float, float] | None = None) -> np.ndarray:
    """Stretch values of any range linearly to uint8 0..255; a constant image becomes black.

    Args:
        pixels: `(h, w)`.
        ends: what becomes 0 and 255; by default `ends_of` the image.

    Raises:
        ImageError: values that are not numbers.
    """
    strips = [(rows, pixels[rows]) for rows in limits.strips(*pixels.shape[:2])]
    return stretch_strips(lambda: strips, pixels.shape, ends)


def stretch_strips(
    strips: Callable[[], Strips], shape: tuple[int, ...], ends: tuple[float, float] | None = None
) -> np.ndarray:
    """As `stretch`, of an image that is given in strips, so that no copy of all is needed.

    Args:
        strips: gives rows and their values, each time that it is called.
        shape: of the image.
        ends: as for `stretch`.
    """
    low, high = (np.float32(end) for end in ends or ends_of(strips))
    scale = np.float32(255) / (high - low) if high > low else np.float32(0)
    grey = np.empty(shape, np.uint8)
    for rows, strip in strips():
        values = strip.astype(np.float32)
        values -= low
        values *= scale
        np.clip(values, 0, 255, out=values)
        grey[rows] = np.rint(values, out=values)
    return grey


def ends_of(strips: Callable[[], Strips]) -> tuple[float, float]:
    """The lowest and highest value of an image that are no defects of the detector.

    One dead or hot pixel must not make the rest black. What lies beyond the outermost half percent
    is left out from where a gap opens that is wider than the range of all the others.

    Args:
        strips: as for `stretch_strips`.

    Raises:
        ImageError: values that are not numbers.
    """
    lows, highs, samples = [], [], []
    for _, strip in strips():
        lows.append(strip.min())
        highs.append(strip.max())
        flat = strip.reshape(-1)
        samples.append(flat[:: flat.size // 2**14 | 1])
    low, high = np.min(lows), np.max(highs)
    if not np.isfinite([low, high]).all():
        raise ImageError("the image has values that are not numbers")
    inner = [float(end) for end in np.percentile(np.concatenate(samples), (_RARE, 100 - _RARE))]
    spread = inner[1] - inner[0]
    if spread > 0 and float(high) - inner[1] > spread:
        tail = [strip[strip > inner[1]] for _, strip in strips()]
        high = _before_gap(np.unique(np.concatenate(tail)), inner[1], spread)
    if spread > 0 and inner[0] - float(low) > spread:
        tail = [strip[strip < inner[0]] for _, strip in strips()]
        low = _before_gap(np.unique(np.concatenate(tail))[::-1], inner[0], spread)
    return low, high


_RARE = 0.5  # percent of the pixels


def _before_gap(tail: np.ndarray, start: float, width: float) -> float:
    """The last of some values before a gap of a width, seen from a start."""
    steps = np.abs(np.diff(np.concatenate([[start], tail.astype(np.float64)])))
    gaps = np.flatnonzero(steps > width)
    if not gaps.size:
        return tail[-1]
    return tail[gaps[0] - 1] if gaps[0] else math.ceil(start) if tail[0] < start else int(start)
