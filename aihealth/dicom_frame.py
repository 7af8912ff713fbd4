"""The first frame of a DICOM file, decoded to stored values."""

import contextlib
from typing import Any

import numpy as np

from aihealth import limits
from aihealth.dicom_codestream import CODESTREAMS, codestream_of, overflows
from aihealth.dicom_file import CUT_SHORT, DicomFile
from aihealth.dicom_layout import Layout, byte_count, codestream
from aihealth.errors import ImageError

_UNREADABLE = "the DICOM file is compressed as {}, which cannot be read here; "
_EXPORT = "export it uncompressed (Explicit VR Little Endian) or as JPEG 2000"
_OPENJPEG, _GDCM = ("pip install pylibjpeg pylibjpeg-openjpeg, or ", "pip install python-gdcm, or ")
_OTHER_SIZE = "the DICOM file is damaged: its pixels have another size than its tags say"
_LUTS = [
    f"{colour}Palette{part}"
    for colour in ("Red", "Green", "Blue")
    for part in ("ColorLookupTableDescriptor", "ColorLookupTableData")
] + [f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]


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
    need = byte_count(count, layout.samples, layout.allocated, layout.photometric)
    if file.fragments is None and len(file.pixels) < need:
        raise ImageError(CUT_SHORT)
    dataset = _clean(file, layout)
    try:
        if file.fragments is not None:
            _require_decoder(file.syntax)
            frame = _check_frame(dataset, layout)
            if file.syntax == JPEGExtended12Bit and codestream(file).bits > 8:
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
    stream = codestream(file) if file.fragments is not None else None
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
    by_gdcm = (uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEGExtended12Bit)
    by_gdcm += (uid.JPEGLossless, uid.JPEGLosslessSV1)
    remedy = _GDCM if syntax in by_gdcm else _OPENJPEG if number in ("201", "202", "203") else ""
    name = "JPEG XL" if number in ("110", "111", "112") else syntax.name or "an unknown encoding"
    return _UNREADABLE.format(name) + remedy + _EXPORT


def _by_gdcm(frame: bytes, layout: Layout) -> np.ndarray:
    """Decode JPEG Extended of 12 bits, which GDCM can and pydicom does not ask it for."""
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


def _check_frame(dataset: Any, layout: Layout) -> bytes:
    """Refuse a compressed frame that decodes to more than the tags say.

    The decoders make room for what the codestream announces, or for all that the runs give, and
    only then it is compared. Gives the frame.
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
