"""How stored values lie in a DICOM file's pixels, and which numbers they mean.

Tags that are missing, empty or contradict the pixels are set right where the pixels prove it.
"""

import dataclasses
import struct
from typing import Any

import numpy as np

from aihealth.dicom_codestream import Codestream, codestream_of
from aihealth.dicom_file import DicomFile
from aihealth.dicom_tags import text, whole
from aihealth.errors import ImageError

NO_PHOTOMETRIC = (
    "The file does not say whether low values are black or white (Photometric Interpretation): "
    "black was taken."
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How stored values lie in Pixel Data (PS3.5, 8.1).

    Attributes:
        rows: of the image.
        columns: of the image.
        samples: numbers of a pixel, 1 or 3.
        photometric: Photometric Interpretation as the standard spells it.
        known: whether the file says it.
        allocated: bits that a number takes.
        stored: bits of it that count.
        high: number of the highest of these.
        signed: None where the file does not say it.
        planar: Planar Configuration; None where the file does not say it.
        frames: how many there are.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    known: bool
    allocated: int
    stored: int
    high: int
    signed: bool | None
    planar: int | None
    frames: int

    @property
    def is_grey(self) -> bool:
        """Whether the values are levels of grey, not colours."""
        return self.photometric.startswith("MONOCHROME")


def layout_of(file: DicomFile) -> Layout:
    """Read the layout from the tags, and what they lack from the pixels.

    Raises:
        ImageError: what is lacking cannot be made out, or the tags contradict the pixels.
    """
    header = file.header
    stream = codestream(file) if file.fragments is not None else None
    rows = whole(header, "Rows") or (stream.height if stream else None)
    columns = whole(header, "Columns") or (stream.width if stream else None)
    if not rows or not columns or min(rows, columns) < 0:
        raise ImageError("the DICOM file does not say its Rows and Columns; export it again")
    frames = max(1, whole(header, "NumberOfFrames") or 1)
    photometric = _photometric(header)
    samples, allocated = whole(header, "SamplesPerPixel"), whole(header, "BitsAllocated")
    likely = 3 if photometric.startswith(("RGB", "YBR", "HSV")) else 1
    if stream:
        samples = samples if samples in (1, 3) else stream.components or likely
        allocated = allocated if allocated in (8, 16, 32) else 16 if stream.bits > 8 else 8
    else:
        samples, allocated = _native_size(
            len(file.pixels), rows * columns * frames, (samples, likely), allocated, photometric
        )
    known = bool(photometric) and (samples == 1) == (likely == 1)
    if not known:
        photometric = "MONOCHROME2" if samples == 1 else "YBR_FULL" if _is_ybr(file) else "RGB"
    stored = whole(header, "BitsStored")
    if not stored or not 0 < stored <= allocated:
        stored = min(stream.bits, allocated) if stream and stream.bits else allocated
    high = whole(header, "HighBit")
    if high is None or not 0 <= high < allocated:
        high = stored - 1
    signed, planar = whole(header, "PixelRepresentation"), whole(header, "PlanarConfiguration")
    return Layout(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        known=known or samples == 3,  # In grey, colours of either kind look the same.
        allocated=allocated,
        stored=stored,
        high=high,
        signed=bool(signed) if signed in (0, 1) else None,
        planar=planar if planar in (0, 1) else None,
        frames=frames,
    )


def codestream(file: DicomFile) -> Codestream | None:
    """What the first frame says of itself; None of an encoding without such a header."""
    (table,) = struct.unpack_from("<I", file.pixels, 4)
    frame = file.pixels[8 + table + 8 :]
    try:
        return codestream_of(frame)
    except (NotImplementedError, ValueError, struct.error):
        return Codestream(0, 0, 0, 0)


def values_of(
    pixels: np.ndarray, layout: Layout, header: Any, padding: np.ndarray | None
) -> np.ndarray:
    """The numbers that stored bits mean, where High Bit, Bits Stored and the sign leave doubt.

    Args:
        pixels: `(h, w)`, as they lie in the file: whole numbers of `layout.allocated` bits.
        layout: of the file.
        header: the file's tags.
        padding: where there is no film; bits there prove nothing.

    Raises:
        ImageError: the tags contradict each other and the pixels fit neither.
    """
    width, stored, high = pixels.dtype.itemsize * 8, layout.stored, layout.high
    if width > 16 or (width == stored and high == stored - 1 and layout.signed is not None):
        return pixels
    bits = pixels.view(f"u{pixels.dtype.itemsize}")
    film = bits if padding is None else bits[~padding]
    used = int(np.bitwise_or.reduce(film, axis=None))
    shift = high + 1 - stored
    below = used & ((1 << shift) - 1) if shift > 0 else 0
    fits = not used >> stored or _is_signed_fit(pixels, stored)  # High Bit is wrong.
    if shift > 0 and (not below or (high == width - 1 and stored >= 8 and not fits)):
        bits, used = bits >> shift, used >> shift
    elif shift < 0 and not used >> (high + 1) and layout.signed and used >> high:
        raise ImageError(
            f"the DICOM file says Bits Stored {stored} and High Bit {high}, which contradict each "
            "other; export it again"
        )
    mask = (1 << stored) - 1
    if used & ~mask and _has_embedded_overlay(header):
        bits, used = bits & np.array(mask, bits.dtype), used & mask
    if layout.signed is False:
        return bits
    size = bits.dtype.itemsize
    spare = 0 if used & ~mask else 8 * size - stored  # More bits are in use than announced.
    signed = (bits << spare).view(f"i{size}") >> spare
    if layout.signed and not spare:
        return signed
    # Without a word on the sign, and where it was not carried on into the spare bits, the reading
    # in which the values lie close together is right.
    film = slice(None) if padding is None else ~padding
    return signed if _spread(signed[film]) < _spread(bits[film]) else bits


def _spread(values: np.ndarray) -> int:
    return int(values.max()) - int(values.min())


def _is_signed_fit(pixels: np.ndarray, stored: int) -> bool:
    values = pixels.view(f"i{pixels.dtype.itemsize}")
    half = 1 << (stored - 1)
    return bool(values.min() < 0 and values.min() >= -half and values.max() < half)


def _has_embedded_overlay(header: Any) -> bool:
    """Whether graphics lie in the spare bits of the pixels (PS3.5, 8.1.2), as they once did."""
    return any(
        (group << 16 | 0x0102) in header and (group << 16 | 0x3000) not in header
        for group in range(0x6000, 0x6020, 2)
    )


def _photometric(header: Any) -> str:
    """Photometric Interpretation as the standard spells it; "" where it is none that it has."""
    value = text(header, "PhotometricInterpretation")
    joined = value.replace(" ", "").replace("_", "").replace("-", "")
    return _PHOTOMETRIC.get(joined, "")


_PHOTOMETRIC = {
    name.replace(" ", "").replace("_", ""): name
    for name in (
        *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"),
        *("YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "HSV"),
    )
}


def _native_size(
    length: int,
    count: int,
    samples: tuple[int | None, int],
    allocated: int | None,
    photometric: str,
) -> tuple[int, int]:
    """Samples a pixel and bits allocated of pixels that are not compressed.

    Args:
        length: bytes of Pixel Data.
        count: pixels of all frames.
        samples: what the tag says, and what goes with the colours.
        allocated: what the tag says.
        photometric: of the pixels.
    """
    said = [value for value in samples if value in (1, 3)]
    depths = [allocated] if allocated in (1, 8, 16, 32) else [16, 8, 32]
    for depth in depths:
        for value in dict.fromkeys([*said, 1, 3]):
            need = byte_count(count, value, depth, photometric)
            if need <= length <= need + 1:
                return value, depth
    # No pair fits exactly: there is more than the image, or less.
    return said[0], depths[0]


def byte_count(count: int, samples: int, allocated: int, photometric: str) -> int:
    """Bytes of so many pixels that are not compressed; in YBR_FULL_422, two share their colour."""
    shared = samples == 3 and photometric.endswith("_422")
    return (count * (2 if shared else samples) * allocated + 7) // 8


def _is_ybr(file: DicomFile) -> bool:
    return file.fragments is not None and file.syntax.endswith((".4.50", ".4.51"))
