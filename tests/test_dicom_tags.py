"""Tags as archives, viewers and scanners really write them: each read as it is meant."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, MediaStorageDirectoryStorage

from aihealth.dicom import INVERSE, decode_dicom
from aihealth.dicom_window import HIDING
from aihealth.errors import ImageError, NoImage
from aihealth.images import decode
from aihealth.signatures import is_dicom
from tests.helpers.image_files import RAMP, encode, make_dicom, shipped

DEEP = RAMP.astype(np.uint16) * 20 + 200  # 12 bits
PLAIN = decode(make_dicom(DEEP))


def without(data, *names):
    film = pydicom.dcmread(io.BytesIO(data))
    for name in names:
        del film[name]
    file = io.BytesIO()
    film.save_as(file)
    return file.getvalue()


# === Rescaling and windows ===


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": 2},
        {"RescaleIntercept": -1024},
        {"WindowCenter": [None, None], "WindowWidth": [0, 0]},
    ],
)
def test_rescaling_and_windows_that_say_nothing_count_as_absent(tags):
    assert np.array_equal(decode(make_dicom(DEEP, **tags)), PLAIN)


def test_a_bad_table_does_not_discard_the_window():
    good = decode(make_dicom(DEEP, WindowCenter=2000, WindowWidth=1000))
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [0, 0, 16], b""
    data = make_dicom(DEEP, WindowCenter=2000, WindowWidth=1000, VOILUTSequence=[item])
    assert np.array_equal(decode(data), good)


def test_a_window_that_hides_nearly_all_is_left_out_and_the_reader_told():
    film = decode_dicom(make_dicom(DEEP, WindowCenter=128, WindowWidth=256))
    assert np.array_equal(film.pixels, PLAIN)
    assert film.warning == HIDING


# === What the pixels are ===


def test_colour_without_samples_or_planar_configuration():
    colour = np.repeat(RAMP[..., None], 3, axis=2)
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
    data = make_dicom(RAMP, **tags, PixelData=colour.tobytes())
    bare = without(data, "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation")
    assert np.array_equal(decode(bare), decode(data))


@pytest.mark.parametrize("rows", [0, None])
def test_an_image_without_size_names_the_tag(rows):
    with pytest.raises(ImageError, match="Rows"):
        decode(make_dicom(DEEP, Rows=rows))


def test_a_shape_that_contradicts_is_applied_and_said():
    film = decode_dicom(make_dicom(DEEP, PresentationLUTShape="INVERSE"))
    assert np.array_equal(film.pixels, 255 - PLAIN)
    assert film.warning == INVERSE


@pytest.mark.parametrize(
    ("code", "meaning", "told"),
    [
        ("399067008", "lateral", True),
        ("399173006", "left lateral", True),
        ("R-10232", "", True),
        ("1", "Lateral", True),
        ("399348003", "antero-posterior", False),
        ("R-10214", "postero-anterior", False),
    ],
)
def test_a_lateral_view_by_its_code(code, meaning, told):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", meaning
    assert decode_dicom(make_dicom(DEEP, ViewCodeSequence=[item])).lateral == told


# === Headers ===


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_without_preamble_or_header(syntax):
    data = make_dicom(DEEP, syntax, Modality="DX", Manufacturer="Nobody")
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    for file in (data[128:], data[132:], data[start:]):
        assert is_dicom(file)
        assert np.array_equal(decode(file), PLAIN)


@pytest.mark.parametrize("implicit", [False, True])
def test_without_transfer_syntax(implicit):
    syntax = ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
    data = make_dicom(DEEP, syntax)
    element = b"\2\0\x10\0UI"
    place = data.index(element)
    length = 8 + int.from_bytes(data[place + 6 : place + 8], "little")
    cut = data[:place] + data[place + length :]
    group = int.from_bytes(cut[140:144], "little") - length
    cut = cut[:140] + group.to_bytes(4, "little") + cut[144:]
    assert np.array_equal(decode(cut), PLAIN)


@pytest.mark.parametrize("data", [b"\x08\0" * 100, b"\0" * 200, b"hello " * 50, RAMP.tobytes()])
def test_other_bytes_are_no_dicom(data):
    assert not is_dicom(data)


# === Cut files, and files without an image ===


def compressed():
    from PIL import Image

    frame = encode(Image.fromarray(RAMP), "JPEG2000", irreversible=False, no_jp2=True)
    return make_dicom(RAMP, JPEG2000Lossless, PixelData=encapsulate([frame]))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("make", [lambda: make_dicom(DEEP), compressed])
def test_a_file_of_which_a_part_arrived_is_called_cut_short(make, share):
    data = make()
    start = data.index(b"\xe0\x7f\x10\0") + 12
    with pytest.raises(ImageError, match="cut short"):
        decode(data[: start + int((len(data) - start - 12) * share)])


@pytest.mark.parametrize("name", ["test-SR", "rtplan", "reportsi", "waveform_ecg"])
def test_files_that_hold_no_image_by_nature(name):
    with pytest.raises(NoImage):
        decode(shipped(name))


def test_a_directory_holds_no_image():
    film = pydicom.dcmread(io.BytesIO(make_dicom(RAMP)))
    del film.PixelData, film.Rows, film.Columns
    film.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    film.DirectoryRecordSequence = []
    file = io.BytesIO()
    film.save_as(file)
    with pytest.raises(NoImage):
        decode(file.getvalue())


def test_pixels_in_another_encoding_than_the_tags_before_them_are_read():
    whole = make_dicom(RAMP, syntax=ImplicitVRLittleEndian)
    head, pixels = whole.rsplit(b"\xe0\x7f\x10\x00", 1)
    length, values = pixels[:4], pixels[4:]
    changed = head + b"\xe0\x7f\x10\x00OW\0\0" + length + values
    np.testing.assert_array_equal(decode(changed), decode(whole))
