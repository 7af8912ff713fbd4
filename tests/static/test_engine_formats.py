"""Every format is read in the browser to the grey levels, warnings and refusals of the package."""

import dataclasses
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from aihealth import images, limits
from aihealth.errors import ImageError
from tests.helpers.engine import Refused, growth_mb
from tests.helpers.image_files import (
    DICOM_FILES,
    GRAIN,
    RAMP,
    deep_png,
    deep_tiff,
    encode,
    make_dicom,
    png_file,
)

pytestmark = pytest.mark.browser

SHAPE = (61, 90)  # no multiple of a block
GREY = Image.fromarray(
    (
        np.add.outer(np.arange(61) * 2, np.arange(90))
        + np.random.default_rng(0).integers(0, 30, SHAPE)
    )
    .clip(0, 255)
    .astype(np.uint8)
)
COLOURS = Image.merge("RGB", [GREY, GREY.transpose(0), GREY.transpose(1)])
DEEP = np.asarray(GREY).astype(np.uint16) * 13 + 400


def with_alpha(picture):
    picture = picture.convert("RGBA")
    picture.putalpha(GREY)
    return picture


MODES = {
    "L": GREY,
    "RGB": COLOURS,
    "RGBA": with_alpha(COLOURS),
    "LA": with_alpha(COLOURS).convert("LA"),
    "P": COLOURS.quantize(60),
    "P of 12": COLOURS.quantize(12),
    "P of 3": COLOURS.quantize(3),
    "1": GREY.convert("1"),
    "I;16": Image.fromarray(DEEP),
}


def oriented(number):
    exif = Image.Exif()
    exif[0x112] = number
    return exif


def interlaced():
    """A PNG by Adam7, which Pillow does not write: nothing but its last pass is not flat."""
    rows = b"".join(
        b"\0" + bytes([90]) * (-(-(16 - x) // dx)) + b""
        for x, y, dx, dy in (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
        )
        for _ in range(y, 16, dy)
    )
    rows += b"".join(b"\0" + bytes(range(16 * line, 16 * line + 16)) for line in range(8))
    data = bytearray(png_file((16, 16, 8, 0), rows))
    data[28] = 1
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def tiff_of(strip, compression):
    """A TIFF of 64 x 64 grey levels, by hand, whose one strip may hold anything."""
    tags = {256: 64, 257: 64, 258: 8, 259: compression, 262: 1, 273: 8, 277: 1, 278: 64}
    tags[279] = len(strip)
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    end = struct.pack("<H", len(tags)) + fields + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + end


def files():
    """Name to bytes: what must be read, and to what."""
    for name, picture in MODES.items():
        yield f"PNG {name}", encode(picture)
        yield f"TIFF {name}", encode(picture, "TIFF")
        for way in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
            yield f"TIFF {way} {name}", encode(picture, "TIFF", compression=way)
    for name in ("L", "RGB"):
        yield f"TIFF jpeg {name}", encode(MODES[name], "TIFF", compression="jpeg")
        for way in ({}, {"progressive": True}, {"subsampling": 2, "quality": 40}):
            yield f"JPEG {name} {way}", encode(MODES[name], "JPEG", **way)
    for name in ("RGB", "RGBA"):
        yield f"WebP {name}", encode(MODES[name], "WEBP", quality=80)
        yield f"WebP lossless {name}", encode(MODES[name], "WEBP", lossless=True)
    for number in range(1, 9):
        for form, picture in (("JPEG", COLOURS), ("PNG", GREY), ("WEBP", COLOURS)):
            yield f"{form} turned {number}", encode(picture, form, exif=oriented(number))
        deep = Image.fromarray(DEEP)
        yield f"TIFF turned {number}", encode(deep, "TIFF", exif=oriented(number))
    for kind in (2, 4, 6):
        yield f"PNG of 16 bits, kind {kind}", deep_png(DEEP * 15, kind)
    for kind, values in ("int32", DEEP), ("float32", DEEP / 7), ("float32", DEEP - 900.0):
        for way in (None, "tiff_lzw"):
            picture = Image.fromarray(values.astype(kind))
            yield f"TIFF {kind} {way}", encode(picture, "TIFF", compression=way)
    hot = DEEP.copy()
    hot[3, 4] = 65535
    yield "a hot pixel", encode(Image.fromarray(hot))
    yield "colours of 16 bits", deep_tiff(DEEP * 15)
    yield "an interlaced PNG", interlaced()
    rows = np.resize(GRAIN, (2**10, 64))
    yield "a strip with more rows than the image", tiff_of(zlib.compress(rows.tobytes()), 8)
    second = GREY.transpose(0)
    yield "pages", encode(GREY, "TIFF", save_all=True, append_images=[second])
    yield "an animated PNG", encode(GREY, save_all=True, append_images=[second])
    yield from dicom_files()


def dicom_files():
    """What pydicom ships, and what the window is told by."""
    for path in sorted(DICOM_FILES.glob("*.dcm")):
        yield path.stem, path.read_bytes()
    deep = np.asarray(GREY).astype(np.uint16) * 16
    for tags in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"WindowCenter": 2000, "WindowWidth": 900},
        {"WindowCenter": [9, 2000], "WindowWidth": [2, 900]},  # The first hides all.
        {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 0, "WindowWidth": 900, "RescaleSlope": 2, "RescaleIntercept": -4000},
        {"RescaleSlope": -1, "RescaleIntercept": 4095},
        {"PixelPaddingValue": int(deep[0, 0])},
        {"BitsStored": 12, "HighBit": 11},
        {"BitsStored": 12, "HighBit": 15},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
        {"ViewPosition": "LL"},
    ):
        yield f"DICOM {tags}", make_dicom(deep, **tags)
    yield "DICOM of two frames", make_dicom(np.stack([RAMP, RAMP[:, ::-1]]))
    yield "DICOM, signed", make_dicom(deep.astype(np.int16) - 2000)
    frame = encapsulate([encode(GREY, "JPEG")])
    jpeg = make_dicom(np.asarray(GREY), JPEGBaseline8Bit, PixelData=frame)
    yield "DICOM, JPEG", jpeg
    yield "DICOM without preamble", make_dicom(deep)[132:]


