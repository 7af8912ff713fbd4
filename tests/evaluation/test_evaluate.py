"""`python -m aihealth evaluate`, as its users run it."""

import json
import os
import sys

import pytest
from PIL import Image

import push_to_hub
from aihealth import __main__ as cli
from aihealth.evaluation import evaluate
from tests.helpers.programs import sentence
from tests.helpers.releases import (
    BRIGHTNESS,
    grey_image,
    make_dataset,
)


def fails(*args):
    """Run in this process; the sentence."""
    return sentence(cli.main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("cli-data") / "prepared")


def test_a_prepared_dataset_is_measured_on_one_split(model, dataset, tmp_path, capsys):
    cli.main(["evaluate", "--model", model, "--data", str(dataset), "--out", str(tmp_path / "out")])
    block = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert block["n"] == 12
    assert block["dataset"] == "prepared, test"
    assert block["balanced_accuracy"] == 1
    assert list(block["per_source"]) == ["north"]
    assert block["unreadable"] == []
    for name in ("accuracy", "recall", "ece", "abstained", "rejected", "answered", "intervals"):
        assert name in block
        assert name in block["per_source"]["north"] or name == "dataset"
    drawn = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert drawn == ["confusion_matrix.png", "reliability.png", "risk_coverage.png", "roc.png"]
    assert "100.0%" in capsys.readouterr().out


def test_sources_that_come_from_elsewhere_are_marked(hospital, tmp_path):
    (tmp_path / "films" / "Normal").mkdir(parents=True)
    for index in range(24):
        for source, level in (("harbour", 120), ("north", 135)):
            image = grey_image(level + index % 9 - 4)
            image.save(tmp_path / "films" / "Normal" / f"{source}_{index}.png")
    block = evaluate.evaluate(str(hospital), str(tmp_path / "films"))
    assert block["shift"]["n"] == 48
    found = {name: figures["shift"] for name, figures in block["per_source"].items()}
    assert not found["harbour"]["noticed"] and found["harbour"]["value"] < 0.3
    assert found["north"]["noticed"] and found["north"]["value"] > 1
    lines = evaluate.render(block).splitlines()
    assert [line for line in lines if line.strip().startswith("north") and line.endswith("*")]
    assert lines[-2].startswith("*") and "0.60" in lines[-2]
    assert lines[-1] == "48 of 48 files used"


def test_groups_of_the_manifest_are_kept(model, dataset):
    block = evaluate.evaluate(model, str(dataset), split="train")
    assert (block["n"], block["groups"]) == (12, 12)


def plain(folder, names):
    """Class folders in an unusual case, with the files named."""
    for label, level in BRIGHTNESS.items():
        (folder / label.upper()).mkdir(parents=True)
        for index, name in enumerate(names):
            grey_image(level, seed=index).save(folder / label.upper() / name)
    return folder


def test_a_plain_folder_takes_sources_and_patients_from_file_names(model, tmp_path):
    names = ["nih_7_000.png", "nih_7_001.png", "bimcv_3.png", "bimcv_4.png"]
    block = evaluate.evaluate(model, str(plain(tmp_path / "hospital", names)))
    assert block["dataset"] == "hospital"
    assert (block["n"], block["accuracy"]) == (12, 1)
    assert {name: part["n"] for name, part in block["per_source"].items()} == {"bimcv": 6, "nih": 6}
    assert block["groups"] == 7  # one patient of nih, six files of bimcv


