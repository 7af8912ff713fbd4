"""Pixels travel, tags do not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth.images import decode
from data_prep.clean import clean_bytes
from tests.data_prep.files import picture, rows_by_name, save
from tests.helpers.image_files import make_dicom


def test_plain_files_are_copied_byte_for_byte(command, source, out):
    save(picture(50), source / "Normal" / "plain.jpg", quality=90)
    command("prepare", f"a={source}", "--out", out)
    rows = rows_by_name(out)
    for name in ("Normal/plain.jpg", "Covid/COVID_3.png"):
        copied = out / rows[f"a_{Path(name).stem}"].file
        assert copied.read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_and_comments_stay_behind_and_pixels_do_not_change(command, source, out, orientation):
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Jane Doe", orientation
    text = PngInfo()
    text.add_text("Author", "Jane Doe")
    text.add_itxt("Note", "Jane Doe")
    folder = source / "Normal"
    save(picture(60)[:40], folder / "tags.jpg", exif=exif, comment=b"Jane Doe", quality=80)
    save(picture(61)[:40], folder / "text.png", exif=exif, pnginfo=text)
    before = {path.stem: decode(path) for path in (folder / "tags.jpg", folder / "text.png")}
    assert b"Jane Doe" in (folder / "tags.jpg").read_bytes()
    command("prepare", f"a={source}", "--out", out)
    rows = rows_by_name(out)
    for stem, pixels in before.items():
        path = out / rows[f"a_{stem}"].file
        assert b"Jane Doe" not in path.read_bytes()
        assert not Image.open(path).getexif()
        assert np.array_equal(decode(path), pixels)
    assert Path(rows["a_tags"].file).suffix == (".jpg" if orientation == 1 else ".png")


def comment(text):
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


NAME = b"DOE^JANE"
HIDDEN = {  # where a JPEG can carry a name, and what is left of the file then
    "after the end": (lambda jpeg, scan: jpeg + NAME, ".jpg"),
    "in a second image": (
        lambda jpeg, scan: jpeg + jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0" + NAME + jpeg[2:],
        ".jpg",
    ),
    "between scans": (lambda jpeg, scan: jpeg[:scan] + comment(NAME) + jpeg[scan:], ".jpg"),
    "after a stray byte": (
        lambda jpeg, scan: jpeg[:20] + b"\0" + comment(NAME) + jpeg[20:],
        ".png",
    ),
    "in a long JFIF": (
        lambda jpeg, scan: jpeg[:4] + b"\0\x18" + jpeg[6:20] + NAME + jpeg[20:],
        ".png",
    ),
    "after fill bytes": (
        lambda jpeg, scan: jpeg[:-2] + comment(NAME) + b"\xff\xff\xff\xd9",
        ".jpg",
    ),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_a_name_hidden_in_a_jpeg_stays_behind(place):
    hide, suffix = HIDDEN[place]
    buffer = io.BytesIO()
    Image.fromarray(picture(62)).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    assert clean_bytes(jpeg) == (jpeg, ".jpg")
    data = hide(jpeg, jpeg.rindex(b"\xff\xda"))
    content, kept = clean_bytes(data)
    assert NAME in data and NAME not in content
    assert kept == suffix
    assert np.array_equal(decode(content), decode(data))
    assert np.array_equal(decode(content), decode(jpeg))


def test_dicom_becomes_png_without_a_tag(command, source, out):
    data = make_dicom(
        picture(70).astype(np.uint16) * 16, PatientName="Doe^Jane", BitsStored=12, HighBit=11
    )
    (source / "Normal" / "film.dcm").write_bytes(data)
    assert b"Doe^Jane" in data
    command("prepare", f"a={source}", "--out", out)
    path = out / rows_by_name(out)["a_film"].file
    assert path.suffix == ".png" and b"Doe" not in path.read_bytes()
    assert np.array_equal(decode(path), decode(data))


def test_every_mode_of_the_original_collection_is_taken(command, source, out):
    folder = source / "Normal"
    modes = ("RGB", "RGBA", "LA", "P")
    for number, mode in enumerate(modes):
        Image.fromarray(picture(80 + number)).convert(mode).save(folder / f"mode{mode}.png")
    wide = picture(90).astype(np.uint16) * 40
    Image.fromarray(wide).save(folder / "mode16.png")
    Image.fromarray(picture(91)).convert("CMYK").save(folder / "modeCMYK.jpg")
    expected = {path.stem: decode(path) for path in folder.glob("mode*")}
    status, _, err = command("prepare", f"a={source}", "--out", out)
    assert (status, err) == (0, "")
    rows = rows_by_name(out)
    for stem, pixels in expected.items():
        path = out / rows[f"a_{stem}"].file
        assert np.array_equal(decode(path), pixels)
    assert Image.open(out / rows["a_mode16"].file).mode == "L"
