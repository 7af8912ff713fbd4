"""Reading radiographs: one bounded way from a file, bytes, a picture or an array to grey levels.

Training, evaluation, the command line and the Space all read images here, so that they cannot
differ. Nothing but pixels leaves this module: EXIF and DICOM tags are read where they change the
pixels (orientation, window, photometric interpretation) and dropped.
"""

import base64
import binascii
import contextlib
import io
import os
import re
import urllib.parse
import warnings
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from aihealth import limits, signatures, structure, tiff, wall
from aihealth.errors import ImageError
from aihealth.files import HEAD, starts_like_image
from aihealth.levels import Strips, ends_of, stretch, stretch_strips
from aihealth.limits import MAX_BYTES, check_size, too_many_pixels
from aihealth.signatures import is_dicom

# Our own, lower limit on pixels is checked below. Set once: `catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")


ImageLike = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a file, at most `MAX_BYTES`.

    Raises:
        ImageError: no such file, a folder, empty, or larger than the limit.
    """
    try:
        size = os.stat(path).st_size
        if size > MAX_BYTES:
            raise ImageError(f"the file has {size / 2**20:.0f} MB; the limit is {_mb(MAX_BYTES)}")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ImageError("there is no such file") from error
    except IsADirectoryError as error:
        raise ImageError("this is a folder, not an image") from error
    except PermissionError as error:
        raise ImageError("no permission to read the file") from error
    except OSError as error:  # a name that is too long, a file used as a folder, a bad disk
        raise ImageError(f"the file cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImageError("this is not the name of a file") from error


def decode(image: ImageLike) -> np.ndarray:
    """Turn an image into grey levels.

    Args:
        image: a path; the bytes of a PNG, JPEG, BMP, TIFF, WebP, GIF or DICOM file, also as
            base64 text or `data:` URL; a PIL image; or an array `(h, w)`, `(h, w, 1)`,
            `(h, w, 3)` or `(h, w, 4)` with values 0 to 255 (uint8, or any other type within that
            range) or, as floating-point numbers, 0 to 1.

    Returns:
        uint8 array `(h, w)`, 0 black to 255 white. Colours are weighted as in ITU-R 601, alpha is
        dropped, more than 8 bits are stretched as `stretch` does (in colour or with alpha, only
        the upper 8 of 16 bits are read), EXIF orientation is applied.

    Raises:
        ImageError: unreadable, truncated, empty, too many pixels or bytes, not an image, or in
            colours of 16 bits of which the upper 8 say too little.
    """
    return decode_with_warning(image)[0]


def decode_with_warning(image: ImageLike) -> tuple[np.ndarray, str | None]:
    """As `decode`, with a sentence for the reader where the file holds more than was used."""
    if isinstance(image, np.ndarray):
        return _grey_array(image), None
    if isinstance(image, Image.Image):
        return _read(lambda: (image, False))[0], None
    if isinstance(image, str) or (isinstance(image, bytes) and image[:5].lower() == b"data:"):
        image = _from_text(image if isinstance(image, str) else image.decode("latin-1"))
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
    elif isinstance(image, (str, os.PathLike)):
        data = read_bytes(image)
    elif hasattr(image, "__array__"):  # a tensor of another library
        return _grey_array(np.asarray(image)), None
    else:
        raise ImageError(
            f"{type(image).__name__} is no image: a path, bytes, a PIL image or an array is needed"
        )
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has more than {_mb(MAX_BYTES)}")
    return decode_here(data) if structure.decodes_here(data) else wall.decode(data)


def decode_here(data: bytes) -> tuple[np.ndarray, str | None]:
    """Decode the bytes of a file in this process; see `structure` for the files that may be."""
    if is_dicom(data):
        from aihealth.dicom import decode_dicom  # pydicom is loaded for DICOM files only.

        decoded = decode_dicom(data)
        return decoded.pixels, decoded.warning
    pixels, picture, more = _read(lambda: _open(data), data)
    if picture.format == "JPEG" and structure.may_be_short(data, picture):
        # Pillow fills what is missing with grey; other bytes in its place would make a difference.
        longer = _read(lambda: _open(structure.lengthened(data)))[0]
        if not np.array_equal(pixels, longer):
            raise ImageError("the image is cut short: a part of the JPEG file is missing")
    several = more or _has_more_frames(picture)
    said = [SEVERAL_FRAMES] * several + [IN_COLOUR] * _is_in_colour(picture)
    return pixels, " ".join(said) or None


def _from_text(text: str) -> str | bytes:
    """What a text means: the bytes that it writes as base64, or itself as a path.

    Raises:
        ImageError: a web address, or a `data:` URL that cannot be read.
    """
    if text[:5].lower() == "data:":
        head, _, body = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise ImageError("the data: URL is not in base64")
        data = _from_base64(urllib.parse.unquote(body))
        if data is None:
            raise ImageError("the base64 text of the data: URL is damaged or cut short")
        return data
    if re.match(r"[a-z][a-z0-9+.]+://", text, re.IGNORECASE):
        raise ImageError("this is an address; download the file and give its path")
    if len(text) > 255 and not os.path.exists(text):
        data = _from_base64(text) or b""
        return data if starts_like_image(data[:HEAD]) else text
    return text


def _from_base64(text: str) -> bytes | None:
    """Bytes that a text writes in base64, of either alphabet; None where it does not."""
    text = "".join(text.split()).replace("-", "+").replace("_", "/")
    with contextlib.suppress(binascii.Error, ValueError):
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    return None


def _open(data: bytes) -> tuple[Image.Image, bool]:
    """Open a picture; a TIFF at its radiograph, with whether it has others."""
    picture = Image.open(io.BytesIO(data), formats=FORMATS)
    return picture, picture.format == "TIFF" and tiff.to_film(picture)


def _read(
    open_picture: Callable[[], tuple[Image.Image, bool]], data: bytes = b""
) -> tuple[np.ndarray, Image.Image, bool]:
    """What Pillow opens, in grey and as it is; all that goes wrong there is an `ImageError`."""
    try:
        picture, more = open_picture()
        return _grey_picture(picture), picture, more
    except UnidentifiedImageError as error:
        raise ImageError(
            signatures.sentence(data)
            or "this is not an image that can be read (PNG, JPEG, TIFF, DICOM)"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(too_many_pixels()) from error
    except ImageError:
        raise
    except Exception as error:  # Its decoders raise many kinds on damaged files.
        raise ImageError(limits.DAMAGED) from error


# Without their number: to count the pages of a TIFF takes Pillow minutes where there are many.
SEVERAL_FRAMES = "The file has several frames; only the first was used."

IN_COLOUR = (
    "This image is in colour, as a photograph of a screen is and a radiograph is not: the answer "
    "is less certain."
)


def _has_more_frames(picture: Image.Image) -> bool:
    """Whether a picture is animated or has pages; the previews that cameras add do not count."""
    try:
        return picture.format not in ("MPO", "TIFF") and getattr(picture, "is_animated", False)
    except Exception:  # GIF looks at the second frame for it, which may be damaged.
        return False


def _is_in_colour(picture: Image.Image) -> bool:
    """Whether a JPEG or WebP file, as cameras and messengers write them, is more than grey.

    Half of 64 x 64 places must have channels that differ by more than 4 of 255 levels: letters and
    arrows in colour do not count, nor does what compression makes of grey.
    """
    if picture.format not in ("JPEG", "MPO", "WEBP") or picture.mode == "L":
        return False
    places = picture.resize((64, 64), Image.Resampling.NEAREST).convert("RGB")
    return bool(np.median(np.ptp(np.asarray(places), axis=2)) > 4)


def prepare(image: ImageLike, size: int) -> np.ndarray:
    """Grey levels at the size that a model takes.

    Args:
        image: as for `decode`.
        size: side of the square, pixels.

    Returns:
        uint8 array `(size, size)`. The whole image is used and its aspect ratio is not kept, as
        in the collections that the models are trained on; shrinking is antialiased.

    Raises:
        ImageError: as for `decode`.
    """
    pixels = decode(image)
    if pixels.shape == (size, size):
        return pixels
    picture = Image.fromarray(pixels)
    # `reducing_gap` first shrinks by a whole factor: large images cost little more than small ones.
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))


def mirror_correlation(pixels: np.ndarray) -> float:
    """How alike the two halves of an image are: a frontal radiograph's are, a lateral one's not.

    Args:
        pixels: uint8 `(h, w)`.

    Returns:
        Correlation of a 16 x 16 thumbnail with its mirror image, -1 to 1; 1 for a constant image.
    """
    thumbnail = prepare(pixels, 16).astype(np.float32)
    thumbnail -= thumbnail.mean()
    power = float((thumbnail**2).sum())
    return float((thumbnail * thumbnail[:, ::-1]).sum() / power) if power > 0 else 1.0


def _grey_picture(picture: Image.Image) -> np.ndarray:
    limits.check_picture(picture)  # Known from the header, before anything is decoded.
    # Pillow turns black and white for this where there are at most 8 bits, and only there.
    white_is_zero = getattr(picture, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0
    deep_colour = re.search(";16[BLN]", str(getattr(picture, "tile", ())[:1]))
    kind = tiff.number_kind(picture)
    picture.load()
    with contextlib.suppress(Exception):  # Damaged EXIF says nothing; the image is still good.
        if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
    shape = picture.size[::-1]
    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N", "F"):
        grey = stretch_strips(lambda: _strips(picture, kind=kind), shape)
        return 255 - grey if white_is_zero else grey
    if kind is not None:
        return stretch_strips(lambda: _strips(picture, kind=kind), shape)
    grey = np.empty(shape, np.uint8)
    for rows, strip in _strips(picture, "L"):
        grey[rows] = strip
    if deep_colour is None:
        return grey
    low, high = ends_of(lambda: [(slice(None), grey)])
    if int(high) - int(low) < 128:  # 12 bits of 16 would have 16 levels left.
        raise ImageError(
            "the image uses less than half of its 16 bits a colour; save it in grey or with 8 bits"
        )
    return stretch(grey, (low, high))


def _strips(picture: Image.Image, mode: str | None = None, kind: type | None = None) -> Strips:
    """A picture's pixels, some rows at a time: Pillow copies what it gives away twice."""
    width, height = picture.size
    for rows in limits.strips(height, width):
        strip = picture.crop((0, rows.start, width, min(rows.stop, height)))
        values = np.asarray(strip.convert(mode) if mode else strip)
        yield rows, values.view(kind) if kind else values


