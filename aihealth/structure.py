"""Cheap looks at a file's bytes before any decoder sees them.

What is made to be slow (thousands of scans, chunks, segments, elements) or is visibly damaged is
refused here from its structure alone. What is left is decoded in this process where that is known
to be cheap and safe, and behind the wall (`aihealth.wall`) otherwise.
"""

import re
import struct
import zlib

from PIL import Image

from aihealth import limits
from aihealth.errors import ImageError
from aihealth.limits import MAX_BYTES, check_memory, check_size
from aihealth.signatures import is_dicom

# Files whose pixels take no more while they are decoded cost little wherever that happens.
_SMALL = 64 * 2**20

_PNG_CHUNKS = 20_000  # libpng writes one for each 8 kB
_PNG_OTHER_CHUNKS = 500
_JPEG_SEGMENTS = 1000
_JPEG_OTHERS = 8 * 2**20  # bytes that are no coded data; Pillow takes long to join them
_JPEG_SCANS = 100  # encoders write about ten
_JPEG_FILL = 1000
_GIF_COMMENTS = 64 * 2**10  # bytes
_GIF_EXTENSIONS = 10_000
_DICOM_ELEMENTS = 20_000
_DICOM_VALUE = 64 * 2**10  # bytes of a value that is text or numbers
_DICOM_TABLE = 512 * 2**10  # bytes of a look-up table
_ZEROS = 64  # bytes in a row, in the coded data of a JPEG