def test_names_without_underscore_are_one_source(model, tmp_path):
    block = evaluate.evaluate(model, str(plain(tmp_path / "hospital", ["1.png", "2.png"])))
    assert list(block["per_source"]) == ["hospital"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_text_are_shown_with_escapes(model, tmp_path):
    folder = plain(tmp_path / "hospital", [os.fsdecode(b"caf\xe9_1.png")])
    (folder / "NORMAL" / os.fsdecode(b"caf\xe9_2.png")).write_bytes(b"")
    evaluate.evaluate(model, str(folder), out=str(tmp_path / "out"))
    block = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(block["per_source"]) == [r"caf\xe9"]
    assert block["unreadable"][0]["file"] == r"NORMAL/caf\xe9_2.png"


def test_masks_are_left_out_by_their_name_or_their_two_levels_and_counted(model, tmp_path):
    folder = plain(tmp_path / "hospital", ["1.png", "2.png"])
    (folder / "COVID" / "Lung masks").mkdir()
    grey_image(60).save(folder / "COVID" / "Lung masks" / "1.png")
    outline = Image.new("L", (48, 48))
    outline.paste(255, (8, 8, 20, 40))
    outline.save(folder / "COVID" / "3.png")
    block = evaluate.evaluate(model, str(folder))
    assert block["n"] == 6
    assert block["files"] == {"used": 6, "left_out": {"masks": 2}}
    assert evaluate.render(block).endswith("6 of 8 files used; left out: 2 masks")


def test_public_layouts_are_measured_as_they_lie(model, tmp_path, capsys):
    root = tmp_path / "radiography"
    for label, name in (("Covid", "COVID"), ("Normal", "Normal"), ("Pneumonia", "Viral Pneumonia")):
        for part in ("images", "masks"):
            (root / name / part).mkdir(parents=True)
            for index in range(4):
                image = grey_image(BRIGHTNESS[label], seed=index)
                image.save(root / name / part / f"{name}-{index}.png")
    (root / "Lung_Opacity").mkdir()
    grey_image(100).save(root / "Lung_Opacity" / "a.png")
    args = ["evaluate", "--model", model, "--data", str(root), "--out", str(tmp_path / "out")]
    cli.main(args)
    said = capsys.readouterr()
    assert "12 of 25 files used; left out: 12 masks, 1 in Lung_Opacity" in said.out
    assert "Lung_Opacity with 1 images is none of" in said.err
    block = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (block["n"], block["accuracy"]) == (12, 1)
    assert list(block["per_source"]) == ["radiography"]
    cli.main([*args, "--map", "lung opacity=Normal"])
    said = capsys.readouterr()
    assert "13 of 25 files used" in said.out and "warning" not in said.err


def test_unreadable_images_are_listed_and_not_fatal(model, tmp_path, capsys):
    folder = plain(tmp_path / "hospital", ["a_1.png", "a_2.png"])
    (folder / "NORMAL" / "a_3.png").write_bytes(b"")
    cli.main(["evaluate", "--model", model, "--data", str(folder), "--out", str(tmp_path / "out")])
    block = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert block["n"] == 6
    assert block["unreadable"] == [{"file": "NORMAL/a_3.png", "error": "the file is empty"}]
    assert "1 files could not be read" in capsys.readouterr().out


def test_a_dataset_repo_is_measured_by_its_id(model, dataset, hub, repo_id, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("datasets.config.USE_PARQUET_EXPORT", False)
    words = ["dataset", "--data", str(dataset), "--repo-id", repo_id]
    push_to_hub.publish(push_to_hub.parse_args(words))
    block = evaluate.evaluate(model, repo_id)
    local = evaluate.evaluate(model, str(dataset))
    assert block["dataset"] == f"{repo_id}, test"
    assert block["confusion"] == local["confusion"]
    assert list(block["per_source"]) == ["north"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: (folder / "Covid").mkdir(), "Covid has no images in it"),
        (lambda folder: grey_image(60).save(folder / "a.png"), "has no class folders"),
        (lambda folder: (folder / "manifest.jsonl").write_text(""), "not a prepared dataset"),
    ],
)
def test_data_that_cannot_be_used_is_one_sentence_and_leaves_nothing(
    model, tmp_path, capsys, make, words
):
    folder, out = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    make(folder)
    assert words in fails("evaluate", "--model", model, "--data", folder, "--out", out)
    assert not out.exists()


def test_when_nothing_can_be_read_it_says_why(model, tmp_path, capsys):
    (tmp_path / "data" / "Normal").mkdir(parents=True)
    (tmp_path / "data" / "Normal" / "a.png").write_bytes(b"text")
    said = fails(
        "evaluate", "--model", model, "--data", tmp_path / "data", "--out", tmp_path / "out"
    )
    assert "none of the 1 images can be read" in said


def test_a_missing_split_names_those_there_are(model, dataset, tmp_path, capsys):
    args = ("evaluate", "--model", model, "--data", dataset, "--out", tmp_path, "--split", "nope")
    assert "test, train, validation" in fails(*args)


def test_a_file_in_place_of_the_output_is_refused_before_the_work(dataset, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    args = ("evaluate", "--model", "never/read", "--data", dataset, "--out", tmp_path / "out")
    assert "name a folder" in fails(*args)
