"""How stored values lie in a DICOM file, where its tags lack, contradict or are written badly."""

import struct

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1

from aihealth.dicom import IDENTITY
from aihealth.dicom_layout import NO_PHOTOMETRIC
from aihealth.images import ImageError, decode, decode_with_warning
from aihealth.levels import stretch
from tests.helpers.image_files import RAMP, element, encode

FILM = RAMP.astype(np.uint16) * 20 + 200  # 200 to 3980: 12 bits
PLAIN = stretch(FILM)
SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x0002, 0x0004, 0x0006, 0x0008
ROWS, COLUMNS, ALLOCATED, STORED, HIGH, SIGNED = 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103
PADDING, CENTER, WIDTH, FUNCTION = 0x0120, 0x1050, 0x1051, 0x1056
INTERCEPT, SLOPE = 0x1052, 0x1053


def us(value):
    return b"US", struct.pack("<H", value)


def film(pixels, syntax="1.2.840.10008.1.2.1", frame=None):
    """A function that makes a file of pixels, or of a compressed frame, with some tags changed."""
    size = pixels.dtype.itemsize * 8
    samples = 1 if pixels.ndim == 2 else 3
    tags = {
        SAMPLES: us(samples),
        PHOTOMETRIC: (b"CS", b"MONOCHROME2" if samples == 1 else b"RGB"),
        ROWS: us(48),
        COLUMNS: us(64),
        ALLOCATED: us(size),
        STORED: us(min(size, 12)),
        HIGH: us(min(size, 12) - 1),
        SIGNED: us(int(pixels.dtype.kind == "i")),
    }

    def make(changes):
        body = element(0x0008, 0x0060, b"CS", b"DX")
        for number, value in sorted({**tags, **changes}.items()):
            body += element(0x0028, number, *value) if value else b""
        if frame is None:
            body += element(0x7FE0, 0x0010, b"OW", pixels.tobytes())
        else:
            padded = frame + b"\0" * (len(frame) % 2)
            body += b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0"
            body += b"\xfe\xff\0\xe0" + struct.pack("<I", len(padded)) + padded
            body += b"\xfe\xff\xdd\xe0\0\0\0\0"
        meta = element(2, 0x10, b"UI", syntax.encode()) if syntax else b""
        return bytes(128) + b"DICM" + meta + body

    return make


# === Tags that lack or are written badly ===

NUMBERS = [None, (b"US", b""), us(0), us(999), (b"IS", b""), (b"IS", b"abc")]


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("tag", [SAMPLES, ALLOCATED, STORED, HIGH, SIGNED, FRAMES])
def test_a_number_that_lacks_or_is_none_is_made_out_from_the_pixels(tag, value):
    if tag == FRAMES and value == us(999):
        pytest.skip("999 frames are a file cut short")
    assert np.array_equal(decode(film(FILM)({tag: value})), PLAIN)


def test_all_of_them_may_lack():
    lacking = dict.fromkeys((SAMPLES, ALLOCATED, STORED, HIGH, SIGNED))
    assert np.array_equal(decode(film(FILM)(lacking)), PLAIN)
    assert np.array_equal(decode(film(RAMP)(lacking)), stretch(RAMP))
    assert np.array_equal(decode(film(FILM)(lacking | {PHOTOMETRIC: None})), PLAIN)
    low = FILM.astype(np.int16) - 2000
    assert np.array_equal(decode(film(low)({SIGNED: None, STORED: us(16), HIGH: None})), PLAIN)


@pytest.mark.parametrize(
    "text", [b"monochrome2", b"MONOCHROME 2", b"Monochrome_2", b"MONOCHROME2\\MONOCHROME2"]
)
def test_photometric_interpretation_in_other_letters(text):
    assert decode_with_warning(film(FILM)({PHOTOMETRIC: (b"CS", text)}))[1] is None
    other = {PHOTOMETRIC: (b"CS", text.replace(b"2", b"1"))}
    assert np.array_equal(decode(film(FILM)(other)), 255 - PLAIN)


