"""One rule for which files are images, and the account of those that are not."""

import collections

import numpy as np
import pytest
from PIL import Image

from aihealth import files
from tests.helpers.image_files import encode, make_dicom

GREY = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)


KNOWN = ("png", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "bmp", "gif", "dcm", "dicom",
         "ima", "dic", "PNG", "Jfif", "DICOM", "IMA")  # fmt: skip


@pytest.mark.parametrize("suffix", KNOWN)
def test_a_known_suffix_of_any_case_is_an_image_unread(suffix):
    assert files.is_image_file(f"ward 3/film (1).{suffix}", lambda: 1 / 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "DICOM"])
@pytest.mark.parametrize("name", ["IM000001", "1.2.826.0.1.3680043.8.498", "film.bak", "a.txt"])
def test_without_one_the_first_bytes_decide(tmp_path, kind, name):
    data = make_dicom(GREY) if kind == "DICOM" else encode(Image.fromarray(GREY), kind)
    (tmp_path / name).write_bytes(data)
    assert files.is_image_file(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"words", b"BM is short for many things", b"%PDF-1.7", b"PK\x03\x04", b"RIFF"]
)
def test_other_bytes_are_no_image(tmp_path, content):
    (tmp_path / "notes").write_bytes(content)
    assert not files.is_image_file(tmp_path / "notes")


@pytest.mark.parametrize(
    "name",
    ["__MACOSX/DataSet/a.png", "a/._b.png", ".DS_Store", "x/Thumbs.db", ".hidden/a.png", "._a.dcm"],
)
def test_hidden_files_and_those_of_the_system_are_passed_over(name):
    assert files.is_passed_over(name)
    assert not files.is_image_file(name, lambda: encode(Image.fromarray(GREY)))


def test_a_hidden_folder_above_the_one_that_is_read_hides_nothing(tmp_path):
    folder = tmp_path / ".cache"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(Image.fromarray(GREY)))
    assert files.is_image_file(folder / "a.png")


def test_an_account_says_what_became_of_every_file():
    account = files.Account(20)
    account.add(files.Account(4, collections.Counter({files.SYSTEM: 2})))
    account.leave_out("masks", 6)
    assert account.line() == "18 of 26 files used; left out: 6 masks, 2 hidden or of the system"
    assert files.Account(3).line() == "3 of 3 files used"
