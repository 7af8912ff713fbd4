import concurrent.futures
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth import Classifier, release
from aihealth.errors import UserError
from aihealth.images import mirror_correlation
from aihealth.ood import FeatureDistance
from aihealth.training.distance import fit_distance, shift_limit
from tests.helpers.programs import works
from tests.helpers.releases import (
    CLASSES,
    SIZE,
    copy_release,
    damaged,
)


@pytest.fixture(scope="module")
def folder(model):
    return Path(model)


@pytest.fixture(scope="module")
def classifier(folder):
    return Classifier(folder)


def grey(level, size=SIZE):
    return np.full((size, size), level, np.uint8)


def with_settings(folder, tmp_path, **settings):
    return Classifier(copy_release(folder, tmp_path / "copy", **settings))


def test_every_kind_of_input_gets_the_same_answer(classifier, tmp_path):
    pixels = grey(120)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    answers = [
        classifier.predict(image)
        for image in (
            pixels,
            np.repeat(pixels[..., None], 3, axis=-1).astype("float32"),
            Image.fromarray(pixels),
            tmp_path / "film.png",
            str(tmp_path / "film.png"),
            (tmp_path / "film.png").read_bytes(),
        )
    ]
    assert len(set(map(str, answers))) == 1
    assert answers[0].label == "Normal"
    assert list(answers[0].probabilities) == CLASSES
    assert sum(answers[0].probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_size_and_shape_of_the_file_do_not_matter(classifier):
    small, large = classifier.predict_batch([grey(60), np.full((300, 170), 60, np.uint8)])
    assert small.label == large.label == "Covid"


def test_it_abstains_below_its_threshold(folder, tmp_path):
    unsure = with_settings(folder, tmp_path, abstain_below=0.9)
    between = unsure.predict(grey(90))
    assert between.abstained and between.label is None
    assert max(between.probabilities.values()) < 0.9
    assert not unsure.predict(grey(20)).abstained


def test_heatmaps_are_scaled_over_all_classes(classifier):
    maps = classifier.predict(grey(200)).heatmaps
    assert maps.shape[0] == 3 and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() == pytest.approx(1)


def test_threads_share_a_classifier(classifier):
    levels = [60, 120, 180] * 20
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        labels = [a.label for a in pool.map(classifier.predict, map(grey, levels))]
    assert labels == CLASSES * 20


def test_tensorflow_is_not_imported(folder):
    code = (
        "import sys; from aihealth import Classifier; import numpy as np;"
        f"Classifier.from_pretrained({str(folder)!r}).predict(np.zeros((64, 64), 'uint8'));"
        "print([m for m in ('tensorflow', 'keras', 'datasets', 'pydicom') if m in sys.modules])"
    )
    assert works("-c", code).strip().endswith("[]")


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda f: (f / release.CONFIG).unlink(), "is not a release: it has no aihealth.json"),
        (lambda f: (f / release.CONFIG).write_text("{"), "is not valid JSON"),
        (lambda f: (f / release.CONFIG).write_text('{"classes": ["A"]}'), "is incomplete"),
        (lambda f: (f / release.LITERT).unlink(), "has no model.tflite"),
        (lambda f: (f / release.LITERT).write_bytes(b"x" * 500), "is damaged"),
        (
            lambda f: release.write_json(
                f / release.CONFIG, release.read_json(f / release.CONFIG) | {"ood_threshold": 1.0}
            ),
            "ood.npz is missing or damaged",
        ),
        (
            lambda f: release.write_json(
                f / release.CONFIG, release.read_json(f / release.CONFIG) | {"format": 99}
            ),
            "has format 99; update aihealth",
        ),
    ],
)
def test_a_broken_release_is_one_sentence(folder, tmp_path, break_it, sentence):
    copy = shutil.copytree(folder, tmp_path / "copy")
    break_it(copy)
    with pytest.raises(UserError, match=sentence):
        Classifier(copy)


# === Is it a chest radiograph? ===


def test_distance_is_small_for_the_known_and_large_for_the_unknown(tmp_path):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 8))
    cells = np.repeat([0, 1], 200)
    known = (rng.normal(size=(400, 8)) + 6 * cells[:, None]) @ mixing
    other = rng.normal(size=(400, 3))
    distance = fit_distance([known, other], cells)
    new = (rng.normal(size=(200, 8)) + 6 * (np.arange(200) % 2)[:, None]) @ mixing
    same = distance.score(np.hstack([new, rng.normal(size=(200, 3))]))
    between = distance.score(np.hstack([new - 3 * mixing.sum(0), rng.normal(size=(200, 3))]))
    elsewhere = distance.score(np.hstack([new, rng.normal(size=(200, 3)) + 9]))
    assert np.quantile(same, 0.9) < 1.1
    assert (elsewhere > 1.5).all()
    assert np.median(between) > np.median(same)
    distance.save(tmp_path / "ood.npz")
    again = FeatureDistance.load(tmp_path / "ood.npz").score(known_and(known, other))
    np.testing.assert_allclose(again, distance.score(known_and(known, other)), rtol=1e-6)


