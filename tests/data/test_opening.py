"""One way to open labelled images, whatever holds them."""

import errno
import shutil

import datasets
import pytest

from aihealth.data import opening, prepared
from aihealth.data.classes import Classes
from aihealth.errors import UserError
from tests.helpers.releases import CLASSES, grey_image, make_dataset


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "prepared")


def test_a_prepared_folder_and_plain_folders_give_the_same_samples(data, tmp_path):
    shutil.copytree(data / "test", tmp_path / "plain")
    one = opening.open_dataset(str(data)).split("test")
    other = opening.open_dataset(f"north={tmp_path / 'plain'}", Classes()).split("test")
    assert len(one) == len(other) == 12
    for first, second in zip(one, other, strict=True):
        assert (first.label, first.source) == (second.label, second.source)
        assert first.read() == second.read()


def test_labels_are_those_of_the_release_in_its_order(data):
    samples, account = opening.open_test(str(data), ["pneumonia", "NORMAL", "covid"])
    assert account.used == len(samples) == 12
    assert {(sample.name.split("/")[1], sample.label) for sample in samples} == {
        ("Covid", 2), ("Normal", 1), ("Pneumonia", 0),
    }  # fmt: skip


def test_an_image_that_was_added_by_hand_is_named(data):
    grey_image(60).save(data / "train" / "Covid" / "mine.png")
    with pytest.raises(UserError, match=r"mine\.png is not in the manifest; prepare the data"):
        opening.open_dataset(str(data))


def test_an_image_that_is_gone_is_named(data):
    (data / "test" / "Covid" / "north_002.png").unlink()
    with pytest.raises(UserError, match=r"north_002\.png: there is no such file; prepare the data"):
        prepared.load([str(data)], 32)


def test_images_of_plain_folders_can_be_loaded_with_labels_and_without(data):
    images = prepared.load_plain(data / "test", "elsewhere", CLASSES, 32)
    assert images.counts() == {(label, "elsewhere"): 4 for label in range(3)}
    pixels = prepared.folder_pixels([data / "test"], 32)
    assert pixels.shape == (12, 32, 32) and (pixels == images.pixels).all()
    (data / "empty").mkdir()
    with pytest.raises(UserError, match="has no images in it"):
        prepared.folder_pixels([data / "empty"], 32)


def test_a_full_disk_is_said_and_not_laid_on_the_data():
    with pytest.raises(OSError, match="full") as found, opening.reading("org/data"):
        try:
            raise OSError(errno.ENOSPC, "full", "the cache")
        except OSError as cause:
            raise datasets.exceptions.DatasetGenerationError("in some worker") from cause
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, "the cache")
    sentence = "--data org/data cannot be read: no rows$"
    with pytest.raises(UserError, match=sentence), opening.reading("org/data"):
        raise datasets.exceptions.DatasetGenerationError("no rows\nat line 7")