@dataclasses.dataclass(frozen=True)
class Read:
    pixels: np.ndarray | None
    said: str | None


def by_package(data):
    try:
        return Read(*images.decode_with_warning(data))
    except ImageError as error:
        return Read(None, str(error))


def by_page(engine, data):
    try:
        return Read(*engine.decode(data))
    except Refused as refusal:
        return Read(None, str(refusal))


def assert_same(engine, data):
    expected, found = by_package(data), by_page(engine, data)
    assert found.said == expected.said
    assert (found.pixels is None) == (expected.pixels is None)
    if expected.pixels is not None:
        assert found.pixels.shape == expected.pixels.shape
        assert np.array_equal(found.pixels, expected.pixels)


FILES = dict(files())


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_the_package_reads_it(engine, name):
    assert_same(engine, FILES[name])


# === Refusals ===


def cut(data, share):
    return data[: int(len(data) * share)]


def flipped(data, share=0.5):
    place = int(len(data) * share)
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


JPEG = encode(COLOURS, "JPEG")
PROGRESSIVE = encode(COLOURS, "JPEG", progressive=True)
REFUSED = {
    "nothing": b"",
    "text": b"hello " * 30,
    "a web page": b"<!doctype html><title>x</title>",
    "PDF": b"%PDF-1.4" + b" " * 100,
    "ZIP": b"PK\3\4" + bytes(1000),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(100),
    "JPEG 2000": b"\0\0\0\x0cjP  " + bytes(100),
    "too small": encode(GREY.crop((0, 0, 10, 30))),
    "too large": png_file((20_000, 20_000, 8, 0), b""),
    "PNG, cut": cut(FILES["PNG L"], 0.5),
    "PNG, damaged": flipped(FILES["PNG L"]),
    "too dark": deep_png(DEEP, 2),
    **{f"JPEG, cut at {share}": cut(JPEG, share) for share in (0.3, 0.6, 0.95)},
    **{f"JPEG, ended at {share}": cut(JPEG, share) + b"\xff\xd9" for share in (0.6, 0.95)},
    "progressive, cut": cut(PROGRESSIVE, 0.6),
    "progressive, ended": cut(PROGRESSIVE, 0.6) + b"\xff\xd9",
    "JPEG, many segments": JPEG[:2] + b"\xff\xfe\0\2" * 2000 + JPEG[2:],
    "JPEG, zeros": cut(JPEG, 0.5) + bytes(300) + JPEG[-400:],
    "TIFF, cut": cut(FILES["TIFF L"], 0.5),
    "TIFF deflate, damaged": flipped(FILES["TIFF tiff_adobe_deflate L"], 0.3),
    "DICOM, cut": cut(FILES["DICOM of two frames"], 0.7),
    "DICOM, cut early": cut(FILES["DICOM of two frames"], 0.1),
    "DICOM without pixels": make_dicom(RAMP, PixelData=b""),
    "DICOM report": make_dicom(RAMP, PixelData=b"", Modality="SR"),
    "DICOM without size": make_dicom(RAMP, Rows=0),
    "DICOM, JPEG of another size": FILES["DICOM, JPEG"].replace(
        struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, SHAPE[0]),
        struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, SHAPE[0] + 1),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_as_the_package_refuses_it(engine, name):
    assert by_package(REFUSED[name]).pixels is None
    assert_same(engine, REFUSED[name])


def test_a_large_file_is_refused_before_it_is_looked_at(engine):
    with pytest.raises(Refused, match="the file has more than 50 MB"):
        engine.decode(zeros=limits.MAX_BYTES + 1)


@pytest.mark.parametrize("form", ["GIF", "BMP"])
def test_what_the_page_does_not_read_has_a_sentence(engine, form):
    with pytest.raises(Refused, match="this page cannot read; save it as PNG or JPEG"):
        engine.decode(encode(GREY, form))


def bombs():
    """Files of less than 4 MB that unpack to 250 MB or more."""
    black = bytes(300 * 2**20)
    yield "PNG", lambda: png_file((64, 64, 8, 0), black)
    large = Image.new("L", (16_384, 16_384))
    yield "TIFF, a JPEG of another size", lambda: tiff_of(encode(large, "JPEG"), 7)
    yield "DICOM", lambda: make_dicom(RAMP, DeflatedExplicitVRLittleEndian, PixelData=black)


@pytest.mark.parametrize("make", [make for _, make in bombs()], ids=[name for name, _ in bombs()])
def test_a_bomb_is_not_unpacked(engine, make):
    bomb = make()
    assert len(bomb) < 4e6
    assert growth_mb(engine.page, lambda: assert_same(engine, bomb)) < 200
