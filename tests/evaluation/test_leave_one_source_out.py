"""`python -m aihealth leave-out`: the figures, and the command on drawn images."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aihealth import release
from aihealth.errors import UserError
from aihealth.evaluation import leave_one_source_out as loso
from aihealth.evaluation.calibration import choose_abstention
from tests.helpers.releases import damaged

ROOT = Path(__file__).resolve().parents[2]
CLASSES = np.array(["Covid", "Normal", "Pneumonia"])


def answers(sharpness, n=400, sources=("harbour", "valley"), seed=0):
    """Answers that are right in 70 of 100 images, and as sure as `sharpness` says."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    called = np.where(rng.random(n) < 0.7, labels, (labels + 1) % 3)
    return loso.Answers(
        sharpness * np.eye(3)[called] + rng.normal(0, 0.1, (n, 3)),
        labels,
        np.array(sources)[np.arange(n) % len(sources)],
        np.arange(n).astype(str),
        np.zeros(n, bool),
        CLASSES,
    )


def test_answers_that_are_too_sure_are_cooled_and_reported_before_and_after():
    block = loso.measure(answers(sharpness=8.0))
    for source, part in block["per_source"].items():
        assert block["temperatures"][source] > 2
        assert block["ece_before"][source] > 0.2
        assert part["ece"] < 0.1


def test_answers_that_are_too_unsure_are_left_as_they_are():
    assert loso.temperature(None, answers(sharpness=0.5)) == 1.0


def test_a_source_is_not_calibrated_on_itself():
    sure, unsure = answers(8.0, sources=("harbour",)), answers(1.5, sources=("valley",))
    block = loso.measure(loso.Answers.join([sure, unsure]))
    assert block["temperatures"]["harbour"] == round(loso.temperature(None, unsure), 3)
    assert block["temperatures"]["valley"] == round(loso.temperature(None, sure), 3)
    assert block["temperatures"]["valley"] > block["temperatures"]["harbour"]


def test_not_sure_reaches_the_target_where_confidence_ranks_the_answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3000)
    margin = rng.uniform(0, 4, 3000)
    right = rng.random(3000) < 1 / (1 + 2 * np.exp(-margin))
    logits = margin[:, None] * np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
    found = loso.Answers(
        logits,
        labels,
        np.full(3000, "harbour"),
        np.arange(3000).astype(str),
        np.zeros(3000, bool),
        CLASSES,
    )
    assert right.mean() < loso.TARGET_ACCURACY
    least, rule = loso.abstention(None, found, 1.0)
    assert "3000 images of sources that training left out" in rule
    kept = found.probabilities().max(1) >= least
    assert kept.mean() >= 1 - loso.MAX_ABSTAINED
    assert right[kept].mean() >= loso.TARGET_ACCURACY


def test_a_target_that_no_threshold_reaches_is_not_said_to_be_reached():
    blind = answers(sharpness=0.0, n=300)  # what is sure is right no more often
    _, rule = loso.abstention(None, blind, 1.0)
    confidence = blind.probabilities().max(1)
    right = blind.probabilities().argmax(1) == blind.labels
    asked = loso.TARGET_ACCURACY, loso.MAX_ABSTAINED
    reached = right[confidence >= choose_abstention(confidence, right, *asked)].mean()
    assert reached < loso.TARGET_ACCURACY
    assert f"{reached:.1%} is the most there is" in rule and "80% of the answers right" in rule


def test_what_is_turned_away_is_not_counted_as_not_sure():
    found = dataclasses.replace(answers(2.0), rejected=np.ones(400, bool))
    block = loso.measure(found)
    assert block["rejected"] == 1 and block["abstained"] == 0


def test_a_fold_has_the_rules_that_its_model_would_be_released_with():
    harbour, valley = answers(8.0, sources=("harbour",)), answers(4.0, sources=("valley",))
    known = answers(2.0, n=90, sources=("a", "b"), seed=1)
    found = loso.with_rules(loso.Answers.join([harbour, valley]), {"harbour": known})
    here = found.sources == "harbour"
    (temperature,) = set(found.temperatures[here])
    assert temperature == loso.temperature(known, valley)
    assert loso.temperature(known, None) < temperature < loso.temperature(None, valley)
    (threshold,) = set(found.thresholds[here])
    assert threshold == loso.abstention(known, valley, temperature)[0]
    assert set(found.temperatures[~here]) == {loso.temperature(None, harbour)}
    block = loso.measure(found)
    assert block["temperatures"]["harbour"] == round(temperature, 3)
    surest = found.probabilities(temperature)[here].max(1)
    assert block["per_source"]["harbour"]["abstained"] == pytest.approx((surest < threshold).mean())


def test_how_often_a_source_is_noticed_is_kept(tmp_path):
    parts = [
        dataclasses.replace(answers(4.0, sources=(source,)), noticed=np.full(400, share))
        for source, share in (("harbour", 0.985), ("valley", 0.4))
    ]
    loso.with_rules(loso.Answers.join(parts), {}).save(tmp_path / "answers.npz")
    block = loso.measure(loso.Answers.load(tmp_path / "answers.npz"))
    assert block["noticed"] == {"harbour": 0.985, "valley": 0.4}
    one_knows = loso.Answers.join([parts[0], answers(4.0, sources=("valley",))])
    assert one_knows.noticed is None and loso.measure(one_knows)["noticed"] == {}


def test_saved_answers_are_read_back(tmp_path):
    made = answers(2.0)
    made.save(tmp_path / loso.ANSWERS)
    read = loso.Answers.load(tmp_path / loso.ANSWERS)
    np.testing.assert_array_equal(read.logits, made.logits)
    np.testing.assert_array_equal(read.sources, made.sources)
    assert read.recipe == "" and read.temperatures is None
    loso.with_rules(made, {}).save(tmp_path / loso.ANSWERS)
    assert loso.Answers.load(tmp_path / loso.ANSWERS).temperatures.shape == (400,)


