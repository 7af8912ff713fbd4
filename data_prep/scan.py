"""Reading every image once: is it readable, how large, which content."""

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from aihealth.data.duplicates import thumbnail
from aihealth.data.layouts import Entry, is_mask
from aihealth.data.manifest import DRAWN_KEY, DRAWN_TEXT
from aihealth.data.parallel import in_order
from aihealth.images import ImageError, decode, is_dicom, read_bytes

_BATCH = 512  # files in flight; keeps memory flat for any number of files

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Scanned:
    """What one image file holds.

    Attributes:
        entry: the file.
        bytes: size of the file.
        sha256: digest of the file's bytes.
        pixel_sha256: digest of the decoded grey levels and their shape.
        format: "PNG", "JPEG", "DICOM", ...
        mode: Pillow's mode ("L", "RGB", "RGBA", "I;16", ...); "" for DICOM.
        width: pixels.
        height: pixels.
        drawn: whether the file says that the demo generator drew it.
        thumbnail: uint8 `(16, 16)`.
    """

    entry: Entry
    bytes: int
    sha256: str
    pixel_sha256: str
    format: str
    mode: str
    width: int
    height: int
    drawn: bool
    thumbnail: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is meant as an image and cannot be used; `mask` where it is one."""

    entry: Entry
    reason: str
    mask: bool = False


def scan_images(entries: Sequence[Entry]) -> tuple[list[Scanned], list[Unreadable]]:
    """Decode all files, with threads, and show progress.

    Returns:
        What could be read and what could not, each in the order of `entries`.
    """
    results = list(in_order(_scan, entries, "reading images"))
    readable = [result for result in results if isinstance(result, Scanned)]
    return readable, [result for result in results if isinstance(result, Unreadable)]


def digest_files(entries: Sequence[Entry]) -> list[str]:
    """Return the SHA-256 of every file, in order; "" where a file cannot be read."""
    return list(in_order(_digest, entries, "looking at files"))


def _scan(entry: Entry) -> Scanned | Unreadable:
    try:
        data = read_bytes(entry.path)
        pixels = decode(data)
    except ImageError as error:
        return Unreadable(entry, str(error))
    except OSError as error:
        return Unreadable(entry, error.strerror or "the file cannot be read")
    if is_mask(pixels):
        return Unreadable(entry, "two grey levels: a mask, no radiograph", mask=True)
    kind, mode, drawn = "DICOM", "", False
    if not is_dicom(data):
        with Image.open(io.BytesIO(data)) as picture:
            kind, mode = picture.format, picture.mode
            drawn = picture.info.get(DRAWN_KEY) == DRAWN_TEXT
    return Scanned(
        entry=entry,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
        format=kind,
        mode=mode,
        width=pixels.shape[1],
        height=pixels.shape[0],
        drawn=drawn,
        thumbnail=thumbnail(pixels),
    )


def _digest(entry: Entry) -> str:
    try:
        return hashlib.sha256(read_bytes(entry.path)).hexdigest()
    except (ImageError, OSError):
        return ""
