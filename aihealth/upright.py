"""Negatives and radiographs that lie on their side or head: told by which version is a radiograph.

A radiograph that is turned or negative nearly always has a larger out-of-distribution score than
the right one. So an image that lies farther from the training images than most of them is looked at
in every version, and judged in the one that lies much nearer.
"""

from collections.abc import Callable

import numpy as np

# What an image may be, and what sets it right.
VERSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "is a negative": lambda pixels: 255 - pixels,
    "lies on its side": lambda pixels: np.rot90(pixels),
    "lies on its other side": lambda pixels: np.rot90(pixels, 3),
    "is upside down": lambda pixels: np.rot90(pixels, 2),
}
SET_RIGHT = "it was set right before it was judged."
NEARER = 0.85  # of the score of the image as it is, at most (docs/lab-notebook.md)


def set_right(
    pixels: np.ndarray, score: float, limit: float, score_of: Callable[[np.ndarray], float]
) -> str | None:
    """What an image is, if another version of it is a radiograph much rather.

    Args:
        pixels: uint8 `(h, w)`.
        score: out-of-distribution score of the image as it is.
        limit: the score above which an image is out of distribution.
        score_of: gives the score of other pixels.

    Returns:
        A key of `VERSIONS`, or None where the image is best as it is.
    """
    scores = {
        name: score_of(np.ascontiguousarray(change(pixels))) for name, change in VERSIONS.items()
    }
    best = min(scores, key=scores.get)
    return best if scores[best] <= min(limit, NEARER * score) else None


def warning(name: str) -> str:
    """What the reader should know of an image that was set right."""
    return f"This image looks as if it {name}; {SET_RIGHT}"
