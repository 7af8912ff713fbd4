"""DICOM radiographs to grey levels; no tag leaves this module."""

import contextlib
import dataclasses
import functools
import logging
import warnings
from typing import Any

import numpy as np

from aihealth import dicom_files, dicom_tags, limits
from aihealth.dicom_header import with_header
from aihealth.errors import ImageError, NoImage
from aihealth.images import ends, stretch, stretch_strips
from aihealth.limits import check_size

HIDING = "The window in the file hides nearly all of the image and was left out."
_SAMPLE = 2**18  # pixels that a window is judged by
_LEAST_SHOWN = 0.05  # of the pixels, between the darkest and the brightest that a window leaves


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """What is kept of a DICOM file.

    Attributes:
        pixels: uint8 `(h, w)`, 0 black to 255 white (MONOCHROME1 is inverted).
        frames: number of frames; `pixels` is the first.
        lateral: whether the file names a lateral projection.
        remarks: what was guessed, or left out.
    """

    pixels: np.ndarray
    frames: int
    lateral: bool
    remarks: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """What the reader should know, or None."""
        parts = list(self.remarks)
        if self.frames > 1:
            parts.append(f"The file has {self.frames} frames; only the first was used.")
        if self.lateral:
            parts.append("The file says that this is a lateral view: the answer means nothing.")
        return " ".join(parts) or None


def decode_dicom(data: bytes) -> DicomImage:
    """Decode the first frame: modality LUT or rescale, VOI LUT or window, photometric meaning.

    Padding around the image becomes black.

    Args:
        data: the bytes of a DICOM file (PS3.10), or of a data set without its header.

    Raises:
        NoImage: a file of a kind that holds no image.
        ImageError: no pixel data, damaged, cut short, too large, or a transfer syntax that cannot
            be read.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut
    except ImportError as error:
        raise ImageError("DICOM files need pydicom: pip install 'aihealth[dicom]'") from error
    _silence(pydicom.__name__)
    try:  # pydicom raises many kinds on damaged files, some only when a tag is looked at.
        dataset = dicom_files.read(with_header(data))
        if "PixelData" not in dataset:
            if dicom_tags.holds_no_image(dataset):
                raise NoImage
            raise ImageError("the DICOM file has no image in it")
        remarks, shift = dicom_tags.set_right(dataset)
        lateral = dicom_tags.is_lateral(dataset)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("the DICOM file is damaged") from error
    width, height, samples = dataset.Columns, dataset.Rows, dataset.SamplesPerPixel
    check_size(width, height, samples)
    # The frame as bytes, as a decoder gives it, as pixels, and in grey.
    limits.check_memory(width * height * (1 + 3 * samples * dataset.BitsAllocated // 8))
    photometric = dataset.PhotometricInterpretation
    padding = None
    try:
        dicom_files.check_frame(dataset)
        pixels = _first_frame(dataset)
        if shift:
            pixels = pixels >> shift
        if photometric == "PALETTE COLOR":
            limits.check_memory(pixels.size * 12)
            pixels = apply_color_lut(pixels, dataset)
        elif photometric.startswith("MONOCHROME"):
            padding = _padding(pixels, dataset, shift)
            if padding is not None:  # It must not count as the darkest or brightest value.
                pixels = np.where(padding, pixels[~padding].min(), pixels)
            pixels = _in_grey(pixels, dataset, remarks)
    except ImageError:
        raise
    except NotImplementedError as error:  # No plugin decodes this syntax.
        raise ImageError(
            f"the DICOM file is compressed as {dataset.file_meta.TransferSyntaxUID.name}, which "
            "cannot be read here: save it uncompressed, or as JPEG or JPEG 2000"
        ) from error
    except Exception as error:
        raise ImageError("the DICOM file is damaged or cut short") from error
    if not photometric.startswith("MONOCHROME"):  # a screenshot, an export with annotations
        pixels = stretch(_grey(pixels) if pixels.ndim == 3 else pixels)
    if photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is white.
        pixels = 255 - pixels
    if padding is not None:
        pixels[padding] = 0
    return DicomImage(pixels, dataset.NumberOfFrames, lateral, tuple(remarks))


def stored_values(data: bytes) -> np.ndarray | None:
    """What a DICOM file stores, before the window: `(h, w)`, larger is not always brighter.

    Args:
        data: bytes that `decode_dicom` has read without complaint.

    Returns:
        Values after the modality LUT or rescale; None in colour.
    """
    from pydicom.pixels import apply_modality_lut

    dataset = dicom_files.read(with_header(data))
    _, shift = dicom_tags.set_right(dataset)
    if not dataset.PhotometricInterpretation.startswith("MONOCHROME"):
        return None
    pixels = _first_frame(dataset) >> shift
    limits.check_memory(pixels.size * 32)
    try:
        return apply_modality_lut(pixels, dataset)
    except Exception:  # As in `_shown`.
        return pixels


def _padding(pixels: np.ndarray, dataset: Any, shift: int) -> np.ndarray | None:
    """Where stored values are no image but fill the frame; None if nowhere."""
    found = dicom_tags.padding_range(dataset)
    if found is None:
        return None
    low, high = (end >> shift for end in found)
    padding = (pixels >= low) & (pixels <= high)
    return padding if padding.any() and not padding.all() else None


def _shown(
    values: np.ndarray, counts: np.ndarray | None, dataset: Any, remarks: list[str]
) -> np.ndarray:
    """What stored values mean (modality LUT), and how they are to be shown (VOI LUT or window).

    A table or window that cannot be applied, or that hides all or nearly all, is left out: exports
    leave it empty, or as it was before the values were rescaled.

    Args:
        values: stored values.
        counts: how often each occurs; None where they are the pixels themselves.
        dataset: the file's tags.
        remarks: what the reader should know is added here.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    try:
        meant = apply_modality_lut(values, dataset)
    except Exception:  # A table that is none: of many kinds.
        del dataset.ModalityLUTSequence
        meant = apply_modality_lut(values, dataset)
    hidden = False
    for tag, apply in (("VOILUTSequence", apply_voi), ("WindowWidth", apply_windowing)):
        if tag not in dataset:
            continue
        try:
            shown = apply(meant, dataset)
        except Exception:  # As above.
            continue
        enough = min(_LEAST_SHOWN, _between(meant, counts))
        if shown.min() < shown.max() and _between(shown, counts) >= enough:
            return shown
        hidden = True
    if hidden:
        remarks.append(HIDING)
    return meant


