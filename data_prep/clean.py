"""Pixels travel, tags do not: the bytes that a prepared dataset keeps of an image."""

import io
import struct

from PIL import Image

from aihealth.images import decode, is_dicom
from data_prep.scan import DRAWN_KEY, DRAWN_TEXT

_EXIF_ORIENTATION = 0x0112
# 8 bits a channel, read alike by Pillow, TensorFlow and browsers.
_PLAIN_MODES = {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA"), "JPEG": ("L", "RGB")}
_SUFFIX = {"PNG": ".png", "JPEG": ".jpg"}
# What PNG pixels depend on; text, time and EXIF are none of it.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def clean_bytes(data: bytes) -> tuple[bytes, str]:
    """Drop everything that could tell who is shown.

    Args:
        data: the bytes of a readable image file.

    Returns:
        Bytes and suffix. 8-bit PNG and JPEG keep their coded pixels as they are, so a file
        without tags comes back byte for byte. Everything else (DICOM, TIFF, 16 bits, CMYK, an
        EXIF orientation that turns the image, ...) becomes an 8-bit greyscale PNG with the grey
        levels that `aihealth.images.decode` gives.
    """
    if not is_dicom(data):
        with Image.open(io.BytesIO(data)) as picture:
            kind, mode = picture.format, picture.mode
            upright = picture.getexif().get(_EXIF_ORIENTATION, 1) == 1
        if mode in _PLAIN_MODES.get(kind, ()) and upright:
            strip = _strip_png if kind == "PNG" else _strip_jpeg
            return strip(data), _SUFFIX[kind]
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


def _strip_jpeg(data: bytes) -> bytes:
    """Drop comments and application segments but JFIF (APP0) and Adobe's colours (APP14)."""
    parts, position = [data[:2]], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == 0xDA:  # start of scan: coded pixels from here on
            break
        end = position + 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
        private = marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE)
        if not private:
            parts.append(data[position:end])
        position = end
    parts.append(data[position:])
    return b"".join(parts)
