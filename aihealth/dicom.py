"""DICOM radiographs to grey levels; no tag leaves this module."""

import contextlib
import dataclasses
import functools
import io
import itertools
import logging
import re
import struct
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from aihealth import limits
from aihealth.errors import ImageError
from aihealth.images import stretch, stretch_strips
from aihealth.limits import check_size


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """What is kept of a DICOM file.

    Attributes:
        pixels: uint8 `(h, w)`, 0 black to 255 white (MONOCHROME1 is inverted).
        frames: number of frames; `pixels` is the first.
        lateral: whether the tag View Position names a lateral projection.
    """

    pixels: np.ndarray
    frames: int
    lateral: bool

    @property
    def warning(self) -> str | None:
        """What the reader should know, or None."""
        parts = []
        if self.frames > 1:
            parts.append(f"The file has {self.frames} frames; only the first was used.")
        if self.lateral:
            parts.append("The file says that this is a lateral film: the answer means nothing.")
        return " ".join(parts) or None


def decode_dicom(data: bytes) -> DicomImage:
    """Decode the first frame: modality LUT or rescale, VOI LUT or window, photometric meaning.

    Padding around the film becomes black.

    Args:
        data: the bytes of a DICOM file (PS3.10).

    Raises:
        ImageError: no pixel data, damaged, too large, or a transfer syntax that cannot be read.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut, apply_modality_lut
    except ImportError as error:
        raise ImageError("DICOM files need pydicom: pip install 'aihealth[dicom]'") from error
    _silence(pydicom.__name__)
    try:  # pydicom raises many kinds on damaged files, some only when a tag is looked at.
        dataset = _read_dataset(data)
        complete = all(name in dataset for name in ("PixelData", "Rows", "Columns"))
        width, height = (int(dataset.get(name, 0)) for name in ("Columns", "Rows"))
        samples = int(dataset.get("SamplesPerPixel", 1) or 1)
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        bits = int(dataset.get("BitsAllocated", 8) or 8)
        photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        view = str(dataset.get("ViewPosition", "") or "")
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("the DICOM file is damaged") from error
    if not complete:
        raise ImageError("the DICOM file has no image in it")
    check_size(width, height, samples)
    # The frame as bytes, as a decoder gives it, as pixels, and in grey.
    limits.check_memory(width * height * (1 + 3 * samples * bits // 8))
    try:
        _check_frame(dataset)
        pixels = _first_frame(dataset)
        padding = _padding(pixels, dataset) if photometric.startswith("MONOCHROME") else None
        if padding is not None:  # It must not count as the film's darkest or brightest value.
            pixels = np.where(padding, pixels[~padding].min(), pixels)
        if photometric == "PALETTE COLOR":
            limits.check_memory(pixels.size * 12)
            pixels = apply_color_lut(pixels, dataset)
        elif photometric.startswith("MONOCHROME"):
            pixels = _by_value(
                pixels, lambda values: _windowed(apply_modality_lut(values, dataset), dataset)
            )
    except NotImplementedError as error:  # No plugin decodes this syntax.
        raise ImageError(_UNREADABLE) from error
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("the DICOM file is damaged or cut short") from error
    if pixels.ndim == 3:  # colour: a screenshot, or an export with annotations
        pixels = _grey(pixels)
    pixels = stretch(pixels)
    if photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is white.
        pixels = 255 - pixels
    if padding is not None:
        pixels[padding] = 0
    return DicomImage(pixels, frames, is_lateral(view))


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


_UNREADABLE = "the DICOM file is compressed in a way that cannot be read here"
_MAX_NO_OPERATIONS = 100  # in a segment of RLE; encoders write none


def _padding(pixels: np.ndarray, dataset: Any) -> np.ndarray | None:
    """Where stored values are no film but fill the frame (PS3.3 C.7.5.1.1.2); None if nowhere."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):  # Exports leave it empty.
        return None
    ends = (value, limit) if isinstance(limit, int) else (value,)
    padding = (pixels >= min(ends)) & (pixels <= max(ends))
    return padding if padding.any() and not padding.all() else None


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