def test_answers_know_the_recipes_that_they_come_from(tmp_path):
    short, long = (dataclasses.replace(answers(2.0), recipe=text) for text in ("short", "long"))
    joined = loso.Answers.join([short, long, short, answers(2.0)])
    joined.subset(joined.labels == 0).save(tmp_path / loso.ANSWERS)
    read = loso.Answers.load(tmp_path / loso.ANSWERS)
    assert read.recipe == "long; short"
    assert loso.measure(read)["recipe"] == "long; short"


def test_files_from_before_recipes_were_kept_are_read(tmp_path):
    fields = dataclasses.asdict(answers(2.0))
    fields = {name: fields[name] for name in (*loso.ROWS, "classes")}
    np.savez(tmp_path / "old.npz", **fields)
    assert loso.Answers.load(tmp_path / "old.npz").recipe == ""


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_file_of_answers_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "mine.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.npz"):
        loso.Answers.load(path)


def test_a_damaged_file_of_answers_is_named_too(tmp_path):
    path = tmp_path / "mine.npz"
    answers(2.0).save(path)
    refused = 0
    for data in damaged(path.read_bytes()):
        path.write_bytes(data)
        try:
            loso.Answers.load(path)
        except UserError as error:
            assert "is no file of" in str(error)
            refused += 1
    assert refused > 100


def run(*words):
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    run("-m", "data_prep", "demo", "--out", root / "drawn", "--images-per-class", "36")
    made = run("-m", "data_prep", "prepare", root / "drawn", "--out", root / "ready",
               "--source-from-name")  # fmt: skip
    assert made.returncode == 0, made.stderr
    return root / "ready"


def test_all_sources_are_left_out_by_default(prepared):
    rows = [json.loads(line) for line in (prepared / "manifest.jsonl").read_text().splitlines()]
    assert sorted(loso.train_counts([str(prepared)])) == sorted({row["source"] for row in rows})


def test_a_source_is_judged_by_a_model_that_was_trained_without_it(prepared, tmp_path):
    out, source = tmp_path / "left-out", min(loso.train_counts([str(prepared)]))
    options = ("--size", "32", "--augment", "light", "--batch-size", "16", "--epochs", "1")
    command = ("-m", "aihealth", "leave-out", "--data", prepared, "--out", out)
    command += ("--sources", source, "--", *options)
    made = run(*command)
    assert made.returncode == 0, made.stderr
    assert source not in release.ReleaseConfig.load(out / source / "release").sources
    assert (out / "figures" / "left_out_reliability.png").is_file()
    block = json.loads((out / "metrics.json").read_text())["left_out"]
    rows = [json.loads(line) for line in (prepared / "manifest.jsonl").read_text().splitlines()]
    count = sum(row["source"] == source for row in rows)
    assert {name: part["n"] for name, part in block["per_source"].items()} == {source: count}

    again = run(*command)
    assert again.returncode == 0 and "training without" not in again.stdout
    other = run(*command, "--smoothing", "0")
    assert other.returncode == 2 and f"was not trained without {source}" in other.stderr

    final = tmp_path / "final"
    words = ("--left-out-answers", out / "left_out.npz", *options)
    made = run("train.py", "--data", prepared, "--out", final, *words)
    assert made.returncode == 0, made.stderr
    card = (final / "release" / "README.md").read_text()
    assert "At hospitals that training left out" in card
    assert f"| {source} | {count} |" in card
    recipe = "light augmentation, exchange 0.5, 32 px, epochs: 1;"
    assert f"The models here: {recipe}" in card


def test_an_unknown_source_is_refused(prepared, tmp_path):
    made = run("-m", "aihealth", "leave-out", "--data", prepared, "--out", tmp_path / "x",
               "--sources", "atlantis")  # fmt: skip
    assert made.returncode != 0
    assert "atlantis" in made.stderr and "Traceback" not in made.stderr
    assert not (tmp_path / "x").exists()


COUNTS = {
    "ward": {"Covid": 4, "Normal": 4, "Pneumonia": 0},
    "clinic": {"Covid": 4, "Normal": 4, "Pneumonia": 4},
    "abroad": {"Covid": 0, "Normal": 4, "Pneumonia": 0},
}


def test_a_source_that_alone_has_a_class_cannot_be_left_out():
    assert loso.why_not("ward", COUNTS) is None and loso.why_not("abroad", COUNTS) is None
    assert loso.why_not("clinic", COUNTS) == "it alone has images of Pneumonia to train on"
    assert "no other source" in loso.why_not("ward", {"ward": COUNTS["ward"]})


def test_the_others_are_left_out_all_the_same_and_the_reason_is_kept(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(loso, "train_counts", lambda data: COUNTS)
    monkeypatch.setattr(loso, "_train", lambda data, source, run, options: trained.append(source))
    monkeypatch.setattr(
        loso, "answers_of", lambda folder, data, source: answers(2.0, n=60, sources=(source,))
    )
    block = loso.leave_out(["data"], str(tmp_path / "out"))
    assert trained == ["abroad", "ward"]
    assert block["not_left_out"] == {"clinic": "it alone has images of Pneumonia to train on"}
    assert "clinic cannot be left out: it alone has images of Pneumonia" in capsys.readouterr().err
    with pytest.raises(UserError, match="no source can be left out"):
        loso.leave_out(["data"], str(tmp_path / "none"), sources=["clinic"])
    assert not (tmp_path / "none").exists()
