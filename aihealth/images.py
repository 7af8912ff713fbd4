"""Reading radiographs: one bounded way from a file, bytes, a picture or an array to grey levels.

Training, evaluation, the command line and the Space all read images here, so that they cannot
differ. Nothing but pixels leaves this module: EXIF and DICOM tags are read where they change the
pixels (orientation, window, photometric interpretation) and dropped.
"""

import base64
import contextlib
import io
import os
import re
import urllib.parse
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from aihealth import limits, structure, wall
from aihealth.dicom_header import is_dicom, with_header
from aihealth.errors import ImageError
from aihealth.limits import MAX_BYTES, check_size, too_many_pixels

# Our own, lower limit on pixels is checked below. Set once: `catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")


Strips = Iterable[tuple[slice, np.ndarray]]
ImageLike = str | os.PathLike | bytes | bytearray | Image.Image | np.ndarray


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
        image: a path or `data:` URL; the bytes of a PNG, JPEG, BMP, TIFF, WebP, GIF or DICOM file;
            a PIL image; or an array `(h, w)`, `(h, w, 1)`, `(h, w, 3)` or `(h, w, 4)` with values
            0 to 255 (uint8, or another type within that range; floating-point also 0 to 1).

    Returns:
        uint8 array `(h, w)`, 0 black to 255 white. Colours are weighted as in ITU-R 601, alpha is
        dropped, more than 8 bits are stretched to 0 and 255, see `ends` (in
        colour or with alpha, only the upper 8 of 16 bits are read), EXIF orientation is applied.

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
        return _read(lambda: image)[0], None
    if isinstance(image, str) and (told := _TEXT.match(image)):
        image = _from_text(image, told)
    data = bytes(image) if isinstance(image, (bytes, bytearray)) else read_bytes(image)
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has more than {_mb(MAX_BYTES)}")
    for start, sentence in _NOT_READ.items():
        if start.match(data):
            raise ImageError(sentence)
    if is_dicom(data):
        data = with_header(data)
    return decode_here(data) if structure.decodes_here(data) else wall.decode(data)


_TEXT = re.compile(
    r"(?i)(https?|s3|gs|ftp)://|data:[\w.+/-]*(;[^,]*)?,|[A-Za-z0-9+/\s]{200,}={0,2}\s*$"
)
# What people have and no decoder here takes, by its first bytes, with what to do.
_NOT_READ = {
    re.compile(rb"version https://git-lfs"): (
        "this is a git-lfs pointer, not the image itself; get it with `git lfs pull`"
    ),
    re.compile(rb".{4}ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL): (
        "this is a HEIC picture, which is not read here; save it as JPEG or PNG"
    ),
    re.compile(rb".{4}ftypavi[fs]", re.DOTALL): (
        "this is an AVIF picture, which is not read here; save it as JPEG or PNG"
    ),
    re.compile(rb"%PDF"): "this is a PDF; export the image in it as PNG, JPEG or DICOM",
    re.compile(rb"PK\x03\x04"): "this is a ZIP archive; unpack it and give the images in it",
    re.compile(
        rb"\x1f\x8b|7z\xbc\xaf|Rar!"
    ): "this is an archive; unpack it and give the images in it",
    re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"): (
        "this is a JPEG 2000 picture, which is not read here; save it as PNG or as DICOM"
    ),
    re.compile(rb"\s*<(!doctype|html|svg|\?xml)", re.IGNORECASE): (
        "this is a page or drawing of text, not an image; was a link saved instead of the file?"
    ),
}


def _from_text(text: str, told: re.Match[str]) -> bytes:
    """The bytes in a `data:` URL; a sentence for what else is no path."""
    if told[1]:
        raise ImageError("this is an address; download the image and give the file")
    if told[0][:5].lower() != "data:":
        raise ImageError("this looks like base64; give the bytes, base64.b64decode(text)")
    if len(text) > 2 * MAX_BYTES:
        raise ImageError(f"the image has more than {_mb(MAX_BYTES)}")
    body = text[told.end() :]
    if ";base64" not in (told[2] or "").lower():
        return urllib.parse.unquote_to_bytes(body)
    try:
        return base64.b64decode(re.sub(r"\s", "", urllib.parse.unquote(body)), validate=True)
    except ValueError as error:
        raise ImageError("the data: URL is no valid base64") from error


