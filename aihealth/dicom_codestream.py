"""What a compressed DICOM frame says of itself, before any decoder sees it."""

import dataclasses
import itertools
import struct
from typing import Any

CODESTREAMS = "1.2.840.10008.1.2.4."  # JPEG and what came after it; films in MPEG too
_MAX_NO_OPERATIONS = 100  # in a segment of RLE; encoders write none


@dataclasses.dataclass(frozen=True)
class Codestream:
    """Size of a frame, its components, and bits of each."""

    width: int
    height: int
    components: int
    bits: int


def codec(frame: bytes) -> Any:
    """Transfer syntax of a codestream by its first bytes, None where they do not tell."""
    from pydicom import uid

    if frame.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        return uid.JPEG2000
    if frame.startswith(b"\xff\xd8"):
        place = 2
        while place + 4 <= len(frame) and frame[place] == 0xFF:
            marker, length = struct.unpack_from(">BH", frame, place + 1)
            if marker in _JPEG_KINDS:
                return uid.UID("1.2.840.10008.1.2.4." + _JPEG_KINDS[marker])
            place += 1 if marker == 0xFF else 2 + length
        return None
    if len(frame) >= 64:
        count, first = struct.unpack_from("<II", frame)
        if 1 <= count <= 15 and first == 64:
            return uid.RLELossless
    return None


# Start-of-frame marker to the last number of the UID; progressive JPEG is read as baseline.
_JPEG_KINDS = {0xC0: "50", 0xC1: "51", 0xC2: "50", 0xC3: "57", 0xF7: "80"}


def codestream_of(frame: bytes) -> Codestream:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 frame.

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
        components, depth = struct.unpack_from(">HB", frame, start + 40)
        return Codestream(right - left, bottom - top, components, (depth & 127) + 1)
    if not frame.startswith(b"\xff\xd8"):
        raise NotImplementedError("no codestream")
    start = 2
    while True:  # ISO 10918-1 B.1.1: segments with a marker and a length, up to the frame header
        fill, marker, length = struct.unpack_from(">BBH", frame, start)
        if fill != 0xFF:
            raise ValueError("no marker")
        if marker in _FRAME_HEADERS:
            bits, height, width, components = struct.unpack_from(">BHHB", frame, start + 4)
            return Codestream(width, height, components, bits)
        start += 1 if marker == 0xFF else 2 + length  # Any number of 0xFF may go before a marker.


def overflows(frame: bytes, limit: int) -> bool:
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


# SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
