"""DICOM radiographs to grey levels; no tag leaves this module."""

import dataclasses
import functools
import io
import logging
import warnings
import zlib
from typing import Any

import numpy as np

from aihealth.images import MAX_BYTES, ImageError, check_size, stretch


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """What is kept of a DICOM file.

    Attributes:
        pixels: uint8 `(h, w)`, 0 black to 255 white (MONOCHROME1 is inverted).
        frames: number of frames; `pixels` is the first.
        view: "AP", "PA", "LL", "RL" or "" (tag View Position; says nothing of the patient).
    """

    pixels: np.ndarray
    frames: int
    view: str

    @property
    def warning(self) -> str | None:
        """What the reader should know, or None."""
        parts = []
        if self.frames > 1:
            parts.append(f"The file has {self.frames} frames; only the first was used.")
        if self.view in ("LL", "RL"):
            parts.append("The file says that this is a lateral film: the answer means nothing.")
        return " ".join(parts) or None


def decode_dicom(data: bytes) -> DicomImage:
    """Decode the first frame: modality LUT or rescale, VOI LUT or window, photometric meaning.

    Args:
        data: the bytes of a DICOM file (PS3.10).

    Raises:
        ImageError: no pixel data, damaged, too large, or a transfer syntax that cannot be read.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array
    except ImportError as error:
        raise ImageError("DICOM files need pydicom: pip install 'aihealth[dicom]'") from error
    _silence(pydicom.__name__)
    _check_inflated_size(data)
    try:  # pydicom raises many kinds on damaged files, some only when a tag is looked at.
        dataset = pydicom.dcmread(io.BytesIO(data))
        complete = all(name in dataset for name in ("PixelData", "Rows", "Columns"))
        width, height = (int(dataset.get(name, 0)) for name in ("Columns", "Rows"))
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        view = str(dataset.get("ViewPosition", "") or "").upper()
    except Exception as error:
        raise ImageError("the DICOM file is damaged") from error
    if not complete:
        raise ImageError("the DICOM file has no image in it")
    check_size(width, height)
    try:
        pixels = pixel_array(dataset, index=0)
        if photometric == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
        elif photometric.startswith("MONOCHROME"):
            pixels = _windowed(apply_modality_lut(pixels, dataset), dataset)
    except (NotImplementedError, RuntimeError) as error:  # No plugin decodes this syntax.
        raise ImageError(_UNREADABLE) from error
    except Exception as error:
        raise ImageError("the DICOM file is damaged or cut short") from error
    if pixels.ndim == 3:  # colour: a screenshot, or an export with annotations
        pixels = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    pixels = stretch(pixels)
    if photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is white.
        pixels = 255 - pixels
    return DicomImage(pixels, frames, view if view in ("AP", "PA", "LL", "RL") else "")


_UNREADABLE = "the DICOM file is compressed in a way that cannot be read here"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MAX_INFLATED = 4 * MAX_BYTES


def _windowed(pixels: np.ndarray, dataset: Any) -> np.ndarray:
    """Apply the VOI LUT or window; a window that is no window, or hides all, is left out.

    Exports leave these tags empty, at width 0, or as they were before the values were rescaled:
    the film is still worth seeing.
    """
    from pydicom.pixels import apply_voi_lut

    try:
        windowed = apply_voi_lut(pixels, dataset)
    except Exception:  # As above: of many kinds.
        return pixels
    return windowed if windowed.min() < windowed.max() else pixels


def _check_inflated_size(data: bytes) -> None:
    """Refuse a deflated data set (PS3.5 A.5) that would not fit in memory; pydicom would try."""
    if _DEFLATED not in data[:1024] or len(data) < 144:
        return
    # The file meta information starts with its own length (PS3.10 7.1): tag, "UL", 4, length.
    start = 144 + int.from_bytes(data[140:144], "little")
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        size = len(inflater.decompress(data[start:], _MAX_INFLATED + 1))
    except zlib.error as error:
        raise ImageError("the DICOM file is damaged") from error
    if size > _MAX_INFLATED:
        raise ImageError(f"the DICOM file inflates to more than {_MAX_INFLATED // 2**20} MB")


@functools.cache
def _silence(library: str) -> None:
    """Keep quiet a library whose warnings quote the values of tags: names, numbers, dates."""
    logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=library)
