"""The first frame of a DICOM file as stored values: how its tags lay it out, and its decoding.

Tags that are missing, empty or contradict the pixels are set right where the pixels prove it.
"""

import contextlib
import dataclasses
import struct
from typing import Any

import numpy as np

from aihealth import limits
from aihealth.dicom_codestream import CODESTREAMS, Codestream, codestream_of, overflows
from aihealth.dicom_file import CUT_SHORT, DicomFile
from aihealth.dicom_tags import text, whole
from aihealth.errors import ImageError

NO_PHOTOMETRIC = (
    "The file does not say whether low values are black or white (Photometric Interpretation): "
    "black was taken."
)
_UNREADABLE = "the DICOM file is compressed as {}, which cannot be read here; "
_EXPORT = "export it uncompressed (Explicit VR Little Endian) or as JPEG 2000"
_REMEDIES = {  # by the last number of the transfer syntax UID
    "201": "pip install pylibjpeg pylibjpeg-openjpeg, or ",
    "202": "pip install pylibjpeg pylibjpeg-openjpeg, or ",
    "203": "pip install pylibjpeg pylibjpeg-openjpeg, or ",
}
_GDCM = "pip install python-gdcm, or "
_OTHER_SIZE = "the DICOM file is damaged: its pixels have another size than its tags say"
_LUTS = [
    f"{colour}Palette{part}"
    for colour in ("Red", "Green", "Blue")
    for part in ("ColorLookupTableDescriptor", "ColorLookupTableData")
] + [f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]


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
    stream = _codestream(file) if file.fragments is not None else None
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


def decode(file: DicomFile, layout: Layout) -> np.ndarray:
    """Decode the first frame.

    Returns:
        `(h, w)` or `(h, w, 3)`, any whole type; palettes are applied.

    Raises:
        ImageError: cut short, damaged, or compressed in a way that cannot be read.
    """
    from pydicom.pixels import apply_color_lut
    from pydicom.uid import JPEGExtended12Bit

    count = layout.rows * layout.columns * layout.frames
    need = _byte_count(count, layout.samples, layout.allocated, layout.photometric)
    if file.fragments is None and len(file.pixels) < need:
        raise ImageError(CUT_SHORT)
    dataset = _clean(file, layout)
    try:
        if file.fragments is not None:
            _require_decoder(file.syntax)
            frame = _check_frame(dataset, layout)
            if file.syntax == JPEGExtended12Bit and _codestream(file).bits > 8:
                return _by_gdcm(frame, layout)
        pixels = _first_frame(dataset)
        if layout.photometric == "PALETTE COLOR":
            limits.check_memory(pixels.size * 12)
            if _LUTS[0] not in dataset:
                raise ImageError("the DICOM file lacks the palette of its colours; export it again")
            pixels = apply_color_lut(pixels, dataset)
        return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))
    except NotImplementedError as error:  # No plugin decodes this syntax.
        raise ImageError(_unreadable(file.syntax)) from error
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("the DICOM file is damaged or cut short") from error


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
            need = _byte_count(count, value, depth, photometric)
            if need <= length <= need + 1:
                return value, depth
    # No pair fits exactly: there is more than the image, or less.
    return said[0], depths[0]


def _byte_count(count: int, samples: int, allocated: int, photometric: str) -> int:
    """Bytes of so many pixels that are not compressed; in YBR_FULL_422, two share their colour."""
    shared = samples == 3 and photometric.endswith("_422")
    return (count * (2 if shared else samples) * allocated + 7) // 8


def _is_ybr(file: DicomFile) -> bool:
    return file.fragments is not None and file.syntax.endswith((".4.50", ".4.51"))


def _clean(file: DicomFile, layout: Layout) -> Any:
    """A data set of what a decoder needs and nothing else, every value as the standard wants it."""
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = file.syntax
    dataset.Rows, dataset.Columns = layout.rows, layout.columns
    dataset.SamplesPerPixel = layout.samples
    dataset.PhotometricInterpretation = layout.photometric
    dataset.BitsAllocated = layout.allocated
    # All bits: pydicom would clear those above Bits Stored, before anyone has seen them.
    stream = _codestream(file) if file.fragments is not None else None
    depth = (stream.bits if stream else 0) or layout.allocated
    stored = min(depth, layout.allocated)
    dataset.BitsStored, dataset.HighBit = stored, stored - 1
    dataset.PixelRepresentation = int(bool(layout.signed))
    dataset.NumberOfFrames = layout.frames
    if layout.samples > 1:
        dataset.PlanarConfiguration = _planar(file, layout)
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *_LUTS):
        if name in file.header:
            with contextlib.suppress(Exception):  # A palette that is lacking is missed later.
                setattr(dataset, name, file.header[name].value)
    dataset["PixelData"] = _pixel_data(file, layout)
    return dataset