@pytest.mark.parametrize("text", [None, b"", b"GRAY", b"MONOCHROME", b"RGB"])
def test_photometric_interpretation_that_says_nothing_is_taken_as_black_and_said(text):
    pixels, warning = decode_with_warning(film(FILM)({PHOTOMETRIC: text and (b"CS", text)}))
    assert np.array_equal(pixels, PLAIN)
    assert warning == NO_PHOTOMETRIC


def test_monochrome1_with_the_shape_of_monochrome2_is_said():
    data = film(FILM)({PHOTOMETRIC: (b"CS", b"MONOCHROME1")})
    shape = element(0x2050, 0x0020, b"CS", b"IDENTITY")
    place = data.index(b"\xe0\x7f\x10\0")
    assert decode_with_warning(data[:place] + shape + data[place:])[1] == IDENTITY


@pytest.mark.parametrize("tag", [SAMPLES, PHOTOMETRIC, PLANAR, ALLOCATED, STORED, HIGH])
@pytest.mark.parametrize("planes", [False, True])
def test_colours_with_a_tag_that_lacks(tag, planes):
    grain = np.random.default_rng(0).integers(0, 256, RAMP.shape).astype(np.uint8)
    colour = np.repeat(grain[..., None], 3, axis=2)
    stored = colour.transpose(2, 0, 1).copy() if planes else colour
    data = film(stored)({PLANAR: us(int(planes)), tag: None})
    assert np.abs(decode(data).astype(int) - stretch(grain)).max() <= 1


@pytest.mark.parametrize("tag", [INTERCEPT, SLOPE])
@pytest.mark.parametrize("text", [b"abc", b"nan", b"1..0", b"1 HU", b"1e400"])
def test_rescaling_that_cannot_be_read_is_left_out_and_said(tag, text):
    pixels, warning = decode_with_warning(film(FILM)({tag: (b"DS", text)}))
    assert np.array_equal(pixels, PLAIN)
    assert "Rescale" in warning and "cannot be read" in warning


@pytest.mark.parametrize(
    ("center", "width"),
    [
        (b"2000,5", b"1000,0"),
        (b" 2000.5 ", b"+1e3"),
        (b"2000.5\\40", b"1000\\400"),
        (b"\\2000.5", b"\\1000"),
        (b"x\\2000.5", b"5\\1000"),
        (b"2000.5\\2000.5", b"0\\1000"),
        (b"2000.5\\1", b"1000"),
    ],
)
@pytest.mark.parametrize("function", [None, b"", b"Linear", b"LINEAR "])
def test_the_first_window_that_is_one_is_applied(center, width, function):
    data = film(FILM)(
        {
            CENTER: (b"DS", center),
            WIDTH: (b"DS", width),
            FUNCTION: None if function is None else (b"CS", function),
        }
    )
    linear = stretch(np.clip((FILM - 2000.0) / 999 + 0.5, 0, 1))  # PS3.3, C.11.2.1.2.1
    pixels, warning = decode_with_warning(data)
    assert np.abs(pixels.astype(int) - linear).max() <= 1
    assert warning is None


# === Bits ===


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (FILM << 4, {HIGH: 15}),
        ((FILM << 4) | 9, {HIGH: 15}),  # with something in the spare bits
        (FILM, {HIGH: 15}),  # the tag is wrong
        (FILM, {STORED: 16}),
        (FILM, {STORED: 10, HIGH: 9}),
        (FILM, {STORED: 3}),
        ((FILM.astype(np.int16) - 2000) << 4, {HIGH: 15}),
        (FILM.astype(np.int16) - 2000, {}),
        ((FILM.astype(np.int16) - 2000) & 0xFFF, {}),  # the sign was not carried on
        (FILM.astype(np.int16), {}),  # in truth unsigned
    ],
)
def test_bits_that_contradict_their_tags_are_set_right(pixels, tags):
    data = film(pixels)({tag: us(value) for tag, value in tags.items()})
    assert np.array_equal(decode(data), PLAIN)