def _between(values: np.ndarray, counts: np.ndarray | None) -> float:
    """Share of pixels that are neither the darkest nor the brightest value."""
    if counts is not None:
        values, counts = values[counts > 0], counts[counts > 0]
    inside = (values > values.min()) & (values < values.max())
    return float(inside.mean() if counts is None else counts[inside].sum() / counts.sum())


def _in_grey(pixels: np.ndarray, dataset: Any, remarks: list[str]) -> np.ndarray:
    """Stored values as they are to be shown, uint8, 0 black to 255 white.

    Where a table or window is applied, each value is changed once: as floating-point numbers for
    each pixel, a large image would take a gigabyte.
    """
    if not any(
        name in dataset for name in ("ModalityLUTSequence", "VOILUTSequence", "WindowWidth")
    ):
        grey = stretch(pixels)
        return 255 - grey if float(dataset.get("RescaleSlope", 1)) < 0 else grey
    if pixels.dtype.kind not in "ui" or pixels.dtype.itemsize > 2:
        limits.check_memory(pixels.size * 32)
        return stretch(_shown(pixels, None, dataset, remarks))
    low, high = int(pixels.min()), int(pixels.max())
    every = max(1, int(np.sqrt(pixels.size / _SAMPLE)))
    sample = pixels[::every, ::every].astype(np.int32).ravel() - low
    counts = np.bincount(sample, minlength=high - low + 1)
    values = np.arange(low, high + 1).astype(pixels.dtype)
    meant = _shown(values, counts, dataset, remarks).astype(np.float32)
    used = counts > 0
    used[[0, -1]] = True  # The ends may be missing in the sample.
    first, last = ends(meant[used], np.maximum(counts[used], 1))
    scale = 255.0 / (last - first) if last > first else 0.0
    table = np.rint(np.clip((meant - first) * scale, 0, 255)).astype(np.uint8)
    grey = np.empty(pixels.shape, np.uint8)
    for rows in limits.strips(*pixels.shape[:2]):
        grey[rows] = table[pixels[rows].astype(np.int32) - low]
    return grey


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Weigh colours `(h, w, 3 or 4)` as in ITU-R 601, stretched to uint8 `(h, w)`."""
    weights = np.array([0.299, 0.587, 0.114])
    strips = list(limits.strips(*pixels.shape[:2]))
    return stretch_strips(
        lambda: ((rows, pixels[rows, :, :3] @ weights) for rows in strips), pixels.shape[:2]
    )


def _first_frame(dataset: Any) -> np.ndarray:
    """Decode the first frame: by Pillow where it can, else by the native libraries.

    Pillow is the sturdier of the two. Both run behind the wall (`aihealth.wall`).
    """
    from pydicom.pixels import get_decoder, pixel_array
    from pydicom.uid import JPEGExtended12Bit

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise NotImplementedError("no library decodes this")
    if syntax.startswith(dicom_files.CODESTREAMS):
        with contextlib.suppress(Exception):  # It cannot, or the frame is damaged.
            return pixel_array(dataset, index=0, decoding_plugin="pillow")
    try:
        return pixel_array(dataset, index=0)
    except RuntimeError:
        if syntax == JPEGExtended12Bit and dataset.BitsStored > 8:
            return _extended_12_bit(dataset)
        raise


def _extended_12_bit(dataset: Any) -> np.ndarray:
    """JPEG Extended of 12 bits: GDCM decodes it, but pydicom does not ask it to.

    Returns:
        uint16 `(h, w)`.

    Raises:
        NotImplementedError: there is no GDCM, or it cannot.
    """
    try:
        import gdcm
    except ImportError as error:
        raise NotImplementedError("no library here decodes 12 bits") from error
    from pydicom.encaps import get_frame

    fragment = gdcm.Fragment()
    frames = dataset.NumberOfFrames
    fragment.SetByteStringValue(get_frame(dataset.PixelData, 0, number_of_frames=frames))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(dataset.PhotometricInterpretation)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(str.__str__(dataset.file_meta.TransferSyntaxUID))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    stored = dataset.BitsStored
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, stored, stored - 1, 0))
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(data) != 2 * dataset.Rows * dataset.Columns:
        raise NotImplementedError("GDCM does not decode this")
    return np.frombuffer(data, "<u2").reshape(dataset.Rows, dataset.Columns)


@functools.cache
def _silence(library: str) -> None:
    """Keep quiet a library whose warnings quote the values of tags: names, numbers, dates."""
    logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=library)
