"""What people give that is no plain image file: text, addresses, arrays of 0..1, previews, others.

Each is read as it is meant, or gets its own sentence.
"""

import base64
import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from aihealth.images import ImageError, decode, decode_with_warning
from aihealth.levels import stretch
from tests.helpers.image_files import RAMP, encode, make_dicom

PNG = encode(Image.fromarray(RAMP))
TEXT = base64.b64encode(PNG).decode()
DEEP = np.tile(np.arange(200, 3800, 10, dtype=np.uint16), (200, 1))


# === Text ===


@pytest.mark.parametrize(
    "image",
    [
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;BASE64,{TEXT}",
        f"data:image/png;base64,{TEXT}".encode(),
        f"data:;base64,{TEXT.replace('+', '%2B')}",
        base64.urlsafe_b64encode(PNG * 3).decode(),
        base64.encodebytes(PNG * 3).decode(),
        memoryview(PNG),
    ],
)
def test_an_image_as_text_is_read(image):
    assert np.array_equal(decode(image), RAMP)


def test_a_dicom_file_as_text_is_read():
    film = make_dicom(RAMP)
    assert np.array_equal(decode(base64.b64encode(film).decode()), decode(film))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("https://example.org/film.png", "an address; download"),
        ("S3://bucket/film.dcm", "an address; download"),
        ("data:image/png;base64,AAA!", "damaged or cut short"),
        ("data:image/png,hello", "not in base64"),
        (None, "NoneType is no image"),
        ([1, 2], "list is no image"),
        (TEXT.encode() * 3, "base64; decode it first"),
    ],
)
def test_what_is_no_image_at_all_is_named(image, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(image)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"%PDF-1.7\n", "a PDF; export"),
        (b"PK\3\4" + bytes(60), "a ZIP archive; unpack"),
        (b"\x1f\x8b\x08\0" + bytes(60), "an archive; unpack"),
        (bytes(3) + b"\x18ftypheic" + bytes(60), "a HEIC photo.*save or export it as JPEG"),
        (bytes(3) + b"\x18ftypavif" + bytes(60), "an AVIF image; save"),
        (bytes(3) + b"\x18ftypisom" + bytes(60), "a video; save one frame"),
        (b"<!DOCTYPE html><html>", "a web page or other text"),
        (b"\x93NUMPY\1\0", "a NumPy file; load it"),
        (encode(Image.fromarray(RAMP), "JPEG2000"), "a JPEG 2000 image; save"),
    ],
)
def test_other_files_are_named_with_what_to_do(data, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(data)


# === Arrays ===


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_fractions_are_taken_times_255(kind, channels):
    array = np.repeat((RAMP / 255).astype(kind)[..., None], channels, axis=2)
    assert np.abs(decode(array).astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (RAMP / 127.5 - 1, "outside 0 to 255"),
        (RAMP / 170, "scale it"),  # a little over 1
        (RAMP.astype(np.uint16) * 20, "outside 0 to 255; scale it"),
        (RAMP > 90, "not numbers"),
        ((RAMP > 90).astype(int), "no values but 0 and 1"),
        ((RAMP > 90).astype(np.uint8), "no values but 0 and 1"),
    ],
)
def test_arrays_that_would_come_out_black_are_refused(array, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(array)


# === Defects of detectors ===


@pytest.mark.parametrize("make", [lambda film: encode(Image.fromarray(film)), make_dicom])
@pytest.mark.parametrize("value", [65535, 40_000])
def test_a_hot_pixel_or_a_dead_column_leaves_the_others_as_they_are(make, value):
    for place in ((3, 3), (slice(None), 7)):
        film = DEEP.copy()
        film[place] = value
        found, others = decode(make(film)), film != value
        assert np.array_equal(found[others], stretch(DEEP)[others])
        assert (found[~others] == 255).all()


def test_the_brightest_part_of_an_image_is_no_defect():
    film = DEEP.copy()
    film[10:30, 10:30] = 8000  # a marker of metal, 0.6% of the image
    assert np.array_equal(decode(encode(Image.fromarray(film))), stretch(film))
    assert decode(encode(Image.fromarray(film)))[0, -1] < 128


# === TIFF ===


def pages(*films):
    """A TIFF of several pages, each with its own tags."""
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file, True) as writer:
        for film, tags in films:
            Image.fromarray(film).save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    return file.getvalue()


WHOLE = np.repeat(np.repeat(RAMP, 4, axis=0), 4, axis=1)


@pytest.mark.parametrize(
    "films",
    [
        [(RAMP, {254: 1}), (WHOLE, {})],
        [(RAMP, {255: 2}), (WHOLE, {255: 1})],
        [(RAMP, {}), (WHOLE, {})],  # no tag says it, but its sides are a quarter
        [(WHOLE, {}), (RAMP, {254: 1})],
        [(WHOLE[:, ::-1], {254: 4}), (WHOLE, {})],  # a mask of transparency
        [(WHOLE, {254: 1})],  # alone: whatever it says
    ],
)
def test_previews_and_masks_in_a_tiff_are_no_frames(films):
    pixels, warning = decode_with_warning(pages(*films))
    assert np.array_equal(pixels, WHOLE)
    assert warning is None


def test_other_pages_of_a_tiff_are_frames():
    pixels, warning = decode_with_warning(pages((WHOLE, {}), (WHOLE[:, ::-1], {})))
    assert np.array_equal(pixels, WHOLE)
    assert "several frames" in warning


def test_signed_bytes_of_a_tiff_are_read_as_such():
    signed = (RAMP.astype(int) - 100).astype(np.int8)
    data = pages((signed.view(np.uint8), {339: 2}))
    assert np.array_equal(decode(data), stretch(RAMP))