@pytest.mark.parametrize(
    ("outside", "value"),
    [
        (-2000, (b"SS", struct.pack("<h", -2000))),
        (-2000, us(63536)),
        (-2000, (b"IS", b"-2000")),
        (-2000, (b"UN", struct.pack("<H", 63536))),
        (65535, us(65535)),
        (65535, (b"SS", b"\xff\xff")),
        (4095, (b"SS", b"\xff\xff")),  # all of 12 bits
    ],
)
def test_padding_is_compared_by_its_bits(outside, value):
    pixels = FILM.astype(np.int16 if outside < 0 else np.uint16)
    pixels[:, :10] = outside
    found = decode(film(pixels)({PADDING: value}))
    assert (found[:, :10] == 0).all()
    assert np.array_equal(found[:, 10:], stretch(FILM[:, 10:]))


@pytest.mark.parametrize("value", [us(2000 + 0x8000), (b"SS", struct.pack("<h", -2096))])
def test_padding_that_no_pixel_has_takes_nothing(value):
    assert np.array_equal(decode(film(FILM)({PADDING: value})), PLAIN)


# === Compressed ===

J2K = encode(Image.fromarray(RAMP), "JPEG2000", irreversible=False, no_jp2=True)
JPEG = encode(Image.fromarray(RAMP), "JPEG", quality=100)


@pytest.mark.parametrize("frame", [J2K, JPEG])
@pytest.mark.parametrize(
    "syntax", [None, "1.2.840.10008.1.2.1", JPEGLosslessSV1, JPEG2000Lossless, JPEGBaseline8Bit]
)
def test_a_compressed_frame_says_itself_what_it_is(frame, syntax):
    found = decode(film(RAMP, syntax, frame)({}))
    assert np.abs(found.astype(int) - stretch(RAMP)).max() <= 4


@pytest.mark.parametrize(
    "tag", [SAMPLES, PHOTOMETRIC, ROWS, COLUMNS, ALLOCATED, STORED, HIGH, SIGNED]
)
def test_what_lacks_is_read_from_the_frame(tag):
    assert np.array_equal(decode(film(RAMP, JPEG2000Lossless, J2K)({tag: None})), stretch(RAMP))


def test_only_the_end_of_the_frames_may_be_missing():
    whole = film(RAMP, JPEG2000Lossless, J2K)({})
    for missing in (8, 5):  # all of the delimiter, or some of it
        assert np.array_equal(decode(whole[:-missing]), stretch(RAMP))
    with pytest.raises(ImageError, match="cut short"):
        decode(whole[:-9])


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000.*pip install pylibjpeg"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4", "1.2.3.4"),
        ("", "an unknown encoding"),
    ],
)
def test_encodings_that_cannot_be_read_are_named_with_what_to_do(syntax, name):
    with pytest.raises(ImageError, match=name + ".*export it uncompressed"):
        decode(film(RAMP, syntax, b"nothing known " * 9)({}))


# === The wrong encoding of the data set ===


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50", "", "1.2.3"]
)
def test_a_transfer_syntax_that_the_bytes_contradict_is_not_believed(syntax):
    assert np.array_equal(decode(film(FILM, syntax)({})), PLAIN)


def test_floating_point_pixels_and_a_missing_palette_are_named():
    data = film(FILM)({})
    place = data.index(b"\xe0\x7f\x10\0")
    with pytest.raises(ImageError, match="floating-point"):
        decode(data[:place] + b"\xe0\x7f\x08\0OF" + data[place + 6 :])
    with pytest.raises(ImageError, match="palette"):
        decode(film(RAMP)({PHOTOMETRIC: (b"CS", b"PALETTE COLOR")}))
