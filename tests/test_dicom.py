"""Reading DICOM: every encoding that is promised, and what a damaged or hostile file may cost."""

import io
import struct
import sys
import zlib

import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from aihealth.dicom import decode_dicom, is_lateral
from aihealth.images import ImageError, decode, decode_here
from aihealth.levels import stretch
from tests.helpers.image_files import (
    RAMP,
    brightens_to_the_right,
    element,
    encode,
    make_dicom,
    shipped,
)
from tests.helpers.programs import run


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


@pytest.mark.parametrize("name", ["JPGExtended", "JPEG-lossy"])
def test_lossy_jpeg_of_12_bits_is_read_by_gdcm(monkeypatch, name):
    assert decode_dicom(shipped(name)).pixels.shape == (1024, 256)
    monkeypatch.setitem(sys.modules, "gdcm", None)
    with pytest.raises(ImageError, match=r"JPEG Extended.*pip install python-gdcm"):
        decode_dicom(shipped(name))


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
        (shipped("MR_truncated"), "cut short"),
        (shipped("SC_rgb_small_odd"), "at least 16"),
        (shipped("JPEG2000-embedded-sequence-delimiter"), "another size"),
        (shipped("CT_small")[:2000], "cut short"),
        (make_dicom(RAMP, Rows=60_000, Columns=60_000), "64 million pixels"),
        (make_dicom(RAMP, Rows=6_000, Columns=6_000, SamplesPerPixel=3), "21 million pixels"),
        (b"\0" * 128 + b"DICM", "cut short"),
    ],
)
def test_broken_dicom_files_are_refused_with_a_sentence(data, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(data)


def test_a_deflated_film_is_read_and_a_bomb_is_not(monkeypatch):
    film = make_dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    assert np.array_equal(decode(film), decode(make_dicom(RAMP)))
    monkeypatch.setattr("aihealth.limits.MAX_INFLATED", 1000)
    with pytest.raises(ImageError, match="inflates"):
        decode(film)


@pytest.mark.parametrize(
    ("meta", "announced"),
    [
        (b"", 0),
        (element(2, 1, b"OB", b"\0" * 1500), 0),  # the transfer syntax lies behind it
        (b"", 10_000),  # a length of the group that leads past the end of the file
    ],
)
def test_no_file_meta_information_hides_a_deflated_bomb(monkeypatch, meta, announced):
    monkeypatch.setattr("aihealth.limits.MAX_INFLATED", 2**20)
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
        with pytest.raises(ImageError, match="another size"):
            decode_here(data)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless", "SC_rgb_jpeg_gdcm"])
def test_jpeg_ls_and_lossless_jpeg_are_held_to_their_tags_too(monkeypatch, name):
    film = pydicom.dcmread(io.BytesIO(shipped(name)))
    film.Rows //= 2
    file = io.BytesIO()
    film.save_as(file)
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="another size"):
        decode_here(file.getvalue())


def rle_frame(*segments):
    """An RLE frame of these segments (PS3.5 annex G)."""
    offsets = [64 + sum(map(len, segments[:place])) for place in range(len(segments))]
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def test_runs_that_give_more_than_the_tags_say_are_not_decoded(monkeypatch):
    def film(*segments):
        return make_dicom(
            RAMP.astype(np.uint16),
            syntax=RLELossless,
            PixelData=encapsulate([rle_frame(*segments)]),
        )

    rows = b"".join(b"\x3f" + row.tobytes() for row in RAMP)  # 64 bytes as they are
    black = b"\x81\0" * (RAMP.size // 128)  # 128 times the next byte
    padded = rows + b"\x80\x80" + b"\0" * 2
    for low in (rows, padded):
        assert np.array_equal(decode(film(black, low)), stretch(RAMP))
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    for segments in ((black, b"\x81\0" * 100_000), (b"\x81\0" * 100_000, rows)):
        with pytest.raises(ImageError, match="another size"):
            decode_here(film(*segments))


def test_warnings_about_tags_show_no_value(tmp_path):
    data = make_dicom(RAMP, SpecificCharacterSet="ISO_IR 192").replace(b"ISO_IR 192", b"Smith^John")
    (tmp_path / "film.dcm").write_bytes(data)
    code = "import sys; from aihealth.images import decode; print(decode(sys.argv[1]).shape)"
    done = run("-c", code, tmp_path / "film.dcm")
    assert "(48, 64)" in done.stdout
    assert "Smith" not in done.stdout + done.stderr
