"""DICOM radiographs to grey levels; no tag leaves this module."""

import dataclasses
import io

import numpy as np

from aihealth.images import ImageError, check_size, stretch


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
    """Decode the first frame: modality rescale, then window, then photometric interpretation.

    Args:
        data: the bytes of a DICOM file (PS3.10).

    Raises:
        ImageError: no pixel data, damaged, too large, or a transfer syntax that cannot be read.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut, apply_rescale, apply_windowing, pixel_array
    except ImportError as error:
        raise ImageError("DICOM files need pydicom: pip install 'aihealth[dicom]'") from error
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
    except Exception as error:  # pydicom raises many kinds on damaged files.
        raise ImageError("the DICOM file is damaged") from error
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError("the DICOM file has no image in it")
    check_size(int(dataset.Columns), int(dataset.Rows))
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        pixels = pixel_array(dataset, index=0)
        if photometric == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
        elif photometric.startswith("MONOCHROME"):
            pixels = apply_windowing(apply_rescale(pixels, dataset), dataset)
    except NotImplementedError as error:
        raise ImageError(_UNREADABLE) from error
    except RuntimeError as error:  # pydicom: no plugin decodes this transfer syntax.
        raise ImageError(_UNREADABLE) from error
    except Exception as error:
        raise ImageError("the DICOM file is damaged or cut short") from error
    if pixels.ndim == 3:  # colour: a screenshot, or an export with annotations
        pixels = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    pixels = stretch(pixels)
    if photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is white.
        pixels = 255 - pixels
    view = str(dataset.get("ViewPosition", "") or "").upper()
    return DicomImage(pixels, frames, view if view in ("AP", "PA", "LL", "RL") else "")


_UNREADABLE = "the DICOM file is compressed in a way that cannot be read here"
