"""What is made to be slow, or is visibly damaged, is refused before it is decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from aihealth import structure
from aihealth.images import ImageError, decode
from tests.helpers.image_files import (
    GRAIN,
    RAMP,
    encode,
    make_dicom,
    png_chunk,
    png_file,
    shipped,
)

FILM = Image.fromarray(np.asarray(Image.fromarray(GRAIN).resize((320, 240))))


def refused(data, sentence):
    with pytest.raises(ImageError, match=sentence):
        decode(data)


# === Made to be slow ===


def test_png_of_very_many_chunks():
    data = encode(FILM)
    assert decode(data[:33] + png_chunk(b"prVt") * 100 + data[33:]).shape == (240, 320)
    refused(data[:33] + png_chunk(b"prVt") * 1000 + data[33:], "too many chunks")
    refused(data[:33] + png_chunk(b"IDAT") * 50_000 + data[33:], "too many chunks")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (b"\xff\xfe\0\2" * 5000, "too many segments"),
        (b"\xff" * 5000, "fill bytes"),
        ((b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527)) * 200, "too many segments"),
    ],
)
def test_jpeg_of_very_many_segments(extra, sentence):
    data = encode(FILM, "JPEG")
    refused(data[:2] + extra + data[2:], sentence)


def test_jpeg_of_very_many_scans():
    data = encode(FILM, "JPEG", progressive=True)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 63, 0)
    refused(data[:-2] + scan * 200 + data[-2:], "too many scans")


@pytest.mark.parametrize(
    "extra", [b"!\xfe" + (b"\xff" + b"a" * 255) * 1000 + b"\0", b"!\xfe\1a\0" * 20_000]
)
def test_gif_of_very_long_comments(extra):
    data = encode(FILM.convert("P"), "GIF")
    start = 13 + 3 * (2 << (data[10] & 7))
    assert decode(data[:start] + b"!\xfe\5hello\0" + data[start:]).shape == (240, 320)
    refused(data[:start] + extra + data[start:], "too many comments")


def elements(count):
    """Empty explicit-VR elements, each of another tag."""
    return b"".join(
        struct.pack("<HH2sH", 0x19 + 2 * (n // 0xE000), 0x1001 + n % 0xE000, b"DS", 0)
        for n in range(count)
    )


def with_elements(data, extra):
    place = data.index(struct.pack("<HH", 0x28, 2))
    return data[:place] + extra + data[place:]


def test_dicom_of_very_many_elements():
    data = make_dicom(RAMP)
    assert decode(with_elements(data, elements(1000))).shape == RAMP.shape
    refused(with_elements(data, elements(30_000)), "more than 20000 elements")


def test_dicom_of_very_many_elements_in_a_sequence():
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + elements(30_000)
    sequence = struct.pack("<HH2sHI", 0x0019, 0x1001, b"SQ", 0, 0xFFFFFFFF) + item
    refused(with_elements(make_dicom(RAMP), sequence), "more than 20000 elements")


@pytest.mark.parametrize("name", ["MR_small", "MR_small_jp2klossless"])
def test_dicom_of_very_many_elements_behind_its_pixels(name):
    data = shipped(name)
    late = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 0)
    assert decode(data + late).size
    refused(data + late * 30_000, "more than 20000 elements")


def test_deflated_dicom_of_very_many_elements():
    data = make_dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    _, start = structure._transfer_syntax(data)
    body = with_elements(zlib.decompress(data[start:], -15), elements(30_000))
    packer = zlib.compressobj(wbits=-15)
    refused(data[:start] + packer.compress(body) + packer.flush(), "more than 20000 elements")


def test_dicom_of_very_many_values_in_an_element():
    import pydicom

    film = pydicom.dcmread(io.BytesIO(make_dicom(RAMP)))
    film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"  # implicit VR has long lengths
    file = io.BytesIO()
    film.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=True)
    data, values = file.getvalue(), b"1\\" * 400_000
    place = data.index(struct.pack("<HH", 0x28, 0x100))
    extra = struct.pack("<HHI", 0x28, 0x1050, len(values)) + values
    refused(data[:place] + extra + data[place:], "too long")


def test_runs_that_do_nothing():
    head = struct.pack("<16I", 1, 64, *[0] * 14)
    from pydicom.encaps import encapsulate

    film = make_dicom(RAMP, RLELossless, PixelData=encapsulate([head + b"\x80" * 200_000]))
    refused(film, "damaged")


def tiff(entries, data):
    fields = sorted(entries.items())
    file = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(fields))
    file += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return file + struct.pack("<I", 0)


def test_tiff_with_tiles_larger_than_the_image():
    data = zlib.compress(bytes(2**20))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32000, 323: 32000, 324: 8}
    refused(tiff(tags | {325: len(data)}, data), "tiles")


@pytest.mark.parametrize(("bits", "kind"), [(32, 3), (32, 2), (16, 1)])
def test_deep_tiff_of_64_million_pixels(bits, kind):
    tags = {256: 8000, 257: 8000, 258: bits, 259: 8, 262: 1, 273: 8, 277: 1, 278: 8000, 279: 1000}
    refused(tiff(tags | {339: kind}, bytes(1000)), "too much memory")


def test_sixteen_bits_of_64_million_pixels_are_read_in_little_memory():
    data = png_file((8000, 8000, 16, 0), bytes(8000 * 16001))
    assert not structure.decodes_here(data)
    assert decode(data).shape == (8000, 8000)


# === Damaged, though it can be decoded ===


@pytest.mark.parametrize("part", [0.3, 0.6, 0.8, 0.95])
@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_cut_and_closed_again(part, options, mode):
    data = encode(FILM.convert(mode), "JPEG", quality=85, **options)
    assert decode(data).shape == (240, 320)
    refused(data[: int(len(data) * part)] + b"\xff\xd9", "cut short|damaged")


@pytest.mark.parametrize("restart", [1, 4])
def test_a_jpeg_with_restarts_cut_and_closed_again(restart):
    data = encode(FILM, "JPEG", restart_marker_blocks=restart)
    assert decode(data).shape == (240, 320)
    refused(data[: len(data) * 2 // 3] + b"\xff\xd9", "cut short")


@pytest.mark.parametrize("grey", [0, 127, 128, 255])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_a_jpeg_that_ends_in_even_grey_is_whole(grey, options):
    film = np.array(FILM)
    film[100:] = grey
    for mode in ("L", "RGB"):
        data = encode(Image.fromarray(film).convert(mode), "JPEG", **options)
        assert decode(data).shape == film.shape
        assert decode(data + b"behind the end").shape == film.shape


@pytest.mark.parametrize("shape", [(600, 600), (64, 4000)])
def test_a_jpeg_that_is_all_black_is_whole(shape):
    for options in ({}, {"optimize": True}, {"progressive": True}):
        assert decode(encode(Image.fromarray(np.zeros(shape, np.uint8)), "JPEG", **options)).size


@pytest.mark.parametrize(("start", "stop"), [(0.3, 0.5), (0.5, 1.0), (0.8, 0.9)])
def test_a_jpeg_with_zeros_in_its_coded_data(start, stop):
    data = bytearray(encode(FILM, "JPEG", quality=85))
    start, stop = int(len(data) * start), int(len(data) * stop) - 2
    data[start:stop] = bytes(stop - start)
    refused(bytes(data), "zeros|cut short")


def test_a_png_with_a_wrong_checksum():
    data = bytearray(encode(FILM))
    place = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, place - 4)
    data[place + 4 + length] ^= 1
    refused(bytes(data), "checksum")


def test_a_png_with_a_wrong_checksum_of_its_text_is_still_good():
    text = bytearray(png_chunk(b"tEXt", b"Comment\0hello"))
    text[-1] ^= 1
    data = encode(FILM)
    assert decode(data[:-12] + bytes(text) + data[-12:]).shape == (240, 320)


def test_a_tiff_with_strips_too_short():
    pixels = np.asarray(FILM).tobytes()
    tags = {256: 320, 257: 240, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 240}
    assert decode(tiff(tags | {279: len(pixels)}, pixels)).shape == (240, 320)
    refused(tiff(tags | {279: len(pixels) // 2}, pixels), "strips")
    refused(tiff(tags | {279: len(pixels)}, pixels[: len(pixels) // 2]), "damaged|cut short")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_tiff_cut_short(compression):
    data = bytearray(encode(FILM, "TIFF", compression=compression))
    picture = Image.open(io.BytesIO(data))
    start, count = picture.tag_v2[273][0], picture.tag_v2[279][0]
    data[start + count // 2 : start + count] = bytes(count - count // 2)
    refused(bytes(data), "damaged|cut short")


def test_a_jpeg_whose_frame_comes_after_its_scan_has_a_sentence():
    data = bytes.fromhex("ffd8 ffda 0008 01 01 00 00 3f 00") + bytes(400) + b"\xff\xd9"
    with pytest.raises(ImageError):
        decode(data)


def test_what_a_file_is_quoted_with_cannot_reach_a_terminal():
    assert str(ImageError("compressed as 1.2\x89\x1b[2J")).isprintable()