def test_damaged_distances_are_one_sentence(tmp_path):
    path = tmp_path / "ood.npz"
    fit_distance([np.random.default_rng(0).normal(size=(50, 4))], np.zeros(50)).save(path)
    refused = 0
    for data in damaged(path.read_bytes()):
        path.write_bytes(data)
        try:
            FeatureDistance.load(path)
        except UserError as error:
            assert "is missing or damaged" in str(error)
            refused += 1
    assert refused > 100


def known_and(*parts):
    return np.hstack(parts)


def test_a_network_that_learned_nothing_does_not_break_the_distance():
    distance = fit_distance([np.ones((50, 4))], np.zeros(50, int))
    assert np.isfinite(distance.score(np.ones((3, 4)))).all()


def test_the_shift_is_that_of_the_mean_whatever_the_classes():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 8))

    def films(count, second_class, shift=0.0):
        """Features at two depths; `shift` in standard deviations of each feature of the first."""
        cells = (np.arange(count) < second_class).astype(int)
        first = (rng.normal(size=(count, 8)) + 6 * cells[:, None] + shift) @ mixing
        return np.hstack([first, rng.normal(size=(count, 3))]), cells

    known, cells = films(400, 200)
    distance = fit_distance([known[:, :8], known[:, 8:]], cells)
    for second_class in (0, 30, 300):
        assert distance.shift(films(300, second_class)[0]) < 0.15
        # Of two depths one has moved: the root mean square is less by the root of 2.
        moved = distance.shift(films(300, second_class, 0.8)[0])
        assert moved == pytest.approx(0.8 / 2**0.5, rel=0.15)
    sources = np.repeat(["harbour", "north"], 200)
    limit = shift_limit(distance, known, sources)
    assert limit == shift_limit(distance, known, sources)
    few = [distance.shift(films(20, 10)[0]) > limit for _ in range(100)]
    assert np.mean(few) < 0.15
    assert all(distance.shift(films(20, 10, 0.8)[0]) > limit for _ in range(50))
    assert shift_limit(distance, known[:39], sources[:39]) is None


def test_films_of_another_hospital_are_noticed_together(hospital):
    classifier = Classifier(hospital)
    levels = np.random.default_rng(1).normal(120, 10, 30).round()
    own = classifier.predict_batch([grey(level) for level in levels])
    shift = classifier.shift(own)
    assert shift.n == 30 and not shift.noticed and shift.warning is None
    others = classifier.predict_batch([grey(level + 15) for level in levels])
    assert [answer.warning for answer in others] == [None] * 30
    shift = classifier.shift(others)
    assert shift.noticed and shift.value == pytest.approx(1.5, abs=0.4)
    assert "these 30 images differ" in shift.warning
    few = classifier.shift(others[:19])
    assert (few.n, few.value, few.noticed, few.warning) == (19, None, False, None)
    hands = classifier.predict_batch([np.zeros((SIZE, SIZE), np.uint8)] * 20)
    far = [dataclasses.replace(answer, is_chest_radiograph=False) for answer in hands]
    assert classifier.shift(own + far) == classifier.shift(own)


def test_a_release_without_a_limit_says_nothing_of_many_images(classifier):
    without_limit = classifier.shift(classifier.predict_batch([grey(120)] * 25))
    assert (without_limit.value, without_limit.warning) == (None, None)


def test_what_is_far_is_turned_away_with_its_probabilities(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    rng = np.random.default_rng(0)
    levels = rng.uniform(100, 140, (300, 1))
    fit_distance([levels], np.zeros(300, int)).save(copy / release.OOD)
    config = release.read_json(copy / release.CONFIG)
    release.write_json(copy / release.CONFIG, config | {"ood_threshold": 1.5})
    classifier = Classifier(copy)
    assert classifier.predict(grey(120)).is_chest_radiograph
    far = classifier.predict(grey(250))
    assert not far.is_chest_radiograph and far.label is None and not far.abstained
    assert far.to_dict()["probabilities"]["Pneumonia"] > 0.5


def test_a_film_whose_halves_differ_gets_a_warning(folder, tmp_path):
    classifier = with_settings(folder, tmp_path, lateral_threshold=0.5)
    lateral = np.zeros((64, 64), np.uint8)
    lateral[:, :20] = 255
    frontal = np.zeros((64, 64), np.uint8)
    frontal[:, 20:44] = 255
    assert mirror_correlation(lateral) < 0 < 0.9 < mirror_correlation(frontal)
    assert "lateral radiograph" in classifier.predict(lateral).warning
    assert classifier.predict(frontal).warning is None
