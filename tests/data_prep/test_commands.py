"""`data_prep inspect`, `demo` and `download`."""

import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from aihealth.data.manifest import read_manifest
from tests.data_prep.files import all_unreadable, report_of


def test_inspect_finds_what_is_there(command, source, tmp_path):
    folder = source / "Covid"
    shutil.copy(folder / "COVID_0.png", folder / "copy.png")
    Image.open(folder / "COVID_1.png").resize((70, 60)).save(folder / "near.jpg", quality=95)
    shutil.copy(folder / "COVID_2.png", source / "Normal" / "sick.png")
    (folder / "broken.png").write_bytes(b"")
    status, text, _ = command("inspect", f"clinic={source}", "--json", tmp_path / "found.json")
    assert status == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["images"] == 39
    assert found["per_source"] == {"clinic": {"Covid": 14, "Normal": 13, "Pneumonia": 12}}
    assert found["formats"] == {"PNG": 38, "JPEG": 1}
    assert found["width"] == {"min": 48, "median": 48, "max": 70}
    assert found["exact_duplicates"] == {"groups": 2, "images": 4, "superfluous": 2}
    assert found["near_duplicates"] == {
        "pictures": 36, "groups": 3, "images": 6, "largest_group": 2,
    }  # fmt: skip
    assert found["label_conflicts"] == [["clinic: Covid/COVID_2.png", "clinic: Normal/sick.png"]]
    assert found["unreadable"] == [
        {"file": "clinic: Covid/broken.png", "reason": "the file is empty"}
    ]
    for part in ("clinic", "39", "unreadable", "broken.png", "sick.png"):
        assert part in text


@pytest.mark.parametrize(("place", "sentence"), [("", "is a folder"), ("no/x.json", "no folder")])
def test_inspect_says_before_the_work_that_a_file_cannot_be_written(
    command, source, tmp_path, place, sentence
):
    status, text, err = command("inspect", source, "--json", tmp_path / place)
    assert (status, text) == (2, "") and sentence in err


def test_inspect_goes_on_when_nothing_can_be_read(command, source):
    all_unreadable(source)
    status, text, _ = command("inspect", source)
    assert status == 0 and "36 files" in text


def test_demo_can_be_prepared_and_stays_marked_as_drawn(command, tmp_path, out):
    demo = tmp_path / "demo"
    status, text, _ = command("demo", "--out", demo, "--images-per-class", 24)
    assert status == 0 and "not medical data" in text
    assert command("prepare", demo, "--out", out)[0] == 0
    report = report_of(out)
    assert report["drawn"] == report["images"]["prepared"] > 60
    path = out / read_manifest(out)[0].file
    assert Image.open(path).info["Comment"] == "drawn by AIHealth; not medical data"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("original",), "--url"),
        (("original", "--url", "http://127.0.0.1:9/none"), "git could not clone"),
        (("hub",), "--id"),
    ],
)
def test_download_says_what_is_missing(refused, arguments, sentence):
    assert sentence in refused("download", *arguments)


def test_download_of_a_git_repository(command, source, tmp_path, out):
    repository = tmp_path / "repository"
    shutil.copytree(source, repository / "DataSet")
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], check=True)
    url = repository.as_uri()
    assert command("download", "original", "--url", url, "--out", tmp_path / "got")[0] == 0
    assert command("prepare", tmp_path / "got", "--out", out)[0] == 0
    assert len(read_manifest(out)) == 36


def test_download_of_a_dataset_on_the_hub(command, api, repo_id, source, tmp_path, out):
    api.create_repo(repo_id, repo_type="dataset")
    commit = api.upload_folder(repo_id=repo_id, repo_type="dataset", folder_path=source)
    got = tmp_path / "got"
    status, text, _ = command("download", "hub", "--id", repo_id, "--out", got)
    assert status == 0 and commit.oid in text
    assert command("prepare", got, "--out", out)[0] == 0
    assert len(read_manifest(out)) == 36
    assert not any(path.is_symlink() for path in got.rglob("*"))


def test_dataset_that_is_not_on_the_hub_is_one_sentence(hub, refused):
    assert "org/nothing-here" in refused("download", "hub", "--id", "org/nothing-here")


def test_kaggle_that_says_no_is_one_sentence(refused, monkeypatch):
    class Kagglehub:
        @staticmethod
        def dataset_download(name):
            raise ConnectionError(f"403 for {name}")

    monkeypatch.setitem(sys.modules, "kagglehub", Kagglehub)
    assert "sachinkumar413/covid-pneumonia-normal" in refused("download", "kaggle")
