import numpy as np
import pytest

from aihealth.data import duplicates
from aihealth.data.duplicates import connected, near_duplicates


def thumbnails(count, seed=0):
    """Smooth random pictures, a third of them retouched copies of the others."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((6, 16 * 16))
    mixing = np.cumsum(np.cumsum(mixing.reshape(6, 16, 16), axis=1), axis=2).reshape(6, -1)
    pictures = rng.standard_normal((count, 6)) @ mixing + 4 * rng.standard_normal((count, 256))
    copies = rng.integers(count, size=count // 3)
    pictures[: len(copies)] = pictures[copies] * 0.9 + 2 * rng.standard_normal((len(copies), 256))
    low, high = np.percentile(pictures, [1, 99])
    scaled = np.clip((pictures - low) / (high - low) * 255, 0, 255)
    return scaled.astype(np.uint8).reshape(count, 16, 16)


def all_pairs(pictures, correlation=0.99):
    matrix = np.atleast_2d(np.corrcoef(pictures.reshape(len(pictures), -1).astype(float)))
    return np.argwhere(np.triu(matrix > correlation, 1))


@pytest.mark.parametrize("count", [1, 2, 50, 2500])
def test_groups_equal_those_of_comparing_all_pairs(count):
    pictures = thumbnails(count)
    groups = connected(count, near_duplicates(pictures).edges())
    assert np.array_equal(groups, connected(count, all_pairs(pictures)))


def test_no_images_have_no_duplicates():
    near = near_duplicates(np.zeros((0, 16, 16), np.uint8))
    assert len(near.edges()) == 0 and len(near.conflicting([])) == 0


def test_identical_pictures_are_not_paired_one_by_one():
    pictures = np.repeat(thumbnails(3), 500, axis=0)
    near = near_duplicates(pictures)
    assert len(near.edges()) <= len(pictures)
    assert connected(len(pictures), near.edges()).max() + 1 == 3


def test_far_fewer_pairs_are_compared_than_there_are(monkeypatch):
    compared = []
    real = duplicates._correlation
    monkeypatch.setattr(
        duplicates, "_correlation", lambda a, b: (compared.append(len(a)), real(a, b))[1]
    )
    pictures = thumbnails(2500)
    near_duplicates(pictures)
    assert sum(compared) < 0.01 * len(pictures) ** 2 / 2


def test_brightness_and_contrast_do_not_hide_a_duplicate():
    picture = thumbnails(1)[0]
    darker = (picture * 0.5 + 20).astype(np.uint8)
    assert len(near_duplicates(np.stack([picture, darker])).pairs) == 1


def test_blank_pictures_of_different_grey_are_no_duplicates():
    blanks = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((5, 16, 16), np.uint8)
    assert len(near_duplicates(blanks).edges()) == 0


def test_every_copy_of_a_contradicted_picture_is_in_conflict():
    a, b = thumbnails(400, seed=1)[[300, 301]]
    retouched = (a * 0.8 + 10).astype(np.uint8)
    near = near_duplicates(np.stack([a, a, retouched, b, b]))
    found = near.conflicting(["Covid", "Covid", "Normal", "Normal", "Normal"])
    assert found.tolist() == [True, True, True, False, False]


def test_a_copy_with_another_label_puts_its_near_duplicates_in_conflict():
    a = thumbnails(1)[0]
    retouched = (a * 0.8 + 10).astype(np.uint8)
    near = near_duplicates(np.stack([a, a, retouched]))
    assert near.conflicting(["Covid", "Normal", "Covid"]).all()
    assert not near.conflicting(["Covid", "Covid", "Covid"]).any()
