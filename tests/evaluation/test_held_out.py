"""Held-out predictions: the rules that follow from them, their figures, their file."""

import dataclasses

import numpy as np
import pytest

from aihealth.errors import UserError
from aihealth.evaluation import held_out
from aihealth.evaluation.calibration import choose_abstention
from tests.helpers.predictions import predictions
from tests.helpers.releases import damaged

CLASSES = np.array(["Covid", "Normal", "Pneumonia"])


def test_answers_that_are_too_sure_are_cooled_and_reported_before_and_after():
    block = held_out.measure(predictions(sharpness=8.0))
    for source, part in block["per_source"].items():
        assert block["temperatures"][source] > 2
        assert block["ece_before"][source] > 0.2
        assert part["ece"] < 0.1


def test_answers_that_are_too_unsure_are_left_as_they_are():
    assert held_out.temperature(None, predictions(sharpness=0.5)) == 1.0


def test_a_source_is_not_calibrated_on_itself():
    sure, unsure = predictions(8.0, sources=("harbour",)), predictions(1.5, sources=("valley",))
    block = held_out.measure(held_out.Predictions.join([sure, unsure]))
    assert block["temperatures"]["harbour"] == round(held_out.temperature(None, unsure), 3)
    assert block["temperatures"]["valley"] == round(held_out.temperature(None, sure), 3)
    assert block["temperatures"]["valley"] > block["temperatures"]["harbour"]


def test_not_sure_reaches_the_target_where_confidence_ranks_the_answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3000)
    margin = rng.uniform(0, 4, 3000)
    right = rng.random(3000) < 1 / (1 + 2 * np.exp(-margin))
    logits = margin[:, None] * np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
    found = held_out.Predictions(
        logits,
        labels,
        np.full(3000, "harbour"),
        np.arange(3000).astype(str),
        np.zeros(3000, bool),
        CLASSES,
    )
    assert right.mean() < held_out.TARGET_ACCURACY
    least, rule = held_out.abstention(None, found, 1.0)
    assert "3000 images of sources that training left out" in rule
    kept = found.probabilities().max(1) >= least
    assert kept.mean() >= 1 - held_out.MAX_ABSTAINED
    assert right[kept].mean() >= held_out.TARGET_ACCURACY


def test_a_target_that_no_threshold_reaches_is_not_said_to_be_reached():
    blind = predictions(sharpness=0.0, n=300)  # what is sure is right no more often
    _, rule = held_out.abstention(None, blind, 1.0)
    confidence = blind.probabilities().max(1)
    right = blind.probabilities().argmax(1) == blind.labels
    asked = held_out.TARGET_ACCURACY, held_out.MAX_ABSTAINED
    reached = right[confidence >= choose_abstention(confidence, right, *asked)].mean()
    assert reached < held_out.TARGET_ACCURACY
    assert f"{reached:.1%} is the most there is" in rule and "80% of the answers right" in rule


def test_what_is_turned_away_is_not_counted_as_not_sure():
    found = dataclasses.replace(predictions(2.0), rejected=np.ones(400, bool))
    block = held_out.measure(found)
    assert block["rejected"] == 1 and block["abstained"] == 0


def test_a_fold_has_the_rules_that_its_model_would_be_released_with():
    harbour, valley = predictions(8.0, sources=("harbour",)), predictions(4.0, sources=("valley",))
    known = predictions(2.0, n=90, sources=("a", "b"), seed=1)
    found = held_out.with_rules(held_out.Predictions.join([harbour, valley]), {"harbour": known})
    here = found.sources == "harbour"
    (temperature,) = set(found.temperatures[here])
    assert temperature == held_out.temperature(known, valley)
    assert held_out.temperature(known, None) < temperature < held_out.temperature(None, valley)
    (threshold,) = set(found.thresholds[here])
    assert threshold == held_out.abstention(known, valley, temperature)[0]
    assert set(found.temperatures[~here]) == {held_out.temperature(None, harbour)}
    block = held_out.measure(found)
    assert block["temperatures"]["harbour"] == round(temperature, 3)
    surest = found.probabilities(temperature)[here].max(1)
    assert block["per_source"]["harbour"]["abstained"] == pytest.approx((surest < threshold).mean())