def _read_dataset(data: bytes) -> Any:
    """Read a file as `pydicom.dcmread` does, but inflate a deflated data set within a limit.

    What was inflated here is what is read: a look ahead of `dcmread`, which inflates without
    limit, could be shown another data set than the one that `dcmread` finds.
    """
    import pydicom
    from pydicom.filereader import _read_file_meta_info, read_dataset

    file = io.BytesIO(data)
    file.seek(132)
    # As `dcmread` does: the length that the group gives of itself (PS3.10 7.1) proves nothing.
    meta = _read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return pydicom.dcmread(io.BytesIO(data))
    inflated = limits.inflate(file.read())
    dataset = read_dataset(io.BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
    return pydicom.FileDataset(None, dataset, file_meta=meta, is_implicit_VR=False)


def _by_value(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Change pixels by their values alone, each value once.

    As floating-point numbers for each pixel, a large image would take a gigabyte.

    Args:
        pixels: of any type; where that has more than 16 bits, all are changed one by one.
        change: takes values and gives as many.

    Returns:
        What `change` gives for the pixels; of whole numbers, as `stretch` makes it, uint8.
    """
    if pixels.dtype.kind not in "ui" or pixels.dtype.itemsize > 2:
        limits.check_memory(pixels.size * 32)
        return change(pixels)
    low = int(pixels.min())
    strips = list(limits.strips(*pixels.shape[:2]))
    used = np.zeros(int(pixels.max()) - low + 1, bool)
    for rows in strips:
        used[pixels[rows].astype(np.int32) - low] = True
    values = np.flatnonzero(used) + low
    table = np.zeros(used.size, np.uint8)
    table[used] = stretch(change(values.astype(pixels.dtype))[None])[0]
    grey = np.empty(pixels.shape, np.uint8)
    for rows in strips:
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
    if syntax.startswith(_CODESTREAMS):
        with contextlib.suppress(Exception):  # It cannot, or the frame is damaged.
            return pixel_array(dataset, index=0, decoding_plugin="pillow")
    try:
        return pixel_array(dataset, index=0)
    except RuntimeError as error:
        if syntax == JPEGExtended12Bit and dataset.BitsStored > 8:
            raise NotImplementedError("no library here decodes 12 bits") from error
        raise


def _check_frame(dataset: Any) -> None:
    """Refuse a compressed frame that decodes to more than the tags say.

    The decoders make room for what the codestream announces, or for all that the runs give, and
    only then it is compared.

    Raises:
        ValueError: it does, or is damaged.
        NotImplementedError: the frame is not of the encoding that the file names.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax != RLELossless and not syntax.startswith(_CODESTREAMS):
        return
    options = as_pixel_options(dataset)  # The offsets too, so that the decoder gets this frame.
    frame = get_frame(
        dataset.PixelData,
        0,
        number_of_frames=options["number_of_frames"],
        extended_offsets=options.get("extended_offsets"),
    )
    if syntax == RLELossless:
        if _overflows(frame, 2 * dataset.Columns * dataset.Rows):  # Some encoders pad.
            raise ValueError("the runs give more pixels than the tags say")
    elif _codestream_size(frame) != (dataset.Columns, dataset.Rows, dataset.SamplesPerPixel):
        raise ValueError("the codestream has another size than the tags say")


def _codestream_size(frame: bytes) -> tuple[int, int, int]:
    """Width, height and components of a JPEG, JPEG-LS or JPEG 2000 frame.

    Raises:
        NotImplementedError: the frame is none of these.
        ValueError, struct.error: it is damaged.
    """
    start = 0
    if frame.startswith(b"\0\0\0\x0cjP  "):  # boxes around the codestream (ISO 15444-1 I.4)
        while frame[start + 4 : start + 8] != b"jp2c":
            start += max(8, struct.unpack_from(">I", frame, start)[0])
        start += 8
    if frame.startswith(b"\xff\x4f\xff\x51", start):  # ISO 15444-1 A.5.1
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        return right - left, bottom - top, struct.unpack_from(">H", frame, start + 40)[0]
    if not frame.startswith(b"\xff\xd8"):
        raise NotImplementedError("no codestream")
    start = 2
    while True:  # ISO 10918-1 B.1.1: segments with a marker and a length, up to the frame header
        fill, marker, length = struct.unpack_from(">BBH", frame, start)
        if fill != 0xFF:
            raise ValueError("no marker")
        if marker in _FRAME_HEADERS:
            height, width, components = struct.unpack_from(">HHB", frame, start + 5)
            return width, height, components
        start += 1 if marker == 0xFF else 2 + length  # Any number of 0xFF may go before a marker.


def _overflows(frame: bytes, limit: int) -> bool:
    """Whether a segment of an RLE frame (PS3.5 annex G) decodes to more bytes than a limit.

    Raises:
        struct.error: the frame is damaged.
    """
    count, *offsets = struct.unpack_from("<16I", frame)
    bounds = [*offsets[:count], len(frame)]
    for place, end in itertools.pairwise(bounds):
        length = idle = 0
        while place < min(end, len(frame)) and length <= limit:
            head = frame[place]
            if head < 128:  # so many bytes and one more, as they are
                length += head + 1
                place += head + 2
            elif head > 128:  # the next byte, again and again
                length += 257 - head
                place += 2
            else:  # no operation
                place += 1
                idle += 1
                if idle > _MAX_NO_OPERATIONS:
                    raise ValueError("the runs are made of nothing")
        if length > limit:
            return True
    return False


_CODESTREAMS = "1.2.840.10008.1.2.4."  # JPEG and what came after it; films in MPEG too
# SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


@functools.cache
def _silence(library: str) -> None:
    """Keep quiet a library whose warnings quote the values of tags: names, numbers, dates."""
    logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=library)
