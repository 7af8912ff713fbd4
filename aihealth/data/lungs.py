"""Where the lungs lie in a radiograph: a small segmentation network, for training and the audit.

The network is a U-Net (Ronneberger et al., MICCAI 2015) of 0.14 million parameters on 128 px,
trained by `python -m data_prep lungs` on 401 outlines of healthy adults of RSNA; on 44 others its
Dice is 0.96. Serving does not use it.
"""

import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aihealth.data.parallel import in_order

NETWORK = Path(__file__).with_name("lungs.tflite")
LEAST = 0.04  # of an image; less is no pair of lungs

# Where the lungs of a frontal radiograph usually lie, as shares of its width and height: two
# upright ellipses (centre x, centre y, half width, half height), laid over the mean images of the
# collections that the project knows. Taken where the network finds no lungs.
ELLIPSES = ((0.29, 0.47, 0.19, 0.37), (0.71, 0.47, 0.19, 0.37))

_thread = threading.local()


def outline(pixels: np.ndarray) -> np.ndarray:
    """The lungs in one radiograph.

    Args:
        pixels: uint8 `(size, size)`, grey levels.

    Returns:
        bool `(size, size)`: the two largest areas that the network calls lung, or `usual` where it
        finds hardly any.
    """
    from scipy import ndimage

    size = len(pixels)
    found = _ask(Image.fromarray(pixels))
    areas, count = ndimage.label(found > 0.5)
    sizes = np.bincount(areas.ravel(), minlength=count + 1)[1:]
    kept = np.isin(areas, 1 + np.argsort(sizes)[-2:])
    if kept.mean() < LEAST:
        return usual(size)
    soft = Image.fromarray(kept.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(soft) > 0.5


def usual(size: int) -> np.ndarray:
    """bool `(size, size)`, True where `ELLIPSES` lie."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    mask = np.zeros((size, size), bool)
    for cx, cy, rx, ry in ELLIPSES:
        mask |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    return mask


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a mask covers, pixels; right and bottom lie outside."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def mark(pixels: np.ndarray) -> np.ndarray:
    """Write the outline into a radiograph: the lowest bit of a grey level is 1 inside the lungs.

    So it passes through shuffling and batching with the image, and costs no memory.

    Args:
        pixels: uint8 `(size, size)`.

    Returns:
        uint8 `(size, size)`.
    """
    return pixels & 254 | outline(pixels)


def mark_all(pixels: np.ndarray) -> np.ndarray:
    """The same for uint8 `(n, size, size)`."""
    result = np.empty_like(pixels)
    for index, image in enumerate(in_order(mark, pixels, "outlining lungs")):
        result[index] = image
    return result


def _ask(image: Image.Image) -> np.ndarray:
    """`(side, side)` probabilities."""
    interpreter = _interpreter()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    side = given["shape"][1]
    grey = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float32)
    interpreter.set_tensor(given["index"], grey[None, ..., None])
    interpreter.invoke()
    return interpreter.get_tensor(made["index"])[0, ..., 0]


@functools.cache
def _network() -> bytes:
    return NETWORK.read_bytes()


def _interpreter() -> Any:
    """One a thread: LiteRT interpreters are not thread-safe."""
    if not hasattr(_thread, "interpreter"):
        from ai_edge_litert.interpreter import Interpreter

        _thread.interpreter = Interpreter(model_content=_network(), num_threads=1)
        _thread.interpreter.allocate_tensors()
    return _thread.interpreter