def test_how_often_a_source_is_noticed_is_kept(tmp_path):
    parts = [
        dataclasses.replace(predictions(4.0, sources=(source,)), noticed=np.full(400, share))
        for source, share in (("harbour", 0.985), ("valley", 0.4), ("of few images", np.nan))
    ]
    held_out.with_rules(held_out.Predictions.join(parts), {}).save(tmp_path / "answers.npz")
    block = held_out.measure(held_out.Predictions.load(tmp_path / "answers.npz"))
    assert block["noticed"] == {"harbour": 0.985, "valley": 0.4}
    one_knows = held_out.Predictions.join([parts[0], predictions(4.0, sources=("valley",))])
    assert one_knows.noticed is None and held_out.measure(one_knows)["noticed"] == {}


def test_saved_answers_are_read_back(tmp_path):
    made = predictions(2.0)
    made.save(tmp_path / held_out.PREDICTIONS)
    read = held_out.Predictions.load(tmp_path / held_out.PREDICTIONS)
    np.testing.assert_array_equal(read.logits, made.logits)
    np.testing.assert_array_equal(read.sources, made.sources)
    assert read.recipe == "" and read.temperatures is None
    held_out.with_rules(made, {}).save(tmp_path / held_out.PREDICTIONS)
    assert held_out.Predictions.load(tmp_path / held_out.PREDICTIONS).temperatures.shape == (400,)


def test_answers_know_the_recipes_that_they_come_from(tmp_path):
    short, long = (dataclasses.replace(predictions(2.0), recipe=text) for text in ("short", "long"))
    joined = held_out.Predictions.join([short, long, short, predictions(2.0)])
    joined.subset(joined.labels == 0).save(tmp_path / held_out.PREDICTIONS)
    read = held_out.Predictions.load(tmp_path / held_out.PREDICTIONS)
    assert read.recipe == "long; short"
    assert held_out.measure(read)["recipe"] == "long; short"
    parts = [dataclasses.replace(short, recipe=f"64 px, epochs: {epochs}") for epochs in (9, 12, 9)]
    assert held_out.Predictions.join(parts).recipe == "64 px, epochs: 12; 9"
    assert held_out.Predictions.join(parts[:1]).recipe == "64 px, epochs: 9"


def test_what_no_class_is_right_for_stays_with_the_answers_of_its_source(tmp_path):
    told = {"n": 3, "called": {"Covid": 1.0}, "answered": {"Covid": 0.3333}}
    parts = [predictions(2.0, sources=(source,)) for source in ("harbour", "valley")]
    parts[0] = dataclasses.replace(parts[0], neither={"harbour": told})
    joined = held_out.with_rules(held_out.Predictions.join(parts), {})
    joined.save(tmp_path / held_out.PREDICTIONS)
    read = held_out.Predictions.load(tmp_path / held_out.PREDICTIONS)
    assert held_out.measure(read)["neither"] == {"harbour": told}
    assert read.subset(read.sources == "valley").neither == {}


def test_files_from_before_recipes_and_neither_were_kept_are_read(tmp_path):
    fields = dataclasses.asdict(predictions(2.0))
    fields = {name: fields[name] for name in (*held_out.ROWS, "classes")}
    np.savez(tmp_path / "old.npz", **fields)
    read = held_out.Predictions.load(tmp_path / "old.npz")
    assert read.recipe == "" and read.neither == {}


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_file_of_answers_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "mine.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.npz"):
        held_out.Predictions.load(path)


def test_a_damaged_file_of_answers_is_named_too(tmp_path):
    path = tmp_path / "mine.npz"
    predictions(2.0).save(path)
    refused = 0
    for data in damaged(path.read_bytes()):
        path.write_bytes(data)
        try:
            held_out.Predictions.load(path)
        except UserError as error:
            assert "is no file of" in str(error)
            refused += 1
    assert refused > 100