def _pixel_data(file: DicomFile, layout: Layout) -> Any:
    from pydicom.dataelem import DataElement

    compressed = file.fragments is not None
    vr = "OB" if compressed or layout.allocated <= 8 else "OW"
    element = DataElement(0x7FE00010, vr, file.pixels)
    element.is_undefined_length = compressed
    return element


def _planar(file: DicomFile, layout: Layout) -> int:
    """Whether colours lie plane after plane; where the tag does not say it, by the pixels."""
    if layout.planar is not None or file.fragments is not None:
        return layout.planar or 0
    # Greys that were exported as colours tell it: samples in a row, or planes, are alike.
    values = np.frombuffer(file.pixels, f"u{max(1, layout.allocated // 8)}")
    count = layout.rows * layout.columns
    if np.array_equal(values[: 3 * count : 3], values[1 : 3 * count : 3]):
        return 0
    return int(np.array_equal(values[:count], values[count : 2 * count]))


def _first_frame(dataset: Any) -> np.ndarray:
    """Decode the first frame: by Pillow where it can, else by the native libraries.

    Pillow is the sturdier of the two. Both run behind the wall (`aihealth.wall`).
    """
    from pydicom.pixels import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.startswith(CODESTREAMS):
        with contextlib.suppress(Exception):  # It cannot, or the frame is damaged.
            return pixel_array(dataset, index=0, decoding_plugin="pillow")
    return pixel_array(dataset, index=0)


def _require_decoder(syntax: Any) -> None:
    """Raise NotImplementedError where no library here decodes this."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    if syntax != JPEGExtended12Bit and not get_decoder(syntax).is_available:
        raise NotImplementedError("no library decodes this")


def _unreadable(syntax: Any) -> str:
    """The sentence for an encoding that no library here decodes."""
    from pydicom import uid

    number = syntax.rpartition(".")[2]
    remedy = _REMEDIES.get(number, "")
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEGExtended12Bit):
        remedy = _GDCM
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        remedy = _GDCM
    name = "JPEG XL" if number in ("110", "111", "112") else syntax.name or "an unknown encoding"
    return _UNREADABLE.format(name) + remedy + _EXPORT


def _by_gdcm(frame: bytes, layout: Layout) -> np.ndarray:
    """Decode JPEG Extended of 12 bits, which GDCM can and pydicom does not ask it for.

    Raises:
        NotImplementedError: GDCM is not installed.
        ValueError: the frame is damaged.
    """
    try:
        import gdcm
    except ImportError as error:
        raise NotImplementedError("GDCM is needed") from error
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(layout.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType("1.2.840.10008.1.2.4.51")
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(gdcm.PixelFormat(layout.samples, 16, 12, 11, int(bool(layout.signed))))
    # GDCM returns char* as str.
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    shape = (layout.rows, layout.columns, layout.samples)
    if len(data) != 2 * shape[0] * shape[1] * shape[2]:
        raise ValueError("GDCM could not decode the frame")
    pixels = np.frombuffer(data, "<i2" if layout.signed else "<u2").reshape(shape)
    return pixels[..., 0] if layout.samples == 1 else pixels


def _codestream(file: DicomFile) -> Codestream | None:
    """What the first frame says of itself; None of an encoding without such a header."""
    (table,) = struct.unpack_from("<I", file.pixels, 4)
    frame = file.pixels[8 + table + 8 :]
    try:
        return codestream_of(frame)
    except (NotImplementedError, ValueError, struct.error):
        return Codestream(0, 0, 0, 0)


def _check_frame(dataset: Any, layout: Layout) -> bytes:
    """Refuse a compressed frame that decodes to more than the tags say.

    The decoders make room for what the codestream announces, or for all that the runs give, and
    only then it is compared.

    Returns:
        The frame.

    Raises:
        ImageError: it does.
        ValueError, struct.error: it is damaged.
        NotImplementedError: the frame is not of the encoding that the file names.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax != RLELossless and not syntax.startswith(CODESTREAMS):
        raise NotImplementedError("no known encoding")
    options = as_pixel_options(dataset)  # The offsets too, so that the decoder gets this frame.
    frame = get_frame(
        dataset.PixelData,
        0,
        number_of_frames=options["number_of_frames"],
        extended_offsets=options.get("extended_offsets"),
    )
    if syntax == RLELossless:
        if overflows(frame, 2 * layout.columns * layout.rows):  # Some encoders pad.
            raise ImageError(_OTHER_SIZE)
        return frame
    found = codestream_of(frame)
    if (found.width, found.height, found.components) != (
        *(layout.columns, layout.rows),
        layout.samples,
    ):
        raise ImageError(_OTHER_SIZE)
    return frame