def decode_here(data: bytes) -> tuple[np.ndarray, str | None]:
    """Decode the bytes of a file in this process; see `structure` for the files that may be."""
    if is_dicom(data):
        from aihealth.dicom import decode_dicom  # pydicom is loaded for DICOM files only.

        film = decode_dicom(data)
        return film.pixels, film.warning
    pixels, picture = _read(lambda: _past_previews(Image.open(io.BytesIO(data), formats=FORMATS)))
    if picture.format == "JPEG" and structure.may_be_short(data, picture):
        # Pillow fills what is missing with grey; other bytes in its place would make a difference.
        longer, _ = _read(
            lambda: Image.open(io.BytesIO(structure.lengthened(data)), formats=FORMATS)
        )
        if not np.array_equal(pixels, longer):
            raise ImageError("the image is cut short: a part of the JPEG file is missing")
    return pixels, SEVERAL_FRAMES if _has_more_frames(picture) else None


def _past_previews(picture: Image.Image) -> Image.Image:
    """A TIFF at its first page that is no preview (NewSubfileType, bit 0), of the first ten."""
    if picture.format != "TIFF":
        return picture
    for page in range(10):
        try:
            picture.seek(page)
        except EOFError:
            picture.seek(0)
            break
        kind = picture.tag_v2.get(ExifTags.Base.NewSubfileType, 0)
        if not (isinstance(kind, int) and kind & 1):
            break
    return picture


def _read(open_picture: Callable[[], Image.Image]) -> tuple[np.ndarray, Image.Image]:
    """What Pillow opens, in grey and as it is; all that goes wrong there is an `ImageError`."""
    try:
        picture = open_picture()
        return _grey_picture(picture), picture
    except UnidentifiedImageError as error:
        raise ImageError(
            "this is not an image that can be read (PNG, JPEG, TIFF, DICOM)"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(too_many_pixels()) from error
    except ImageError:
        raise
    except Exception as error:  # Its decoders raise many kinds on damaged files.
        raise ImageError(limits.DAMAGED) from error


# Without their number: to count the pages of a TIFF takes Pillow minutes where there are many.
SEVERAL_FRAMES = "The file has several frames; only the first was used."


def _has_more_frames(picture: Image.Image) -> bool:
    """Whether a picture is animated or has pages; the previews that cameras add do not count."""
    try:
        if picture.format == "TIFF" and picture.tell():  # Previews came before it.
            return False
        return picture.format != "MPO" and getattr(picture, "is_animated", False)
    except Exception:  # GIF looks at the second frame for it, which may be damaged.
        return False


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
    # `reducing_gap` first shrinks by a whole factor: large films cost little more than small ones.
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))


def mirror_correlation(pixels: np.ndarray) -> float:
    """How alike the two halves of an image are, as a frontal film's are and a lateral one's not.

    Args:
        pixels: uint8 `(h, w)`.

    Returns:
        Correlation of a 16 x 16 thumbnail with its mirror image, -1 to 1; 1 for a constant image.
    """
    thumbnail = prepare(pixels, 16).astype(np.float32)
    thumbnail -= thumbnail.mean()
    power = float((thumbnail**2).sum())
    return float((thumbnail * thumbnail[:, ::-1]).sum() / power) if power > 0 else 1.0


def stretch(pixels: np.ndarray) -> np.ndarray:
    """Stretch values linearly to uint8 0..255, see `ends`; a constant image becomes black."""
    strips = [(rows, pixels[rows]) for rows in limits.strips(*pixels.shape[:2])]
    return stretch_strips(lambda: strips, pixels.shape)


def stretch_strips(strips: Callable[[], Strips], shape: tuple[int, ...]) -> np.ndarray:
    """As `stretch`, of an image that is given in strips, so that no copy of all is needed.

    Args:
        strips: gives rows and their values, each time that it is called.
        shape: of the image.
    """
    every = max(1, int(np.sqrt(np.prod(shape[:2]) / _SAMPLE)))
    extremes, sample = [], []
    for _, strip in strips():
        extremes += [strip.min(), strip.max()]
        sample.append(strip[::every, ::every].ravel())
    low, high = float(np.float32(np.min(extremes))), float(np.float32(np.max(extremes)))
    if not np.isfinite([low, high]).all():
        raise ImageError("the image has values that are not numbers")
    first, last = _without_outliers(low, high, np.concatenate(sample).astype(np.float32))
    scale = np.float32(255.0 / (last - first) if last > first else 0.0)
    grey = np.empty(shape, np.uint8)
    for rows, strip in strips():
        values = strip.astype(np.float32)
        values -= np.float32(first)
        values *= scale
        if (first, last) != (low, high):
            np.clip(values, 0, 255, out=values)
        grey[rows] = np.rint(values, out=values)
    return grey


