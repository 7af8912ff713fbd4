"""What a training starts from is known, and no figure is measured on what that was trained on."""

import io

import numpy as np
import pytest
from PIL import Image

from aihealth import images, release
from aihealth.data.prepared import Images
from aihealth.data.seen import Seen
from aihealth.errors import UserError
from aihealth.publishing import card
from aihealth.training import starting_point
from data_prep.radiographs import draw_radiograph
from tests.helpers.releases import CLASSES, copy_release


@pytest.fixture(scope="module")
def films():
    """24 drawn radiographs, each of a patient of its own."""
    drawn = [draw_radiograph(np.random.default_rng(seed), CLASSES[seed % 3]) for seed in range(24)]
    return some(drawn)


@pytest.fixture
def base(model, films, tmp_path):
    """A release that says it was trained on the first half of the films."""
    folder = copy_release(model, tmp_path / "base")
    starting_point.write_seen(folder, [], [films.subset(np.arange(12))])
    return folder


def some(pixels, names="patient"):
    count = len(pixels)
    groups = np.array([f"{names}-{index}" for index in range(count)])
    return Images(np.stack(pixels), np.arange(count) % 3, CLASSES, np.full(count, "north"), groups)


def encoded_again(picture):
    """Recompressed and rescaled, as another collection has it."""
    file = io.BytesIO()
    Image.fromarray(picture).resize((180, 180)).save(file, "JPEG", quality=70)
    return images.prepare(file.getvalue(), 256)


def test_near_duplicates_of_what_a_release_was_trained_on_are_found(base, films):
    start = starting_point.locate(str(base))
    test = some([encoded_again(picture) for picture in films.pixels], names="other")
    found = starting_point.overlap([start], test)
    assert found.seen[:12].all() and not found.seen[12:].any()
    assert found.facts == {"left_out": 12, "of": 24, "unknown": []}
    assert len(starting_point.left_over(test, found)) == 12
    assert "12 of 24 test images were among" in starting_point.overlap_text(found.facts)


def test_patients_that_a_release_was_trained_on_are_found(base, films):
    start = starting_point.locate(str(base / starting_point.WEIGHTS))
    others = some([255 - picture for picture in films.pixels])  # other images of the same patients
    assert starting_point.overlap([start], others).seen.sum() == 12


def test_weights_without_hashes_are_unknown(model, films):
    found = starting_point.overlap([starting_point.locate(model)], films)
    assert not found.seen.any()
    assert "model.weights.h5 had been trained on is unknown: the figures may be too good" in (
        starting_point.overlap_text(found.facts)
    )


def test_imagenet_has_seen_no_radiograph(films):
    found = starting_point.overlap([starting_point.locate("imagenet")], films)
    assert starting_point.overlap_text(found.facts) == ""


def test_where_nothing_is_left_to_measure_on_it_is_refused(base, films):
    known = films.subset(np.arange(12))
    found = starting_point.overlap([starting_point.locate(str(base))], known)
    with pytest.raises(UserError, match="all 12 test images were among what --weights"):
        starting_point.left_over(known, found)


def test_hashes_are_handed_on_and_never_pretended(model, base, films, tmp_path):
    own = films.subset(np.arange(12, 18))
    for name, start, whole in (("known", base, True), ("unknown", model, False)):
        folder = copy_release(model, tmp_path / name)
        starting_point.write_seen(folder, [starting_point.locate(str(start))], [own])
        path = folder / release.SEEN
        assert path.exists() == whole
        if whole:
            assert Seen.load(path).contains(films).tolist() == [True] * 18 + [False] * 6
            assert path.stat().st_size < starting_point.MAX_BYTES


def test_hashes_of_two_releases_differ_although_the_images_are_the_same(model, films, tmp_path):
    written = []
    for name in ("one", "two"):
        folder = copy_release(model, tmp_path / name)
        starting_point.write_seen(folder, [], [films])
        written.append(Seen.load(folder / release.SEEN))
    shared = [set(map(bytes, seen.codes)) for seen in written]
    assert not shared[0] & shared[1]


def test_a_published_model_is_found_by_name_and_revision(hub, api, base, repo_id):
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=base)
    api.create_tag(repo_id, tag="v1.0.0")
    start = starting_point.locate(f"{repo_id}@v1.0.0")
    assert (start.repo_id, start.revision) == (repo_id, "v1.0.0")
    assert start.commit == hub.commits(repo_id)[0].sha
    assert start.seen() is not None and start.name == f"{repo_id}@v1.0.0"


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("nothing.weights.h5", "there is no such file"),
        ("runs/nothing.h5", "there is no such file"),
        ("org/no-such-model", "does not exist"),
    ],
)
def test_weights_that_are_not_there_are_named(hub, weights, said):
    with pytest.raises(UserError, match=said):
        starting_point.locate(weights)


def test_the_card_says_what_was_left_out_and_what_is_unknown(model, tmp_path):
    folder = copy_release(model, tmp_path / "release")
    told = release.read_json(folder / release.PROVENANCE)
    told["test_images_seen_before"] = {"left_out": 56, "of": 59, "unknown": ["older.h5"]}
    release.write_json(folder / release.PROVENANCE, told)
    text = card.render(folder, "org/name").content
    assert "56 of 59 test images were among" in text
    assert "What older.h5 had been trained on is unknown" in text
