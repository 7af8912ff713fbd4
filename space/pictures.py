"""Pictures for the page as data URLs: radiographs, and the values that a DICOM file stores.

Everything goes into the page itself, so that no picture of a visitor lies in a folder to be served
from, and the viewer works in the browser without asking the server again.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from aihealth import dicom
from aihealth.signatures import is_dicom
from aihealth.structure import decodes_here

FILM_SIDE = 1280  # enough to zoom; a radiograph of 3000 px would be 9 MB of page
FITTED = 300_000  # pixels that a window is found from
STORED_SIDE = 1024  # two bytes a pixel do not compress well
THUMBNAIL_SIDE = 96


def stored(data: bytes, pixels: np.ndarray) -> dict[str, Any] | None:
    """The stored values of a DICOM file; None for others, and where no window explains the pixels.

    Args:
        data: bytes of the file.
        pixels: uint8 `(h, w)`, what was made of it.
    """
    # What is decoded behind the wall comes back in 8 bits: there the window acts on these.
    values = dicom.stored_values(data) if is_dicom(data) and decodes_here(data) else None
    if values is None or values.shape != pixels.shape:  # in colour; turned
        return None
    return fit(values, pixels)


def fit(values: np.ndarray, pixels: np.ndarray) -> dict[str, Any] | None:
    """Find the window that turns stored values into pixels, and pack both for viewer.js.

    Args:
        values: float `(h, w)`.
        pixels: uint8 `(h, w)`, black 0.

    Returns:
        deep: RGB picture, whose red and green are the upper and lower byte of each value; window:
        low and high end of the window that the model saw, 0..65535; unit: what 0 and 65535 stand
        for in the file. None where no window explains the pixels.
    """
    some = slice(None, None, max(1, round((pixels.size / FITTED) ** 0.5)))
    seen, told = pixels[some, some], values[some, some].astype(np.float64)
    inner = (seen > 0) & (seen < 255)
    if np.unique(seen[inner]).size < 2:
        return None
    slope, offset = np.polyfit(seen[inner].astype(np.float64), told[inner], 1)
    if slope == 0:
        return None
    drawn = np.rint(((told - offset) / slope).clip(0, 255))
    if (np.abs(drawn - seen)[seen > 0] > 2).mean() > 0.02:
        return None  # a curve, not a window
    darkest, brightest = (float(end) for end in (values.min(), values.max()))
    if slope < 0:
        darkest, brightest = brightest, darkest
    scale = 65535 / (brightest - darkest)
    low, high = (float(scale * (end - darkest)) for end in (offset, offset + 255 * slope))
    scaled = (values.astype(np.float32) - np.float32(darkest)) * np.float32(scale)
    scaled[(pixels == 0) & (scaled > low + (high - low) / 64)] = 0  # padding, whatever its value
    small = Image.fromarray(scaled)
    small.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.BOX, reducing_gap=None)
    whole = np.rint(np.asarray(small)).clip(0, 65535).astype(np.uint16)
    packed = np.stack([whole >> 8, whole & 255, np.zeros_like(whole)], axis=-1).astype(np.uint8)
    return {
        "deep": _picture_url(Image.fromarray(packed), "PNG"),
        "window": (low, high),
        "unit": (darkest, brightest),
    }


def film_url(pixels: np.ndarray, side: int = FILM_SIDE) -> str:
    """The image as a JPEG data URL.

    Args:
        pixels: uint8 `(h, w)`.
        side: longest side of the result, pixels; smaller images keep their size.
    """
    return _picture_url(Image.fromarray(shrink(pixels, side)), "JPEG", quality=88)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """The image with its longest side at most `side` pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(picture)


def data_url(kind: str, data: bytes) -> str:
    """Bytes of a media type as an address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _picture_url(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return data_url(f"image/{kind.lower()}", buffer.getvalue())