_SAMPLE = 2**18  # pixels that percentiles are taken of
_OUTLIERS = 0.0005  # share of the pixels, at either end


def ends(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The values that become black and white: the least and the greatest, but for outliers.

    A dead or hot pixel of a detector must not make all others black: where 999 in 1000 pixels lie
    within less than half of the range, it ends where these do.

    Args:
        values: float32, each different value of an image.
        counts: how often each occurs.
    """
    if not np.isfinite(values).all():
        raise ImageError("the image has values that are not numbers")
    low, high = float(values.min()), float(values.max())
    order = np.argsort(values)
    share = np.cumsum(counts[order]) / counts.sum()
    first, last = (values[order][np.searchsorted(share, q)] for q in (_OUTLIERS, 1 - _OUTLIERS))
    return _narrower(low, high, float(first), float(last))


def _without_outliers(low: float, high: float, sample: np.ndarray) -> tuple[float, float]:
    first, last = np.quantile(sample[:: max(1, sample.size // 4096)], (0.01, 0.99))
    if last - first >= (high - low) / 2:  # As nearly always, and quickly told.
        return low, high
    return _narrower(low, high, *map(float, np.quantile(sample, (_OUTLIERS, 1 - _OUTLIERS))))


def _narrower(low: float, high: float, first: float, last: float) -> tuple[float, float]:
    return (first, last) if first < last < first + (high - low) / 2 else (low, high)


def _grey_picture(picture: Image.Image) -> np.ndarray:
    limits.check_picture(picture)  # Known from the header, before anything is decoded.
    # Pillow turns black and white for this where there are at most 8 bits, and only there.
    white_is_zero = getattr(picture, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0
    deep_colour = re.search(";16[BLN]", str(getattr(picture, "tile", ())[:1]))
    picture.load()
    with contextlib.suppress(Exception):  # Damaged EXIF says nothing; the image is still good.
        if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
    shape = picture.size[::-1]
    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N", "F"):
        grey = stretch_strips(lambda: _strips(picture), shape)
        return 255 - grey if white_is_zero else grey
    grey = np.empty(shape, np.uint8)
    for rows, strip in _strips(picture, "L"):
        grey[rows] = strip
    if getattr(picture, "tag_v2", {}).get(ExifTags.Base.SampleFormat, (1,))[0] == 2:
        return stretch(grey.view(np.int8))  # Pillow reads -1 as 255.
    if deep_colour is None:
        return grey
    if np.ptp(grey) < 128:  # 12 bits of 16 would have 16 levels left.
        raise ImageError(
            "the image uses less than half of its 16 bits a colour; save it in grey or with 8 bits"
        )
    return stretch(grey)


def _strips(picture: Image.Image, mode: str | None = None) -> Strips:
    """A picture's pixels, some rows at a time: Pillow copies what it gives away twice."""
    width, height = picture.size
    for rows in limits.strips(height, width):
        strip = picture.crop((0, rows.start, width, min(rows.stop, height)))
        yield rows, np.asarray(strip.convert(mode) if mode else strip)


def _grey_array(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an array of shape {array.shape} is not an image: (h, w), (h, w, 1), (h, w, 3) or "
            "(h, w, 4) is needed"
        )
    check_size(array.shape[1], array.shape[0])
    if array.dtype != np.uint8:
        real = array.dtype.kind in "uif"
        if not (real and np.isfinite(array).all()):
            raise ImageError("the array has values that are not numbers")
        if array.min() < 0 or array.max() > 255:
            raise ImageError("the array has values outside 0 to 255")
        if array.dtype.kind == "f" and 0 < array.max() <= 1:  # As Keras and PyTorch pass images.
            array = array * 255.0
        array = np.rint(array).astype(np.uint8)
    if array.ndim == 2:
        return array
    if array.shape[2] == 1:
        return array[:, :, 0]
    return np.array(Image.fromarray(np.ascontiguousarray(array)).convert("L"))


def _mb(count: int) -> str:
    return f"{count // 2**20} MB"
