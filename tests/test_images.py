"""Reading images: every kind that is promised, and every way that a file can be broken."""

import importlib.util
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from aihealth import images
from aihealth.dicom import decode_dicom, is_lateral
from aihealth.images import ImageError, decode, decode_with_warning, mirror_correlation, prepare

RAMP = np.tile(np.arange(0, 192, 3, dtype=np.uint8), (48, 1))  # 48 x 64, dark left, bright right
GRAIN = np.random.default_rng(0).integers(0, 256, (48, 64)).astype(np.uint8)
DICOM_FILES = Path(pydicom.data.__file__).parent / "test_files"


def encode(picture, form="PNG", **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def shipped(name):
    """A file that comes with pydicom itself, so that no network is needed."""
    return (DICOM_FILES / f"{name}.dcm").read_bytes()


def make_dicom(pixels, syntax=ExplicitVRLittleEndian, **tags):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    film.Rows, film.Columns = pixels.shape[-2:]
    film.SamplesPerPixel = 1
    film.PhotometricInterpretation = "MONOCHROME2"
    film.BitsAllocated = film.BitsStored = pixels.dtype.itemsize * 8
    film.HighBit = film.BitsStored - 1
    film.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        film.NumberOfFrames = len(pixels)
    film.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(film, name, value)
    file = io.BytesIO()
    film.save_as(file, enforce_file_format=True)
    return file.getvalue()


def brightens_to_the_right(pixels):
    return float(pixels[:, -8:].mean()) > float(pixels[:, :8].mean())


def png_file(header, rows):
    """A PNG of width, height, bits and kind of colour, and filtered rows; by hand, of any kind."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + size + pixels + chunk(b"IEND", b"")


# === Pictures ===


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_grey_picture_keeps_its_grey_levels(form):
    assert np.array_equal(decode(encode(Image.fromarray(RAMP), form)), RAMP)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_lossy_picture_is_almost_the_same(form):
    found = decode(encode(Image.fromarray(RAMP).convert("RGB"), form, quality=95))
    assert np.abs(found.astype(int) - RAMP).max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_grey_stays_grey_in_colour_modes(mode):
    form = "TIFF" if mode == "CMYK" else "PNG"
    found = decode(encode(Image.fromarray(RAMP).convert(mode), form))
    assert np.abs(found.astype(int) - RAMP).max() <= 1


def test_alpha_is_dropped_not_blended():
    rgba = np.dstack([RAMP, RAMP, RAMP, np.zeros_like(RAMP)])
    assert np.array_equal(decode(encode(Image.fromarray(rgba))), RAMP)


def test_colours_are_weighted_as_luma():
    green = np.zeros((32, 32, 3), np.uint8)
    green[..., 1] = 200
    assert abs(int(decode(green)[0, 0]) - 0.587 * 200) <= 1


@pytest.mark.parametrize("low", [0, 1000])
def test_sixteen_bits_are_stretched(low):
    deep = (RAMP.astype(np.uint16) * 64) + low
    found = decode(encode(Image.fromarray(deep)))
    assert (found.min(), found.max()) == (0, 255)
    assert brightens_to_the_right(found)


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP", "MPO"])
def test_of_several_pictures_the_first_is_taken_and_the_reader_told(form):
    first, second = (Image.fromarray(pixels).convert("RGB") for pixels in (RAMP, RAMP[:, ::-1]))
    alone = encode(first, "JPEG" if form == "MPO" else form)
    both = encode(first, form, save_all=True, append_images=[second])
    assert brightens_to_the_right(decode(both))
    told = None if form == "MPO" else images.SEVERAL_FRAMES  # what cameras write: previews
    assert decode_with_warning(both)[1] == told
    assert decode_with_warning(alone)[1] is None


@pytest.mark.timeout(10)
def test_pages_without_number_cost_no_time():
    file = io.BytesIO()
    Image.fromarray(RAMP).save(file, "TIFF", compression="tiff_lzw")
    data = bytearray(file.getvalue())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    page, end = data[start : start + 2 + 12 * count], start + 2 + 12 * count
    data[end : end + 4] = struct.pack("<I", len(data))
    for _ in range(100_000):
        data += page + struct.pack("<I", len(data) + len(page) + 4)
    pixels, warning = decode_with_warning(bytes(data))
    assert np.array_equal(pixels, RAMP) and warning == images.SEVERAL_FRAMES


@pytest.mark.parametrize("orientation", [None, 3])  # 3: turned by half
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_whose_lowest_value_is_white_is_no_negative(dtype, orientation):
    white_is_zero = {262: 0} | ({274: orientation} if orientation else {})
    # Pillow turns 8 bits when it writes them; the other films are given as they are to be stored.
    stored = RAMP if dtype == np.uint8 else (RAMP.max() - RAMP).astype(dtype)
    found = decode(encode(Image.fromarray(stored), "TIFF", tiffinfo=white_is_zero))
    assert brightens_to_the_right(found) == (orientation is None)


def deep_png(values, kind):
    """16 bits a sample, which Pillow reads but does not write; kinds as in PNG, table 11.1."""
    height, width = values.shape
    pixels = np.repeat(values[..., None], {2: 3, 4: 2, 6: 4}[kind], axis=2).astype(">u2")
    return png_file((width, height, 16, kind), b"".join(b"\0" + row.tobytes() for row in pixels))


def deep_tiff(values, kind=3):
    """An uncompressed TIFF of three samples of 16 bits."""
    height, width = values.shape
    pixels = np.repeat(values[..., None], kind, axis=2).astype("<u2").tobytes()
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: 14, 277: 3, 278: height}
    tags[279] = len(pixels)
    fields = b"".join(
        struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
        for tag, value in tags.items()
    )
    start = struct.pack("<2sHI3H", b"II", 42, 14 + len(pixels), 16, 16, 16)
    return start + pixels + struct.pack("<H", len(tags)) + fields + struct.pack("<I", 0)


@pytest.mark.parametrize(
    ("deep", "kind"), [(deep_png, 2), (deep_png, 4), (deep_png, 6), (deep_tiff, 3)]
)
def test_colours_of_sixteen_bits_are_stretched_where_the_upper_eight_suffice(deep, kind):
    values = RAMP.astype(np.uint16) * 256
    assert np.array_equal(decode(deep(values, kind)), images.stretch(RAMP))
    with pytest.raises(ImageError, match="save it in grey or with 8 bits"):
        decode(deep(values // 16, kind))  # 12 bits: Pillow would leave 12 levels


def test_exif_orientation_turns_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    found = decode(encode(Image.fromarray(RAMP), exif=exif.tobytes()))
    assert np.array_equal(found, np.rot90(RAMP, -1))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture(form):
    data = encode(Image.fromarray(RAMP).convert("RGB"), form, exif=b"Exif\0\0garbage")
    assert decode(data).shape == RAMP.shape


def test_paths_bytes_pictures_and_arrays_give_the_same(tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(RAMP).save(path)
    for image in (path, str(path), path.read_bytes(), Image.fromarray(RAMP), RAMP):
        assert np.array_equal(decode(image), RAMP)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays_of_any_number_type_and_channels(dtype, channels):
    array = RAMP if channels is None else np.repeat(RAMP[..., None], channels, axis=2)
    assert np.array_equal(decode(array.astype(dtype)), RAMP)


@pytest.mark.parametrize(
    "array",
    [
        np.full((32, 32), np.nan),
        np.full((32, 32), np.inf),
        np.full((32, 32), 256),
        np.full((32, 32), -1),
        np.full((32, 32), 1j),
        np.full((32, 32), None),
        np.full((32, 32), "a"),
        np.zeros((32, 32, 2)),
        np.zeros((2, 32, 32, 3)),
        np.zeros(32),
        np.zeros((0, 32)),
        np.zeros((15, 400)),
    ],
)
def test_arrays_that_are_no_image_are_refused(array):
    with pytest.raises(ImageError):
        decode(array)


def test_prepare_is_square_and_leaves_the_right_size_alone():
    assert prepare(RAMP, 32).shape == (32, 32)
    square = RAMP[:, :48]
    assert np.array_equal(prepare(square, 48), square)


def test_shrinking_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (512, 256))
    shrunk = prepare(stripes, 64)
    assert np.abs(shrunk.astype(int) - 127).max() < 20


def test_mirrored_halves_are_told_from_others():
    half = np.random.default_rng(0).integers(0, 255, (64, 32)).astype(np.uint8)
    assert mirror_correlation(np.hstack([half, half[:, ::-1]])) > 0.99
    assert mirror_correlation(RAMP) < 0
    assert mirror_correlation(np.full((32, 32), 7, np.uint8)) == 1


# === Broken files ===


def png_header(width, height):
    """A PNG that announces a size and holds next to nothing."""
    return png_file((width, height, 8, 0), b"\0" * 1000)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"just some text, whatever the name says", "not an image"),
        (encode(Image.fromarray(GRAIN))[:-200], "damaged or cut short"),
        (encode(Image.fromarray(GRAIN), "JPEG")[:900], "damaged or cut short"),
        (encode(Image.fromarray(RAMP))[:20], "not an image|damaged"),
        (encode(Image.fromarray(RAMP[:10])), "at least 16"),
        (png_header(9_000, 9_000), "million pixels"),  # Pillow alone would only warn
        (png_header(60_000, 60_000), "million pixels"),
    ],
)
def test_broken_files_are_refused_with_a_sentence(data, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(data)


def test_pictures_with_values_that_are_not_numbers_are_refused():
    film = Image.fromarray(np.full((32, 32), np.nan, np.float32))
    with pytest.raises(ImageError, match="not numbers"):
        decode(encode(film, "TIFF"))


def test_files_above_the_limit_are_not_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # sparse: takes no space
    with pytest.raises(ImageError, match="the limit is 50 MB"):
        decode(path)
    with pytest.raises(ImageError, match="more than 50 MB"):
        decode(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing.png", "no such file"),
        ("", "this is a folder"),
        ("film.png/below", "cannot be read"),
        ("x" * 300, "cannot be read"),
        ("null\0byte", "not the name of a file"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(tmp_path, name, sentence):
    (tmp_path / "film.png").write_bytes(encode(Image.fromarray(RAMP)))
    with pytest.raises(ImageError, match=sentence):
        decode(os.path.join(tmp_path, name))


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_gives_anything_but_an_image_or_a_sentence():
    rng = np.random.default_rng(0)
    seeds = [encode(Image.fromarray(GRAIN), form) for form in ("PNG", "JPEG", "BMP", "GIF")]
    seeds += [shipped("MR_small"), shipped("MR_small_RLE"), make_dicom(RAMP, WindowWidth=9)]
    outcomes = {"image": 0, "sentence": 0}
    for _ in range(600):
        data = bytearray(seeds[rng.integers(len(seeds))])
        for place in rng.integers(0, min(len(data), 1500), rng.integers(1, 8)):
            data[place] = rng.integers(256)
        if rng.random() < 0.2:
            del data[rng.integers(len(data)) :]
        try:
            found = decode(bytes(data))
        except ImageError:
            outcomes["sentence"] += 1
        else:
            assert found.dtype == np.uint8
            assert found.ndim == 2
            outcomes["image"] += 1
    assert min(outcomes.values()) > 50


# === DICOM ===


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("CT_small", (128, 128)),  # 16 bits, signed
        ("MR_small_bigendian", (64, 64)),
        ("MR_small_RLE", (64, 64)),
        ("JPEG2000", (1024, 256)),
        ("MR_small_jpeg_ls_lossless", (64, 64)),
        ("SC_rgb_jpeg_gdcm", (100, 100)),  # lossless JPEG
        ("SC_rgb_rle_16bit", (100, 100)),
        ("examples_palette", (350, 800)),
        ("image_dfl", (512, 512)),  # deflated
    ],
)
def test_transfer_syntaxes(name, shape):
    film = decode_dicom(shipped(name))
    assert film.pixels.shape == shape
    assert (film.pixels.min(), film.pixels.max()) == (0, 255)


def test_lossy_jpeg_of_12_bits_needs_a_plugin_of_another_licence():
    """Only pylibjpeg-libjpeg (GPL) decodes it: used where it is installed, not required."""
    if importlib.util.find_spec("libjpeg"):
        assert decode_dicom(shipped("JPGExtended")).pixels.shape == (1024, 256)
    else:
        with pytest.raises(ImageError, match="compressed in a way that cannot be read here"):
            decode_dicom(shipped("JPGExtended"))


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_bigendian", "MR_small_jp2klossless"])
def test_lossless_encodings_of_one_film_give_the_same_pixels(name):
    assert np.array_equal(decode(shipped(name)), decode(shipped("MR_small")))


def test_monochrome1_is_inverted():
    white_is_high = decode(make_dicom(RAMP))
    white_is_low = decode(make_dicom(RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert brightens_to_the_right(white_is_high)
    assert np.abs((255 - white_is_low.astype(int)) - white_is_high).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_depth_and_rescaling_make_no_difference_to_a_film_without_window(dtype):
    plain = decode(make_dicom(RAMP))
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    assert np.array_equal(decode(make_dicom(RAMP.astype(dtype), **tags)), plain)


def test_a_negative_slope_turns_black_and_white():
    film = decode(make_dicom(RAMP.astype(np.int16), RescaleSlope=-1, RescaleIntercept=0))
    assert not brightens_to_the_right(film)


def test_the_window_cuts_what_lies_outside():
    film = decode(make_dicom(RAMP.astype(np.uint16), WindowCenter=96, WindowWidth=33))
    assert (film[:, :24] == 0).all()  # values up to 69
    assert (film[:, 40:] == 255).all()  # values from 120


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 96, "WindowWidth": 0},
        {"WindowCenter": 96},
        {"WindowCenter": -5000, "WindowWidth": 10},  # hides everything
        {"WindowCenter": 96, "WindowWidth": 50, "VOILUTFunction": "CUBIC"},
    ],
)
def test_a_window_that_is_none_is_left_out(tags):
    assert np.array_equal(decode(make_dicom(RAMP, **tags)), decode(make_dicom(RAMP)))


def test_the_first_of_several_windows_is_used():
    first = decode(make_dicom(RAMP, WindowCenter=96, WindowWidth=33))
    both = decode(make_dicom(RAMP, WindowCenter=[96, 20], WindowWidth=[33, 5]))
    assert np.array_equal(both, first)


PADDED = np.where(np.arange(64) < 10, 65535, RAMP.astype(np.uint16))  # on the left


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 96, "WindowWidth": 97}])
@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (PADDED, {"PixelPaddingValue": 65535}),
        (PADDED, {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": None}),
        (PADDED - (RAMP < 15), {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 65534}),
        (PADDED - (RAMP < 15), {"PixelPaddingValue": 65534, "PixelPaddingRangeLimit": 65535}),
    ],
)
def test_padding_is_black_and_takes_no_part_in_the_stretch(pixels, tags, window, photometric):
    tags = {"PhotometricInterpretation": photometric, **window, **tags}
    film = decode(make_dicom(pixels, **tags))
    bare = decode(make_dicom(RAMP[:, 10:].astype(np.uint16), **{**tags, "PixelPaddingValue": None}))
    assert (film[:, :10] == 0).all()
    assert np.array_equal(film[:, 10:], bare)


@pytest.mark.parametrize("value", [None, 999, 7])
def test_a_padding_value_that_nothing_or_everything_has_changes_nothing(value):
    for pixels in (RAMP.astype(np.int16), np.full((48, 64), 7, np.int16)):
        if value != 7 or pixels[0, 0] == 7:
            film = decode(make_dicom(pixels, PixelPaddingValue=value))
            assert np.array_equal(film, decode(make_dicom(pixels)))


def test_of_several_frames_the_first_is_taken_and_the_reader_told():
    film = decode_dicom(make_dicom(np.stack([RAMP, RAMP[:, ::-1], RAMP])))
    assert film.frames == 3
    assert brightens_to_the_right(film.pixels)
    assert "3 frames" in film.warning


@pytest.mark.parametrize(
    ("views", "told"),
    [
        ("LL RL LAT LATERAL LLAT RLAT", True),
        ("PA AP LLD RLD LAO BILATERAL", False),  # a decubitus film is taken from the front
    ],
)
def test_lateral_films_are_announced(views, told):
    for view in views.split():
        film = decode_dicom(make_dicom(RAMP, ViewPosition=view))
        assert (film.warning is not None) == told, view


@pytest.mark.parametrize(
    ("view", "told"),
    [
        ("LEFT LATERAL", True),
        ("L_LAT", True),
        ("lateral", True),
        ("['LAT', 'L']", True),  # of several values
        ("LATERAL DECUB", False),
        ("LAT OBL", False),
        ("PA LATERAL", False),  # names both films of a visit
        ("", False),
    ],
)
def test_lateral_views_in_several_words(view, told):
    assert is_lateral(view) == told


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (shipped("MR_truncated"), "damaged or cut short"),
        (shipped("rtplan"), "no image in it"),
        (shipped("test-SR"), "no image in it"),
        (shipped("SC_rgb_small_odd"), "at least 16"),
        (shipped("JPEG2000-embedded-sequence-delimiter"), "damaged or cut short"),
        (shipped("CT_small")[:2000], "no image in it|damaged"),
        (make_dicom(RAMP, Rows=60_000, Columns=60_000), "64 million pixels"),
        (make_dicom(RAMP, Rows=6_000, Columns=6_000, SamplesPerPixel=3), "21 million pixels"),
        (b"\0" * 128 + b"DICM", "damaged|no image in it"),
    ],
)
def test_broken_dicom_files_are_refused_with_a_sentence(data, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(data)


def test_a_deflated_film_is_read_and_a_bomb_is_not(monkeypatch):
    film = make_dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    assert np.array_equal(decode(film), decode(make_dicom(RAMP)))
    monkeypatch.setattr("aihealth.dicom._MAX_INFLATED", 1000)
    with pytest.raises(ImageError, match="inflates"):
        decode(film)


def element(group, number, vr, value):
    """A DICOM data element in explicit VR, little endian (PS3.5 7.1.2)."""
    long = vr in (b"OB", b"UN")
    length = b"\0\0" + struct.pack("<I", len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + vr + length + value


@pytest.mark.parametrize(
    ("meta", "announced"),
    [
        (b"", 0),
        (element(2, 1, b"OB", b"\0" * 1500), 0),  # the transfer syntax lies behind it
        (b"", 10_000),  # a length of the group that leads past the end of the file
    ],
)
def test_no_file_meta_information_hides_a_deflated_bomb(monkeypatch, meta, announced):
    monkeypatch.setattr("aihealth.dicom._MAX_INFLATED", 2**20)
    monkeypatch.setattr("zlib.decompress", pytest.fail)  # how pydicom inflates: without limit
    meta += element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1.99")
    head = b"\0" * 128 + b"DICM" + element(2, 0, b"UL", struct.pack("<I", announced or len(meta)))
    pixels = element(0x7FE0, 0x10, b"OB", b"\0" * 2**21)
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = head + meta + compressor.compress(pixels) + compressor.flush()
    with pytest.raises(ImageError, match="inflates to more than"):
        decode(bomb)


CODESTREAMS = [
    ("JPEG", JPEGBaseline8Bit, {}),
    ("JPEG2000", JPEG2000Lossless, {"no_jp2": True}),
    ("JPEG2000", JPEG2000Lossless, {"no_jp2": False}),
]


@pytest.mark.parametrize(("form", "syntax", "options"), CODESTREAMS)
def test_a_codestream_of_another_size_than_the_tags_say_is_not_decoded(
    monkeypatch, form, syntax, options
):
    def film(picture, **tags):
        codestream = encapsulate([encode(picture, form, **options)])
        return make_dicom(RAMP, syntax=syntax, PixelData=codestream, **tags)

    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    colour["PhotometricInterpretation"] = "YBR_FULL_422" if form == "JPEG" else "RGB"
    flat = Image.new("L", (64, 48), 90)
    assert decode(film(flat)).shape == (48, 64)
    assert decode(film(flat.convert("RGB"), **colour)).shape == (48, 64)
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    for data in (film(flat.resize((640, 480))), film(flat.convert("RGB")), film(flat, **colour)):
        with pytest.raises(ImageError, match="damaged or cut short"):
            decode(data)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless", "SC_rgb_jpeg_gdcm"])
def test_jpeg_ls_and_lossless_jpeg_are_held_to_their_tags_too(monkeypatch, name):
    film = pydicom.dcmread(io.BytesIO(shipped(name)))
    film.Rows //= 2
    file = io.BytesIO()
    film.save_as(file)
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="damaged or cut short"):
        decode(file.getvalue())


def test_warnings_about_tags_show_no_value(tmp_path):
    data = make_dicom(RAMP, SpecificCharacterSet="ISO_IR 192").replace(b"ISO_IR 192", b"Smith^John")
    (tmp_path / "film.dcm").write_bytes(data)
    code = "import sys; from aihealth.images import decode; print(decode(sys.argv[1]).shape)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "film.dcm")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(48, 64)" in done.stdout
    assert "Smith" not in done.stdout + done.stderr
