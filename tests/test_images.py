"""Reading images: every kind that is promised, and every way that a file can be broken."""

import io
import os
import struct

import numpy as np
import pytest
from PIL import Image

from aihealth import images
from aihealth.images import ImageError, decode, decode_with_warning, mirror_correlation, prepare
from aihealth.levels import stretch
from tests.helpers.image_files import (
    GRAIN,
    RAMP,
    brightens_to_the_right,
    deep_png,
    deep_tiff,
    encode,
    make_dicom,
    png_file,
    shipped,
)

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


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_a_photograph_in_colour_is_said_and_letters_in_colour_are_not(form):
    grey = np.repeat(RAMP[..., None], 3, axis=2)
    tinted = np.uint8(grey * [0.8, 0.9, 1.0])
    lettered = grey.copy()
    lettered[: len(RAMP) // 4] = (255, 255, 0)
    told = [decode_with_warning(encode(Image.fromarray(x), form))[1] for x in (grey, lettered)]
    assert told == [None, None]
    found = decode_with_warning(encode(Image.fromarray(tinted), form))[1]
    assert found == (None if form == "PNG" else images.IN_COLOUR)  # what cameras write


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


@pytest.mark.parametrize(
    ("deep", "kind"), [(deep_png, 2), (deep_png, 4), (deep_png, 6), (deep_tiff, 3)]
)
def test_colours_of_sixteen_bits_are_stretched_where_the_upper_eight_suffice(deep, kind):
    values = RAMP.astype(np.uint16) * 256
    assert np.array_equal(decode(deep(values, kind)), stretch(RAMP))
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
        (png_header(16, 4_000_000), "pixels a side"),  # looked at for plain margins for 12 s
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
