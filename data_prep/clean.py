"""Pixels travel, tags do not: the bytes that a prepared dataset keeps of an image."""

import io
import re
import struct

from PIL import Image

from aihealth.data.manifest import DRAWN_KEY, DRAWN_TEXT
from aihealth.images import decode, is_dicom

_EXIF_ORIENTATION = 0x0112
# 8 bits a channel, read alike by Pillow, TensorFlow and browsers.
_PLAIN_MODES = {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA"), "JPEG": ("L", "RGB")}
_SUFFIX = {"PNG": ".png", "JPEG": ".jpg"}
# What PNG pixels depend on; text, time and EXIF are none of it.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COMMENT, _SCAN, _END, _APPLICATION = 0xFE, 0xDA, 0xD9, range(0xE0, 0xF0)
# What JPEG pixels depend on: frames and Huffman tables, scans, quantisation, restart intervals.
_JPEG_SEGMENTS = {*range(0xC0, 0xD0), _SCAN, 0xDB, 0xDD} - {0xC8, 0xCC}
_COLOURS = {0xE0: (b"JFIF\0", 16), 0xEE: (b"Adobe", 14)}  # how such a segment starts, its length
_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def clean_bytes(data: bytes) -> tuple[bytes, str]:
    """Drop everything that could tell who is shown.

    Args:
        data: the bytes of a readable image file.

    Returns:
        Bytes and suffix. 8-bit PNG and JPEG keep their coded pixels as they are, so a file
        without tags comes back byte for byte. Everything else (DICOM, TIFF, 16 bits, CMYK, an
        EXIF orientation that turns the image, a JPEG with bytes that belong to no segment, ...)
        becomes an 8-bit greyscale PNG with the grey levels that `aihealth.images.decode` gives.
    """
    if not is_dicom(data):
        with Image.open(io.BytesIO(data)) as picture:
            kind, mode = picture.format, picture.mode
            upright = picture.getexif().get(_EXIF_ORIENTATION, 1) == 1
        if mode in _PLAIN_MODES.get(kind, ()) and upright:
            stripped = _strip_png(data) if kind == "PNG" else _strip_jpeg(data)
            if stripped is not None:
                return stripped, _SUFFIX[kind]
    buffer = io.BytesIO()
    Image.fromarray(decode(data)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), ".png"


def _strip_png(data: bytes) -> bytes:
    """Keep the chunks that make the pixels, and our own mark on drawn images."""
    mark = f"{DRAWN_KEY}\0{DRAWN_TEXT}".encode("latin-1")
    parts, position = [data[:8]], 8
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        end = position + 12 + length
        ours = kind == b"tEXt" and data[position + 8 : end - 4] == mark
        if kind in _PNG_CHUNKS or ours:
            parts.append(data[position:end])
        position = end
        if kind == b"IEND":
            break
    return b"".join(parts)


def _strip_jpeg(data: bytes) -> bytes | None:
    """Keep tables, frame and scans up to the first end of image, and what JFIF and Adobe say of
    colours; None where anything else is in between, which only coding the pixels anew removes."""
    parts, position = [data[:2]], 2
    while (found := _MARKER.match(data, position)) is not None:
        marker, start = found[1][0], found.end()
        if marker == _END:
            return b"".join([*parts, data[start - 2 : start]])
        end = start + int.from_bytes(data[start : start + 2], "big")
        if end < start + 2 or end > len(data):
            return None
        name, length = _COLOURS.get(marker, (b"", 0))
        named = bool(name) and data.startswith(name, start + 2)
        if named and end - start != length:  # A thumbnail, or something hidden.
            return None
        if marker == _SCAN:
            coded = _AFTER_SCAN.search(data, end)
            end = coded.start() if coded else len(data)
        if marker in _JPEG_SEGMENTS or named:
            parts.append(data[start - 2 : end])
        elif not (marker == _COMMENT or marker in _APPLICATION):
            return None
        position = end
    return None
