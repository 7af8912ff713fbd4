"""The shortcut audit: it must find a shortcut that was planted, and none where there is none."""

import json

import numpy as np
import pytest
from PIL import Image

from aihealth import __main__ as cli
from aihealth.data.lungs import usual
from aihealth.evaluation import audit, corruptions, lungs, probes
from tests.helpers.releases import CLASSES

RNG = np.random.default_rng(0)


def film(inside, outside, seed):
    """A 64 x 64 film with one grey level in the lungs and another around them, with grain."""
    grain = np.random.default_rng(seed).normal(0, 3, (64, 64))
    picture = np.where(usual(64), inside, outside) + grain
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def folder_of(path, grey_levels, per_class=10):
    """Class folders; `grey_levels` gives (inside, outside, source) for a class and a number."""
    for label in CLASSES:
        (path / label).mkdir(parents=True)
        for number in range(per_class):
            inside, outside, source = grey_levels(CLASSES.index(label), number)
            film(inside, outside, seed=number).save(path / label / f"{source}_{number}.png")
    return path


def test_the_centre_covers_what_it_says():
    centre = lungs.centre_mask(200)
    assert centre.mean() == pytest.approx(0.75**2)
    assert not centre[:25].any()
    assert not centre[:, -25:].any()


def test_nothing_of_what_is_blanked_shines_through():
    mask = usual(64)
    dark, bright = (np.asarray(film(level, 90, seed=1)) for level in (10, 240))
    blanked = [lungs.blank(pixels, mask) for pixels in (dark, bright)]
    assert np.array_equal(*blanked)
    assert np.array_equal(blanked[0][~mask], dark[~mask])
    assert len(np.unique(blanked[0][mask])) == 1


def test_the_share_of_a_map_inside_the_lungs():
    mask = usual(32)
    cover = mask.astype(np.float32)
    maps = np.stack([cover, 1 - cover, -np.ones_like(cover), np.ones_like(cover)])
    shares = [lungs.share_inside(maps, index, mask)[0] for index in range(4)]
    assert shares[0] > 0.93
    assert shares[1] < 0.07
    assert np.isnan(shares[2])  # no evidence for the class anywhere
    assert shares[3] == pytest.approx(lungs.share_inside(maps, 3, mask)[1], abs=1e-6)
    assert np.isnan(lungs.share_inside(None, 0, mask)[0])


@pytest.fixture
def lungs_where_they_are_drawn(monkeypatch):
    """Outlines of `film`: plain ovals are no radiograph, and the network is tested by itself."""
    monkeypatch.setattr(audit, "outline", lambda pixels: usual(len(pixels)))


@pytest.mark.usefixtures("lungs_where_they_are_drawn")
def test_a_model_that_reads_the_frame_is_found_out(model, tmp_path):
    frames = folder_of(tmp_path / "frames", lambda label, _: (120, (40, 120, 200)[label], "a"))
    report = audit.audit(model, str(frames))
    assert (report["model"], report["dataset"]) == ("release", "frames")  # and no path
    found = report["classes_from"]
    assert found["whole_image"]["value"] == 1
    assert found["lungs_blanked"]["value"] == 1
    assert found["borders_only"]["value"] == 1
    assert found["thumbnail"]["value"] == 1
    assert found["own_lungs"]["value"] < 0.5 < found["other_surroundings"]["value"]


@pytest.mark.usefixtures("lungs_where_they_are_drawn")
def test_a_model_that_reads_the_lungs_is_left_with_chance(model, tmp_path):
    lungs = folder_of(tmp_path / "lungs", lambda label, _: ((20, 120, 220)[label], 120, "a"))
    report = audit.audit(model, str(lungs))
    found = report["classes_from"]
    assert found["whole_image"]["value"] == 1
    assert found["lungs_blanked"]["value"] == pytest.approx(report["chance"], abs=1e-5)
    assert found["borders_only"]["value"] == pytest.approx(report["chance"], abs=1e-5)
    assert found["own_lungs"]["value"] == 1
    assert found["other_surroundings"]["value"] == 0
    assert report["sources_from"] is None  # there is one source only


def test_answers_of_one_class_do_not_hide_what_the_scores_know():
    labels, groups = np.repeat([0, 1, 2], 30), np.arange(90)
    scores = RNG.normal(0, 0.1, (90, 3)) + np.eye(3)[labels] + [5, 0, 0]
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = audit._without_lungs("blanked", probabilities, labels, groups, CLASSES)
    assert found["blanked"]["value"] == pytest.approx(1 / 3, abs=1e-5)
    assert found["blanked_scores"]["value"] > 0.95


