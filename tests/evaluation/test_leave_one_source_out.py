"""`python -m aihealth leave-one-source-out` on drawn images."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aihealth import release
from aihealth.data import prepared
from aihealth.data.left_out import LeftOut
from aihealth.errors import UserError
from aihealth.evaluation import leave_one_source_out as loso
from tests.helpers.predictions import predictions
from tests.helpers.programs import inside, works


def test_all_sources_are_left_out_by_default(drawings):
    rows = [json.loads(line) for line in (drawings / "manifest.jsonl").read_text().splitlines()]
    assert sorted(loso.train_counts([str(drawings)])) == sorted({row["source"] for row in rows})


@pytest.mark.slow
def test_a_source_is_judged_by_a_model_that_was_trained_without_it(drawings, tmp_path):
    out = tmp_path / "left-out"
    source, other, *_ = sorted(loso.train_counts([str(drawings)]))
    neither = f"{source}={drawings / 'test' / 'Covid'}"
    options = ("--arch", "baseline", "--size", "32", "--augment", "light", "--batch-size", "16")
    options += ("--background-swap", "0.5", "--epochs", "1", "--neither", neither)
    command = ("-m", "aihealth", "leave-one-source-out", "--data", drawings, "--out", out)
    command += ("--sources", f"{source}+{other}/Normal", "--", *options)
    done = inside(*command)
    assert done.returncode == 0, done.stderr
    folder = out / f"{source}+{other}-Normal" / "release"
    assert source not in release.ReleaseConfig.load(folder).sources
    assert other in release.ReleaseConfig.load(folder).sources
    assert (out / "figures" / "left_out_reliability.png").is_file()
    block = json.loads((out / "metrics.json").read_text())["left_out"]
    rows = [json.loads(line) for line in (drawings / "manifest.jsonl").read_text().splitlines()]
    count = sum(row["source"] == source for row in rows)
    assert {name: part["n"] for name, part in block["per_source"].items()} == {source: count}
    doubted = block["neither"][source]
    assert doubted["n"] == len(list((drawings / "test" / "Covid").iterdir()))
    assert sum(doubted["called"].values()) == pytest.approx(1, abs=1e-3)

    again = inside(*command)
    assert again.returncode == 0 and "training without" not in again.stdout
    other = inside(*command, "--smoothing", "0")
    assert other.returncode == 2 and f"was not trained without {source}+" in other.stderr

    final = tmp_path / "final"
    words = ("--held-out-predictions", out / "held_out.npz", *options)
    works("train.py", "--data", drawings, "--out", final, *words)
    told = json.loads((final / "release" / "metrics.json").read_text())["left_out"]
    assert told["neither"] == block["neither"]
    card = (final / "release" / "README.md").read_text()
    assert "source left out" in card
    assert f"| {source} | {count} |" in card
    recipe = "light augmentation, background swap 0.5, 32 px, epochs: 1;"
    assert f"The models here: {recipe}" in card


def test_the_old_name_of_the_command_names_the_new_one():
    made = inside("-m", "aihealth", "leave-out", "--data", "x", "--out", "y")
    assert made.returncode == 2
    assert made.stderr == "error: leave-out is now leave-one-source-out\n"


def test_an_unknown_source_is_refused(drawings, tmp_path):
    words = ("--data", drawings, "--out", tmp_path / "x", "--sources", "atlantis")
    made = inside("-m", "aihealth", "leave-one-source-out", *words)
    assert made.returncode == 2 and "atlantis" in made.stderr
    assert not (tmp_path / "x").exists()


COUNTS = {
    "ward": {"Covid": 4, "Normal": 4, "Pneumonia": 0},
    "clinic": {"Covid": 4, "Normal": 4, "Pneumonia": 4},
    "abroad": {"Covid": 0, "Normal": 4, "Pneumonia": 0},
}


def test_a_source_that_alone_has_a_class_cannot_be_left_out():
    def why_not(text, counts=COUNTS):
        return loso.why_not(LeftOut.parse(text, counts, list(COUNTS["ward"])), counts)

    assert why_not("ward") is None and why_not("abroad") is None
    assert why_not("clinic") == "it alone has images of Pneumonia to train on"
    assert why_not("ward+clinic/Covid") == "it alone has images of Covid to train on"
    assert "no other source" in why_not("ward", {"ward": COUNTS["ward"]})


def test_the_others_are_left_out_all_the_same_and_the_reason_is_kept(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(loso, "train_counts", lambda data: COUNTS)
    monkeypatch.setattr(loso, "_train", lambda data, source, run, options: trained.append(source))
    monkeypatch.setattr(
        loso,
        "predictions_of",
        lambda folder, data, source: predictions(2.0, n=60, sources=(source,)),
    )
    monkeypatch.setattr(loso, "neither_of", lambda folder, fold, options: {})
    block = loso.leave_one_source_out(["data"], str(tmp_path / "out"))
    assert trained == ["abroad", "ward"]
    assert block["not_left_out"] == {"clinic": "it alone has images of Pneumonia to train on"}
    assert "clinic cannot be left out: it alone has images of Pneumonia" in capsys.readouterr().err
    with pytest.raises(UserError, match="no source can be left out"):
        loso.leave_one_source_out(["data"], str(tmp_path / "none"), sources=["clinic"])
    with pytest.raises(UserError, match="ward is left out twice"):
        loso.leave_one_source_out(["data"], str(tmp_path / "none"), sources=["ward", "ward+abroad"])
    assert not (tmp_path / "none").exists()


def test_a_shift_is_looked_for_at_each_source_of_a_fold(monkeypatch):
    sources = np.array(["harbour"] * 3 + ["valley"] * 2)
    pixels, labels = np.zeros((5, 4, 4), np.uint8), np.zeros(5, int)
    images = prepared.Images(pixels, labels, ["a", "b"], sources, sources)

    class Model:
        config = SimpleNamespace(input_size=4, temperature=1.0)

        def predict(self, pixels):
            answer = SimpleNamespace(is_chest_radiograph=True, probabilities={"a": 0.6, "b": 0.4})
            answer.without_pictures = lambda: answer
            return answer

        def how_often_noticed(self, answers):
            return 0.7 if len(list(answers)) == 3 else None

    monkeypatch.setattr(loso, "Classifier", lambda *_, **__: Model())
    monkeypatch.setattr(loso.prepared, "load", lambda *_, **__: {"left_out": images})
    monkeypatch.setattr(loso, "_recipe", lambda folder: "")
    found = loso.predictions_of(Path(), [], "harbour+valley")
    np.testing.assert_array_equal(found.noticed, [0.7, 0.7, 0.7, np.nan, np.nan])
