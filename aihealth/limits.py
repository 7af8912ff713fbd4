"""What one image file may cost: bytes, pixels, seconds and memory.

No file takes more than `MAX_SECONDS` or `MAX_MEMORY`, in any command. `aihealth.structure` looks
at files before they are decoded; behind the wall (`aihealth.wall`) the operating system holds the
limits.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from PIL import Image

from aihealth.errors import ImageError

MAX_BYTES = 50 * 2**20  # of a file
MAX_PIXELS = 64_000_000  # a 40 x 43 cm detector at 0.05 mm
MIN_SIDE, MAX_SIDE = 16, 65_535  # more no JPEG and no DICOM file can have
MAX_SECONDS = 5.0
MAX_MEMORY = 320 * 2**20  # beside the file and the answer, together below 400 MB
MAX_INFLATED = 64 * 2**20  # of a deflated DICOM data set

TOO_SLOW = f"the image takes more than {MAX_SECONDS:.0f} s to decode; save it anew"
TOO_MUCH_MEMORY = "the image takes too much memory to decode; save it smaller or with fewer bits"
DAMAGED = "the image is damaged or cut short"


def check_size(width: int, height: int, samples: int = 1) -> None:
    """Refuse images that are too small to show anything or too large to work with.

    Args:
        width: pixels.
        height: pixels.
        samples: numbers that a pixel takes in memory while it is decoded.

    Raises:
        ImageError: a side below `MIN_SIDE` or above `MAX_SIDE`, or more than `MAX_PIXELS` of one
            sample.
    """
    limit = MAX_PIXELS // max(samples, 1)
    if width * height > limit:
        raise ImageError(too_many_pixels(limit))
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"the image has more than {MAX_SIDE} pixels a side")
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"the image has {width} x {height} pixels; at least {MIN_SIDE} a side are needed"
        )


def check_memory(need: float) -> None:
    """Refuse what would take more bytes than one file may.

    Raises:
        ImageError: it would.
    """
    if need > MAX_MEMORY:
        raise ImageError(TOO_MUCH_MEMORY)


def too_many_pixels(limit: int = MAX_PIXELS) -> str:
    """The sentence for an image that is too large."""
    return f"the image has more than {limit // 10**6} million pixels"


def check_picture(picture: Image.Image) -> None:
    """Refuse by what Pillow has read of the header, before it decodes.

    Raises:
        ImageError: too small, too large, or a TIFF with tiles that are larger than the image, or
            with strips that are too short for it.
    """
    width, height = picture.size
    check_size(width, height)
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return
    tile = int(tags.get(_TILE_WIDTH) or 0) * int(tags.get(_TILE_LENGTH) or 0)
    if tile > max(4 * width * height, 2**20):
        raise ImageError("the TIFF file has tiles that are larger than the image; save it anew")
    bits, samples = int(tags.get(_BITS, (1,))[0]), int(tags.get(_SAMPLES) or 1)
    row = (width * samples * bits + 7) // 8
    # Beside the picture, libtiff holds one strip, and Pillow four bytes where it has no type.
    check_memory(width * height * 4 + row * min(height, int(tags.get(_ROWS_PER_STRIP) or height)))
    as_they_are = tags.get(_COMPRESSION) == 1 and tags.get(_PHOTOMETRIC) != _YCBCR
    stored = sum(map(int, tags.get(_STRIP_BYTE_COUNTS) or ()))
    if as_they_are and 0 < stored < row * height:
        raise ImageError("the image is cut short: its strips in the TIFF file are too short")
    if tags.get(_COMPRESSION) in _DEFLATE and picture.fp is not None:
        _check_deflated(picture.fp, tags)


def _check_deflated(file: IO[bytes], tags: Mapping[int, Any]) -> None:
    """Check the sums of deflated strips or tiles: libtiff does not, so that zeros may pass.

    Raises:
        ImageError: one is wrong.
    """
    kinds = ((_STRIP_OFFSETS, _STRIP_BYTE_COUNTS), (_TILE_OFFSETS, _TILE_BYTE_COUNTS))
    for offsets, counts in kinds:
        for offset, count in zip(tags.get(offsets) or (), tags.get(counts) or (), strict=False):
            file.seek(offset)
            stream, rest = zlib.decompressobj(), file.read(min(count, MAX_BYTES))
            try:
                while rest and not stream.eof:
                    stream.decompress(rest, 2**20)
                    rest = stream.unconsumed_tail
                whole = stream.eof
            except zlib.error:
                whole = False
            if not whole:
                raise ImageError("the image is damaged: a strip of the TIFF file is not whole")


_DEFLATE = (8, 32946)
_STRIP_OFFSETS, _TILE_OFFSETS, _TILE_BYTE_COUNTS = 273, 324, 325
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 258, 259, 262, 277
_ROWS_PER_STRIP, _STRIP_BYTE_COUNTS = 278, 279
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_YCBCR = 6


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows of an image, about a million pixels at a time, for steps that need room for copies."""
    rows = max(1, 2**20 // max(width, 1))
    return (slice(start, start + rows) for start in range(0, height, rows))