def _grey_array(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an array of shape {array.shape} is not an image: (h, w), (h, w, 1), (h, w, 3) or "
            "(h, w, 4) is needed"
        )
    check_size(array.shape[1], array.shape[0])
    if array.dtype.kind not in "uif" or not np.isfinite(array).all():
        raise ImageError("the array has values that are not numbers")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 255:
        raise ImageError(
            "the array has values outside 0 to 255; scale it to 0 to 255, or to 0 to 1 as "
            "floating-point numbers"
        )
    fractions = array.dtype.kind == "f"
    if 0 < high <= 1 and not fractions:
        raise ImageError(
            "the array has no values but 0 and 1, as a mask has; values from 0 to 255 are needed"
        )
    if fractions and 1 < high < 2:
        raise ImageError(
            f"the array goes from {low:.3g} to {high:.3g}; scale it to 0 to 255 or to 0 to 1"
        )
    if array.dtype != np.uint8:
        array = np.rint(array * np.float32(255 if fractions and high <= 1 else 1)).astype(np.uint8)
    if array.ndim == 2:
        return array
    if array.shape[2] == 1:
        return array[:, :, 0]
    return np.array(Image.fromarray(np.ascontiguousarray(array)).convert("L"))


def _mb(count: int) -> str:
    return f"{count // 2**20} MB"
