"""Pictures for the page: the film and its evidence maps, as data URLs.

Everything goes into the page itself, so that no picture of a visitor lies in a folder to be served
from, and sliders work in the browser without asking the server again.
"""

import base64
import io

import numpy as np
from PIL import Image

FILM_SIDE = 1280  # enough to zoom; a 43 cm film at 3000 px would be 9 MB of page
THUMBNAIL_SIDE = 96
EXAMPLE_SIDE = 224
MAP_SIDE = 224

# Black body colours (dark red, orange, pale yellow): order is seen without hue, also by people
# who do not tell red from green.
_STOPS = np.array([[60, 0, 60], [180, 20, 60], [245, 110, 30], [255, 215, 110]], np.float32)


def film_url(pixels: np.ndarray, side: int = FILM_SIDE) -> str:
    """The image as a JPEG data URL.

    Args:
        pixels: uint8 `(h, w)`.
        side: longest side of the result, pixels; smaller images keep their size.
    """
    return _data_url(Image.fromarray(shrink(pixels, side)), "JPEG", quality=88)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """The image with its longest side at most `side` pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(picture)


def map_url(heatmap: np.ndarray) -> str:
    """An evidence map as a PNG data URL: colour and opacity grow with the evidence.

    Args:
        heatmap: float `(h, w)`, 0..1, as `Prediction.heatmaps` has them.
    """
    grid = Image.fromarray(np.asarray(heatmap, np.float32))
    smooth = np.asarray(grid.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BICUBIC)).clip(0, 1)
    place = smooth * (len(_STOPS) - 1)
    low = np.minimum(place.astype(int), len(_STOPS) - 2)
    part = (place - low)[..., None]
    colour = _STOPS[low] * (1 - part) + _STOPS[low + 1] * part
    opacity = 255 * np.minimum(1.0, smooth * 1.5)[..., None]
    rgba = np.concatenate([colour, opacity], axis=-1).astype(np.uint8)
    return _data_url(Image.fromarray(rgba), "PNG", optimize=True)


def _data_url(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