def test_a_class_gives_away_the_source_where_it_is_most_frequent():
    # 90 of 100 images are from the large source; all of the small one's are of class 1.
    sources = np.repeat(["large", "small"], [90, 10])
    labels = np.r_[np.zeros(60, int), np.ones(40, int)]
    found = probes.sources_from(RNG.normal(size=(100, 4)), labels, sources, np.arange(100))
    assert found["class"]["value"] == pytest.approx((60 / 90 + 1) / 2, abs=1e-5)


def test_lungs_in_the_surroundings_of_another_image():
    mask = usual(64)
    dark, bright = (np.asarray(film(level, level + 60, seed=1)) for level in (40, 160))
    mixed = lungs.swap_background(dark, mask, bright, mask)
    assert np.array_equal(mixed[mask], dark[mask])
    # The other's surroundings, at this image's grey levels.
    assert mixed[~mask].mean() == pytest.approx(100, abs=2)
    striped = bright.copy()
    striped[0] = 0
    assert lungs.swap_background(dark, mask, striped, mask)[0].max() == 0


def test_sources_are_found_in_features_beyond_what_the_class_gives_away(model, tmp_path):
    def grey_levels(label, number):
        source = ("north", "south")[number % 2]
        return 110 + 10 * label, 170 if source == "north" else 70, source

    found = audit.audit(model, str(folder_of(tmp_path / "d", grey_levels)))["sources_from"]
    assert found["sources"] == ["north", "south"]
    assert found["class"]["value"] == 0.5
    assert found["features"]["value"] > 0.8
    low, high = found["features"]["interval"]
    assert low <= found["features"]["value"] <= high


def test_noise_teaches_nothing_and_a_group_is_never_on_both_sides():
    labels = np.repeat(np.arange(60) % 3, 10)
    groups = np.repeat(np.arange(60), 10)
    # Every group has a fingerprint of its own: learnable only from a copy on the other side.
    features = np.repeat(RNG.normal(size=(60, 40)), 10, axis=0)
    by_group = probes.learned(features, labels, groups, CLASSES)
    leaking = probes.learned(features, labels, np.arange(600), CLASSES)
    assert by_group["value"] < 0.55
    assert leaking["value"] > 0.9


def test_a_model_that_reads_the_tone_is_found_out(model, tmp_path):
    levels = folder_of(tmp_path / "d", lambda label, _: ((40, 120, 200)[label],) * 2 + ("a",))
    report = audit.audit(model, str(levels))
    assert set(report["frames"]) == set(corruptions.FRAMES)
    assert all(0 <= figure["value"] <= 1 for figure in report["frames"].values())
    assert set(report["unusual"]) == {*corruptions.UNUSUAL, "as it is"}
    taken = report["unusual"]["photographed from a screen (simulated)"]
    assert taken["noticed"] > 0 and report["unusual"]["as it is"]["noticed"] == 0  # by its colours
    found = report["processed"]
    assert found["turned by 10 degrees"]["value"] > 0.9
    assert found["local contrast evened out"]["value"] == pytest.approx(1 / 3, abs=0.1)
    assert found["darker"]["value"] < 0.9
    assert all(0 <= figure["rejected"] <= 1 for figure in found.values())


ALL_CHANGES = corruptions.CHANGES | corruptions.FRAMES


@pytest.mark.parametrize("name", ALL_CHANGES)
def test_each_change_changes_the_image_and_nothing_else(name):
    pixels = np.asarray(film(60, 180, seed=3).resize((160, 160)))
    kept = pixels.copy()
    changed = ALL_CHANGES[name](pixels)
    assert changed.shape == pixels.shape and changed.dtype == np.uint8
    assert np.array_equal(pixels, kept)
    assert not np.array_equal(changed, pixels)
    assert np.array_equal(changed, ALL_CHANGES[name](pixels))
    # Lungs are still darker than what is between them.
    assert changed[60:100, 35:55].mean() < changed[60:100, 76:84].mean()


def test_too_few_groups_give_no_figure():
    assert probes.learned(np.zeros((4, 2)), np.array([0, 0, 1, 1]), np.zeros(4), "ab") is None
    assert probes.learned(np.zeros((4, 2)), np.zeros(4, int), np.arange(4), "ab") is None


def test_the_report_is_json_and_readable(model, tmp_path, capsys):
    data = folder_of(tmp_path / "d", lambda label, n: (90 + 30 * label, 120, "ab"[n % 2]))
    (data / "Normal" / "a_99.png").write_bytes(b"broken")
    out = tmp_path / "out"
    cli.main(["audit", "--model", model, "--data", str(data), "--out", str(out)])
    report = json.loads((out / "audit.json").read_text())
    assert report["n"] == 30, report["unreadable"]
    assert [row["file"] for row in report["unreadable"]] == ["Normal/a_99.png"]
    printed = capsys.readouterr().out
    for words in (
        "lungs blanked out",
        "borders only",
        "8 x 8",
        "features",
        "chance 33.3%",
        "sharpened",
    ):
        assert words in printed
