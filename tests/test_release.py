"""The release that the project ships: whole, small, honest, and of the code beside it."""

import json
from pathlib import Path

import numpy as np
import pytest

from aihealth import Classifier, release
from aihealth.classifier import SMOOTHED, UNLIKE
from aihealth.evaluation import corruptions
from aihealth.publishing import card, model, staging
from aihealth.training import starting_point
from data_prep.other_images import KINDS, draw_non_radiograph
from data_prep.radiographs import draw_radiograph

FOLDER = Path(__file__).resolve().parent.parent / "release"


def test_it_holds_what_training_writes_and_no_code():
    names = staging.collect(FOLDER, (*model.RELEASE_FILES, release.CARD), "a release")
    assert {*release.KERAS_FILES, release.LITERT, release.CONFIG, release.CARD} <= set(names)


def test_it_is_small_and_holds_no_radiograph():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    sizes = {path.name: path.stat().st_size for path in files}
    # Hashes of what it was trained on are read by those who train on, not by those who use it.
    assert sizes.pop(release.SEEN) <= starting_point.MAX_BYTES
    assert sum(sizes.values()) <= 8_000_000
    pictures = {path.relative_to(FOLDER).as_posix() for path in files if path.suffix == ".png"}
    assert pictures == {f"figures/{name}" for name in card.FIGURE_CAPTIONS}


def test_its_card_is_what_its_files_say(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    assert (FOLDER / release.CARD).read_text().strip() == str(card.render(FOLDER)).strip()


def test_it_says_what_it_was_trained_on_and_names_no_folder():
    config = release.ReleaseConfig.load(FOLDER)
    assert {"aihealth", "bimcv", "nih", "pakistan", "rsna"} < set(config.sources)
    assert not config.drawn_data
    found = json.loads((FOLDER / release.PROVENANCE).read_text())
    assert found["parameters"] <= 1_000_000
    assert not [word for word in found["command"].split() if word.startswith("/")]


@pytest.mark.parametrize("kind", KINDS)
def test_it_turns_away_what_is_no_chest_radiograph(kind):
    classifier = Classifier(FOLDER)
    rng = np.random.default_rng(11)
    answers = [classifier.predict(draw_non_radiograph(rng, kind, 256)) for _ in range(5)]
    assert not any(answer.is_chest_radiograph for answer in answers)
    assert all(answer.label is None for answer in answers)


def test_a_noisy_film_gets_a_second_look_and_a_warning():
    classifier = Classifier(FOLDER)
    threshold = classifier.config.ood_threshold
    for seed, name in enumerate(classifier.classes):
        film = draw_radiograph(np.random.default_rng(seed), name, size=160)
        assert classifier.predict(film).warning in (None, UNLIKE)  # it is a drawing
        noisy = corruptions.add_noise(film)
        as_it_is = classifier.outputs(noisy)["features"][None]
        assert classifier._distance.score(as_it_is)[0] > threshold, "no second look is needed"
        answer = classifier.predict(noisy)
        assert answer.is_chest_radiograph and answer.ood_score <= threshold
        assert answer.warning == SMOOTHED


def test_drawn_films_are_noticed_as_none_of_its_hospitals():
    classifier = Classifier(FOLDER)
    rng = np.random.default_rng(3)
    names = classifier.classes * 7
    answers = classifier.predict_batch(draw_radiograph(rng, name, size=160) for name in names)
    assert all(answer.is_chest_radiograph for answer in answers)
    assert "these 21 images differ" in classifier.shift(answers).warning
