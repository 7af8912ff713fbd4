"""`predict --heatmaps`: each image as PNG, tinted where the evidence for its likeliest class is."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
from PIL import Image

from aihealth import limits
from aihealth.classifier import Prediction
from aihealth.data.archive import HUB
from aihealth.files import check_output, inside

# Black body colours, as on the Space's page: order is seen without hue, also by people who do not
# tell red from green.
_STOPS = np.array([[60, 0, 60], [180, 20, 60], [245, 110, 30], [255, 215, 110]], np.float32)
_MAX_PIXELS = 16_000_000
_UP = "_up"  # the folder for `..`


class Heatmaps:
    """Writes a picture for each image, in the folders in which the image lies."""

    def __init__(self, folder: str) -> None:
        """Make the folder.

        Raises:
            UserError: it is a file.
        """
        self._folder = check_output(folder, option="--heatmaps")
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, file: str, prediction: Prediction) -> None:
        """Write the picture of one image, where it has a heatmap that means something."""
        if prediction.heatmaps is None or not prediction.is_chest_radiograph:
            return
        best = int(np.argmax(list(prediction.probabilities.values())))
        target = inside(self._folder, *place(file, list(prediction.probabilities)[best]))
        target.parent.mkdir(parents=True, exist_ok=True)
        tinted(prediction.pixels, prediction.heatmaps[best]).save(target)


def place(file: str, label: str) -> list[str]:
    """Folders and name of an image's picture: no two files have the same.

    It is the path from the working folder, where `..` becomes `_up`.

    Args:
        file: path of the image or address on the Hub.
        label: the class.
    """
    path = file.removeprefix("hf://") if file.startswith(HUB) else os.path.relpath(file)
    *folders, name = (_UP if part == ".." else _kept(part) for part in Path(path).parts)
    if len(os.fsencode(name)) > 180:  # File systems allow 255 bytes.
        name = f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}_{name[-40:]}"
    return [*folders, f"{name}.{label}.png"]


def _kept(part: str) -> str:
    return f"_{part}" if part.startswith("_") and part.lstrip("_") == _UP[1:] else part


def tinted(pixels: np.ndarray, heatmap: np.ndarray, strength: float = 0.6) -> Image.Image:
    """Tint an image where a heatmap is high.

    Args:
        pixels: uint8 `(h, w)`; shrunk by a whole number where there are more than 16 million.
        heatmap: float `(gh, gw)`, 0..1.
        strength: opacity of the tint, which it has from two thirds on.
    """
    factor = math.ceil(math.sqrt(pixels.size / _MAX_PIXELS))
    if factor > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(factor))
    height, width = pixels.shape
    grid = Image.fromarray(np.asarray(heatmap, np.float32))
    smooth = np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
    stops = np.linspace(0, 1, len(_STOPS))
    mixed = np.empty((height, width, 3), np.uint8)
    for rows in limits.strips(height, width):  # As numbers, a large image would take a gigabyte.
        share = smooth[rows].clip(0, 1)
        colour = np.stack([np.interp(share, stops, channel) for channel in _STOPS.T], axis=-1)
        opacity = strength * np.minimum(1.0, share * 1.5)[..., None]
        mixed[rows] = (1 - opacity) * pixels[rows, :, None] + opacity * colour
    return Image.fromarray(mixed)