def decodes_here(data: bytes) -> bool:
    """Look at a file's structure: may it be decoded in this process, or only behind the wall?

    PNG, JPEG and uncompressed DICOM of ordinary size may. Other formats do not come often, and
    their decoders have failed on damaged files before.

    Args:
        data: the bytes of a file, of whatever kind.

    Raises:
        ImageError: the file is made to be slow, needs too much memory, or is visibly damaged.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    if data[:4] == b"GIF8":
        _gif(data)
        return False
    if data[128:132] == b"DICM":
        return _dicom(data)
    if is_dicom(data):  # Without its preamble: old, and rare.
        return False
    # What no decoder takes is refused by Pillow without being decoded.
    return not _OTHER_FORMATS.match(data)


_OTHER_FORMATS = re.compile(rb"BM|II|MM|RIFF")


def _fits(width: int, height: int, bytes_per_pixel: float) -> bool:
    """Whether pixels are few enough to be decoded here.

    Raises:
        ImageError: they need more memory than one file may take.
    """
    check_size(width, height)
    need = width * height * bytes_per_pixel
    check_memory(need)
    return need <= _SMALL


# === PNG ===


def _png(data: bytes) -> bool:
    """Chunks with a length, a name, and a checksum (W3C PNG, 5.3)."""
    place, chunks, others, ended = 8, 0, 0, False
    while place + 12 <= len(data) and not ended:
        length, kind = struct.unpack_from(">I4s", data, place)
        chunks += 1
        others += kind != b"IDAT"
        if chunks > _PNG_CHUNKS or others > _PNG_OTHER_CHUNKS:
            raise ImageError("the PNG file has too many chunks; save it anew")
        end = place + 8 + length
        # A name in capitals is that of a chunk without which there is no image.
        if kind[:1].isupper() and end + 4 <= len(data):
            found = zlib.crc32(memoryview(data)[place + 4 : end])
            if found != struct.unpack_from(">I", data, end)[0]:
                raise ImageError("the image is damaged: a checksum in the PNG file is wrong")
        ended = kind == b"IEND"
        place = end + 4
    if len(data) < 33:
        return True
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    # As Pillow keeps them: one byte in grey, two where it has 16 bits, four in colour.
    grey = kind in (0, 3)
    return _fits(width, height, (2 if kind == 0 and depth == 16 else 1) if grey else 4)


# === JPEG ===

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in coded data (ISO 10918-1, B.1.1.5)
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


def _jpeg(data: bytes) -> bool:
    """Segments with a marker and a length, and coded data after each start of a scan."""
    place, segments, others, scans = 2, 0, 0, _Scans()
    small = True
    while place + 4 <= len(data):
        start = place
        while data[place : place + 2] == b"\xff\xff":
            place += 1
            if place - start > _JPEG_FILL:
                raise ImageError("the JPEG file has too many fill bytes; save it anew")
        if place + 4 > len(data):
            break
        fill, marker, length = struct.unpack_from(">BBH", data, place)
        if fill != 0xFF:
            break  # Pillow looks further, or says that it is damaged.
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            place += 2
            continue
        segments += 1
        others += length
        if segments > _JPEG_SEGMENTS or others > _JPEG_OTHERS:
            raise ImageError("the JPEG file has too many segments; save it anew")
        body = data[place + 4 : place + 2 + length]
        place += 2 + length
        if marker in _JPEG_FRAMES and len(body) >= 6:
            height, width, components = struct.unpack_from(">HHB", body, 1)
            scans.begin(marker, body)
            memory = (1 if components == 1 else 4) + 2 * components * scans.progressive
            small = _fits(width, height, memory)
        elif marker == 0xC4:
            scans.tables(body)
        elif marker == 0xDA:
            found = _JPEG_MARKER.search(data, place)
            end = found.start() if found else len(data)
            scans.add(body, data[place:end])
            if scans.count > _JPEG_SCANS:
                raise ImageError("the JPEG file has too many scans; save it anew")
            place = end
    scans.check()
    return small


def may_be_short(data: bytes, picture: Image.Image) -> bool:
    """Whether a decoded JPEG may lack coded data, for which Pillow puts grey in without a word.

    Args:
        data: the file.
        picture: what was decoded from it.
    """
    if picture.info.get("progressive"):  # What is missing of the last scan is nowhere grey.
        return True
    width, height = picture.size
    block = picture.crop(((width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height)).convert("L")
    return all(127 <= end <= 128 for end in block.getextrema())


def lengthened(data: bytes) -> bytes:
    """A JPEG with more coded data before its end, which a whole image does not touch."""
    end = data.rfind(b"\xff\xd9")
    return data[:end] + bytes(range(1, 255)) * 16 + data[end:] if end > 0 else data


class _Scans:
    """What the scans of a JPEG hold of each component's 64 coefficients."""

    def __init__(self) -> None:
        self.count, self.progressive, self._arithmetic = 0, False, False  # a frame may be missing
        self._missing: dict[tuple[int, int], int] = {}  # (component, coefficient): bits to come
        self._first: dict[int, int] = {}  # of a Huffman table: the symbol that zeros stand for

    def begin(self, marker: int, frame: bytes) -> None:
        """Note the frame's components (ISO 10918-1, B.2.2)."""
        self.progressive = marker in _JPEG_PROGRESSIVE
        self._arithmetic = marker > 0xC8
        if self.progressive:
            self._missing = {
                (frame[6 + 3 * index], coefficient): 99
                for index in range(min(frame[5], (len(frame) - 6) // 3))
                for coefficient in range(64)
            }

    def tables(self, body: bytes) -> None:
        """Note Huffman tables (B.2.4.2): codes are given out in order, zeros are the first."""
        while len(body) > 17:
            self._first[body[0]] = body[17]
            body = body[17 + sum(body[1:17]) :]

    def add(self, header: bytes, coded: bytes) -> None:
        """Note a scan (B.2.3).

        Raises:
            ImageError: its coded data was overwritten with zeros.
        """
        self.count += 1
        if len(header) < 4 or len(header) < 4 + 2 * header[0]:
            return
        start, end, bits = header[-3:]
        chosen = [header[1 + 2 * index : 3 + 2 * index] for index in range(header[0])]
        for component, _ in chosen:
            for coefficient in range(start, min(end, 63) + 1):
                if (component, coefficient) in self._missing:
                    self._missing[component, coefficient] = bits & 15
        if bits >> 4 or self._arithmetic or bytes(_ZEROS) not in coded:
            return
        # No encoder writes so many zeros but where they mean "nothing changes, block after block".
        for _, tables in chosen:
            dc, ac = self._first.get(tables >> 4, 0), self._first.get(16 + (tables & 15), 0)
            if (start == 0 and dc) or (end > 0 and ac & 15):
                raise ImageError("the image is damaged: a part of it is overwritten with zeros")

    def check(self) -> None:
        """Refuse a progressive JPEG whose last scans are missing.

        Raises:
            ImageError: they are.
        """
        if self.count and any(self._missing.values()):
            raise ImageError("the image is cut short: the last scans of the JPEG file are missing")


# === GIF ===


def _gif(data: bytes) -> None:
    """Blocks, each a chain of sub-blocks (GIF89a, 15): Pillow takes long for long comments."""
    if len(data) < 13:
        return
    place = 13 + (3 * (2 << (data[10] & 7)) if data[10] & 0x80 else 0)
    comments = extensions = 0
    while place + 1 < len(data) and data[place] in (0x21, 0x2C):
        comment = False
        if data[place] == 0x21:
            extensions += 1
            comment = data[place + 1] == 0xFE
            place += 2
        else:
            if place + 10 > len(data):
                return
            flags = data[place + 9]
            place += 11 + (3 * (2 << (flags & 7)) if flags & 0x80 else 0)
        while place < len(data) and data[place]:
            comments += comment * data[place]
            place += 1 + data[place]
        place += 1
        if comments > _GIF_COMMENTS or extensions > _GIF_EXTENSIONS:
            raise ImageError("the GIF file has too many comments; save it anew")


# === DICOM ===

_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT"}
_LONG_VRS |= {b"UV"}
_BULK_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN", b"UT"}
_VR = re.compile(rb"[A-Z]{2}")
_UNDEFINED, _END_OF_SEQUENCE = 0xFFFFFFFF, 0xE0DD
_PIXEL_GROUP = 0x7FE0
_IMAGE_GROUP = 0x0028
_NATIVE = {b"1.2.840.10008.1.2": False, b"1.2.840.10008.1.2.1": True}  # explicit VR?
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def _dicom(data: bytes) -> bool:
    """Elements one after another (PS3.5, 7.1), those of sequences included."""
    syntax, place = _transfer_syntax(data)
    if syntax == _DEFLATED:
        try:
            inflated = inflate(data[place:])
        except zlib.error as error:
            raise ImageError("the DICOM file is damaged or cut short") from error
        _elements(inflated, 0, True)
        return False
    # Compressed ones are explicit; what is big-endian is lost at once, and goes behind the wall.
    explicit = _NATIVE.get(syntax, True)
    pixel_bytes = _elements(data, place, explicit)
    return syntax in _NATIVE and pixel_bytes is not None and pixel_bytes <= _SMALL


def inflate(data: bytes) -> bytes:
    """Inflate the data set of a deflated DICOM file.

    Raises:
        ImageError: it inflates to more than `limits.MAX_INFLATED`.
        zlib.error: it is damaged.
    """
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limits.MAX_INFLATED + 1)
    if len(inflated) > limits.MAX_INFLATED:
        raise ImageError(f"the DICOM file inflates to more than {limits.MAX_INFLATED // 2**20} MB")
    return inflated


def _transfer_syntax(data: bytes) -> tuple[bytes, int]:
    """The transfer syntax, b"" without one, and where the data set begins (PS3.10, 7.1)."""
    place, syntax, count = 132, b"", 0
    while data[place : place + 2] == b"\2\0" and count <= _DICOM_ELEMENTS:
        head = _head(data, place, True)
        if head is None:
            break
        _, element, _, length, start = head
        if element == 0x0010:
            syntax = data[start : start + min(length, 64)].rstrip(b"\0 ")
        place, count = start + length, count + 1
    if count > _DICOM_ELEMENTS:
        raise ImageError("the DICOM file has too many elements")
    return syntax, place


def _head(data: bytes, place: int, explicit: bool) -> tuple[int, int, bytes, int, int] | None:
    """Group, element, VR, length and where the value begins; None at the end or in the dark."""
    if place + 8 > len(data):
        return None
    group, element = struct.unpack_from("<HH", data, place)
    if not explicit or group == 0xFFFE:
        return group, element, b"", struct.unpack_from("<I", data, place + 4)[0], place + 8
    vr = data[place + 4 : place + 6]
    if vr not in _LONG_VRS:
        if not _VR.match(vr):
            return None
        return group, element, vr, struct.unpack_from("<H", data, place + 6)[0], place + 8
    if place + 12 > len(data):
        return None
    return group, element, vr, struct.unpack_from("<I", data, place + 8)[0], place + 12


def _elements(data: bytes, place: int, explicit: bool) -> int | None:
    """Walk through a data set, into its sequences.

    Returns:
        Length of the pixel data as it says; None where it, or the end, cannot be come to.

    Raises:
        ImageError: too many elements, or a value of too many bytes.
    """
    count, pixels, fragments = 0, None, False
    while (head := _head(data, place, explicit)) is not None:
        group, element, vr, length, place = head
        count += 1
        if count > _DICOM_ELEMENTS:
            raise ImageError(f"the DICOM file has more than {_DICOM_ELEMENTS} elements")
        if (group, element) == (_PIXEL_GROUP, 0x0010):
            pixels, fragments = length, length == _UNDEFINED
        elif group == 0xFFFE:
            fragments = fragments and element != _END_OF_SEQUENCE
            place += length if fragments else 0
            continue
        if length == _UNDEFINED or vr == b"SQ":
            continue  # Its items come next.
        if length > _longest(group, vr) and group != _PIXEL_GROUP:
            raise ImageError("the DICOM file has a value that is too long")
        place += length
    # Where a file does not end as it says, another reader may find other things in it.
    return pixels if place == len(data) else None


def _longest(group: int, vr: bytes) -> int:
    """Bytes that a value may have: pixels and what is no text or number may be long."""
    if group == _IMAGE_GROUP:
        return _DICOM_TABLE if vr in _BULK_VRS or not vr else _DICOM_VALUE
    return MAX_BYTES if vr in _BULK_VRS or not vr or group % 2 else _DICOM_VALUE
