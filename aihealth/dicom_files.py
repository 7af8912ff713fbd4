"""From the bytes of a DICOM file to a data set with pixels to decode, or a sentence why not."""

import io
import itertools
import struct
from typing import Any

from aihealth import structure
from aihealth.errors import ImageError

CUT_SHORT = "the DICOM file is cut short"
CODESTREAMS = "1.2.840.10008.1.2.4."  # JPEG and what came after it; video in MPEG too
_MAX_NO_OPERATIONS = 100  # in a segment of RLE; encoders write none
# SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def read(data: bytes) -> Any:
    """Read a file as `pydicom.dcmread` does, but inflate a deflated data set within a limit.

    What was inflated here is what is read: a look ahead of `dcmread`, which inflates without
    limit, could be shown another data set than the one that `dcmread` finds.

    Args:
        data: a file with its header, see `dicom_header.with_header`.

    Raises:
        ImageError: cut short, or inflates too far.
    """
    import pydicom
    from pydicom.filereader import _read_file_meta_info, read_dataset

    file = io.BytesIO(data)
    file.seek(132)
    # As `dcmread` does: the length that the group gives of itself (PS3.10 7.1) proves nothing.
    meta = _read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        inflated = structure.inflate(file.read())
        dataset = read_dataset(io.BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
        return pydicom.FileDataset(None, dataset, file_meta=meta, is_implicit_VR=False)
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
    except EOFError as error:
        raise ImageError(CUT_SHORT) from error
    if "PixelData" not in dataset and (whole := _with_end(data)) is not None:
        dataset = pydicom.dcmread(io.BytesIO(whole))
    if "PixelData" in dataset:
        _set_syntax(dataset)
    return dataset


def _with_end(data: bytes) -> bytes | None:
    """A file whose encapsulated pixels lack nothing but the delimiter at their end, with it.

    None for one that speaks of no image.

    Raises:
        ImageError: more is missing.
    """
    import pydicom

    file = io.BytesIO(data)
    if "Rows" not in pydicom.dcmread(file, stop_before_pixels=True):
        return None
    place = file.tell()
    if data[place : place + 4] != b"\xe0\x7f\x10\x00":
        raise ImageError(f"{CUT_SHORT}: it ends before its image")
    place += 12 if data[place + 4 : place + 6] in (b"OB", b"OW", b"UN") else 8
    if data[place - 4 : place] != b"\xff\xff\xff\xff":
        raise ImageError(CUT_SHORT)
    while data[place : place + 4] == _ITEM and place + 8 <= len(data):
        place += 8 + struct.unpack_from("<I", data, place + 4)[0]
    if place < len(data) and _END.startswith(data[place : place + 4]):
        data = data[:place]  # A delimiter of which some bytes are there.
    if place != len(data):
        raise ImageError(CUT_SHORT)
    return data + _END + bytes(4)


def _set_syntax(dataset: Any) -> None:
    """Set a transfer syntax that is missing, or that says native where pixels are encapsulated."""
    from pydicom import uid

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    encapsulated = dataset["PixelData"].is_undefined_length
    if syntax and (not encapsulated or syntax.is_compressed):
        return
    implicit, little = dataset.original_encoding
    if not encapsulated:
        found = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = found if little else uid.ExplicitVRBigEndian
        return
    from pydicom.encaps import generate_fragments

    fragments = list(itertools.islice(generate_fragments(dataset.PixelData), 2))
    first = fragments[-1] if fragments else b""
    start = first.find(b"\xff\x4f\xff\x51")
    if start >= 0 and first.startswith((b"\xff\x4f", b"\0\0\0\x0cjP")):
        found = uid.JPEG2000
    elif first.startswith(b"\xff\xd8"):
        kinds = {0xC0: uid.JPEGBaseline8Bit, 0xC3: uid.JPEGLosslessSV1, 0xF7: uid.JPEGLSLossless}
        found = kinds.get(_jpeg_header(first)[0], uid.JPEGExtended12Bit)
    else:
        found = uid.RLELossless
    dataset.file_meta.TransferSyntaxUID = found


def check_frame(dataset: Any) -> None:
    """Refuse pixels of which a part is missing, or that decode to more than the tags say.

    The decoders make room for what the codestream announces, or for all that the runs give, and
    only then it is compared.

    Raises:
        ImageError: a part is missing.
        ValueError: they decode to more, or are damaged.
        NotImplementedError: the frame is not of the encoding that the file names.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else 0
        bits = dataset.Rows * dataset.Columns * dataset.BitsAllocated
        if len(dataset.PixelData) < bits * (samples or dataset.SamplesPerPixel) // 8:
            raise ImageError(CUT_SHORT)
        return
    if syntax != RLELossless and not syntax.startswith(CODESTREAMS):
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
    return _jpeg_header(frame)[1:]


def _jpeg_header(frame: bytes) -> tuple[int, int, int, int]:
    """Marker of the frame header, width, height and components.

    Raises:
        ValueError, struct.error: the frame is damaged.
    """
    start = 2
    while True:  # ISO 10918-1 B.1.1: segments with a marker and a length, up to the frame header
        fill, marker, length = struct.unpack_from(">BBH", frame, start)
        if fill != 0xFF:
            raise ValueError("no marker")
        if marker in _FRAME_HEADERS:
            height, width, components = struct.unpack_from(">HHB", frame, start + 5)
            return marker, width, height, components
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
