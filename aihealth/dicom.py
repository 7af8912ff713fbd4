"""DICOM radiographs to grey levels; no tag leaves this module."""

import dataclasses
import functools
import logging
import re
import warnings
from typing import Any

import numpy as np

from aihealth import dicom_file, dicom_frame, dicom_layout, dicom_window, limits
from aihealth.dicom_tags import items, text, texts
from aihealth.errors import ImageError, install_command
from aihealth.levels import Strips, ends_of, stretch, stretch_strips
from aihealth.limits import check_size


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """What is kept of a DICOM file.

    Attributes:
        pixels: uint8 `(h, w)`, 0 black to 255 white (MONOCHROME1 is inverted).
        frames: number of frames; `pixels` is the first.
        lateral: whether View Position or View Code Sequence name a lateral projection.
        notes: sentences on tags that were left out or contradict each other.
    """

    pixels: np.ndarray
    frames: int
    lateral: bool
    notes: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """What the reader should know, or None."""
        parts = []
        if self.frames > 1:
            parts.append(f"The file has {self.frames} frames; only the first was used.")
        if self.lateral:
            parts.append("The file says that this is a lateral view: the answer means nothing.")
        return " ".join([*parts, *self.notes]) or None


def decode_dicom(data: bytes) -> DicomImage:
    """Decode the first frame: modality LUT or rescale, VOI LUT or window, photometric meaning.

    Padding around the film becomes black. Tags that are missing, empty or badly written count as
    absent where the image can be read without them.

    Args:
        data: the bytes of a DICOM file (PS3.10), with or without its preamble.

    Raises:
        NoImage: the file is of a kind that holds no image.
        ImageError: cut short, damaged, too large, or in an encoding that cannot be read.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ImageError(
            f"DICOM files need pydicom: {install_command('dicom', 'pydicom')}"
        ) from error
    _silence(pydicom.__name__)
    file = dicom_file.read(data)
    header = file.header
    try:
        layout = dicom_layout.layout_of(file)
        check_size(layout.columns, layout.rows, layout.samples)
        # The frame as bytes, as a decoder gives it, as pixels, and in grey.
        count = layout.rows * layout.columns
        limits.check_memory(count * (1 + 3 * layout.samples * layout.allocated // 8))
        pixels = dicom_frame.decode(file, layout)
        if layout.is_grey:
            grey, notes = _grey(pixels, layout, header)
        else:
            grey, notes = (_of_colours if pixels.ndim == 3 else stretch)(pixels), []
    except ImageError:
        raise
    except Exception as error:  # pydicom raises many kinds on damaged files.
        raise ImageError("the DICOM file is damaged or cut short") from error
    return DicomImage(grey, layout.frames, _is_lateral_file(header), tuple(notes))


def is_lateral(view: str) -> bool:
    """Whether a View Position (0018,5101) names a lateral projection.

    Of the terms that DICOM defines (PS3.3 C.8.1.1) LL and RL, left and right lateral, are lateral,
    and so is taken whatever says LAT or LATERAL, as many devices write. LLD and RLD, left and right
    lateral decubitus, are not: the patient lies on a side, but the beam goes from front to back or
    back to front. Obliques (LLO, RLO, LAO) are neither frontal nor lateral and are not announced.

    Args:
        view: the value of the tag.
    """
    words = set(re.findall("[A-Z]+", view.upper()))
    if words & {"AP", "PA"} or any(word.startswith(("DEC", "OBL")) for word in words):
        return False
    return any(re.fullmatch("LL|RL|(L|R|LT|RT)?LAT(ERAL)?", word) for word in words)


# PS3.16, CID 4010: lateral, left lateral, right lateral, and their mediolateral kinds; in SNOMED CT
# and as SNOMED RT wrote them until 2020.
_LATERAL_CODES = {
    *("399067008", "399173006", "399198007", "399352003", "399260004"),
    *("R-102CD", "R-10236", "R-10232", "R-10228", "R-10224"),
}


def _is_lateral_file(header: Any) -> bool:
    if is_lateral(" ".join(texts(header, "ViewPosition"))):
        return True
    for item in items(header, "ViewCodeSequence"):
        codes = {text(item, name) for name in ("CodeValue", "LongCodeValue")}
        if codes & _LATERAL_CODES or is_lateral(text(item, "CodeMeaning")):
            return True
    return False


INVERSE = (
    "The file contradicts itself on black and white (MONOCHROME2 with Presentation LUT Shape "
    "INVERSE): the shape was applied, and they may be exchanged."
)
IDENTITY = (
    "The file contradicts itself on black and white (MONOCHROME1 with Presentation LUT Shape "
    "IDENTITY): the shape was not applied, and they may be exchanged."
)


def _grey(
    pixels: np.ndarray, layout: dicom_layout.Layout, header: Any
) -> tuple[np.ndarray, list[str]]:
    """Stored values to grey levels, and what the reader should know."""
    shape = text(header, "PresentationLUTShape")
    white_is_low = layout.photometric == "MONOCHROME1"
    notes = [] if layout.known else [dicom_layout.NO_PHOTOMETRIC]
    if shape == "INVERSE" and not white_is_low:
        white_is_low = True  # As most viewers show it: the shape is the later word.
        notes.append(INVERSE)
    elif shape == "IDENTITY" and white_is_low:
        notes.append(IDENTITY)
    padding = dicom_window.padding(pixels, header, layout.allocated)
    pixels = dicom_layout.values_of(pixels, layout, header, padding)
    if padding is None:  # The tag may name what the bits mean, not how they lie in the file.
        padding = dicom_window.padding(pixels, header, layout.stored)
    if padding is not None:  # It must not count as the film's darkest or brightest value.
        pixels = np.where(padding, pixels[~padding].min(), pixels)
    grey, said = _shown(pixels, header, ~padding if padding is not None else None)
    if white_is_low:  # PS3.3 C.7.6.3.1.2: the lowest value is white.
        grey = 255 - grey
    if padding is not None:
        grey[padding] = 0
    return grey, notes + said


def stored_values(data: bytes) -> np.ndarray | None:
    """What a DICOM file stores, before the window: `(h, w)`, larger is not always brighter.

    Args:
        data: bytes that `decode_dicom` has read without complaint.

    Returns:
        Values after the modality LUT or rescale; None in colour.
    """
    file = dicom_file.read(data)
    layout = dicom_layout.layout_of(file)
    if not layout.is_grey:
        return None
    pixels = dicom_frame.decode(file, layout)
    padding = dicom_window.padding(pixels, file.header, layout.allocated)
    pixels = dicom_layout.values_of(pixels, layout, file.header, padding)
    limits.check_memory(pixels.size * 32)
    change, _ = dicom_window.modality(file.header, pixels.dtype.kind == "i")
    return change(pixels.astype(np.float64))


_SAMPLE = 2**18  # pixels that a window is judged by


def _shown(
    pixels: np.ndarray, header: Any, film: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Apply modality and window to whole numbers `(h, w)`, each value once.

    As floating-point numbers for each pixel, a large image would take a gigabyte.
    """
    signed = pixels.dtype.kind == "i"
    change, notes = dicom_window.modality(header, signed)
    strips = [(rows, pixels[rows]) for rows in limits.strips(*pixels.shape[:2])]
    low, high = (int(end) for end in ends_of(lambda: strips))
    if not dicom_window.has_tables(header):
        grey = stretch(pixels, (low, high))
        turned = change(np.array([0.0, 1.0]))
        return (255 - grey if turned[1] < turned[0] else grey), notes
    if pixels.dtype.itemsize > 2:
        limits.check_memory(pixels.size * 32)
        values, counts = np.unique(pixels.ravel()[:: pixels.size // 2**16 + 1], return_counts=True)
        voi, said = dicom_window.window(header, change(values.astype(np.float64)), counts, signed)
        shown = voi(change(np.clip(pixels, low, high).astype(np.float64)))
        return stretch(shown, (shown.min(), shown.max())), notes + said
    every = max(1, int(np.sqrt(pixels.size / _SAMPLE)))
    sample = pixels[::every, ::every]
    sample = sample.ravel() if film is None else sample[film[::every, ::every]]
    places = np.clip(sample, low, high).astype(np.int32) - low
    counts = np.bincount(places, minlength=high - low + 1)
    values = change(np.arange(low, high + 1, dtype=np.float64))
    voi, said = dicom_window.window(header, values, counts, signed)
    shown = voi(values)
    used = counts > 0
    used[[0, -1]] = True  # The ends may be missing in the sample.
    table = stretch(shown[None], (shown[used].min(), shown[used].max()))[0]
    grey = np.empty(pixels.shape, np.uint8)
    for rows, strip in strips:
        grey[rows] = table[np.clip(strip, low, high).astype(np.int32) - low]
    return grey, notes + said


def _of_colours(pixels: np.ndarray) -> np.ndarray:
    """Weigh colours `(h, w, 3 or 4)` as in ITU-R 601, stretched to uint8 `(h, w)`."""
    weights = np.array([0.299, 0.587, 0.114])
    rows_of = list(limits.strips(*pixels.shape[:2]))

    def strips() -> Strips:
        return ((rows, pixels[rows, :, :3] @ weights) for rows in rows_of)

    ends = [(strip.min(), strip.max()) for _, strip in strips()]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return stretch_strips(strips, pixels.shape[:2], (low, high))


@functools.cache
def _silence(library: str) -> None:
    """Keep quiet a library whose warnings quote the values of tags: names, numbers, dates."""
    logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=library)
