"""Collections, options and outputs that `data_prep` refuses."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth.data.manifest import read_manifest
from aihealth.errors import UserError
from tests.data_prep.files import (
    all_unreadable,
    collection,
    picture,
    report_of,
    rows_by_name,
    save,
)


def test_unreadable_files_are_listed_and_left_out(command, source, out):
    folder = source / "Normal"
    (folder / "empty.png").write_bytes(b"")
    (folder / "letter.png").write_text("Dear colleague,")
    whole = (folder / "NORMAL_1.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "tiny.png").write_bytes(
        save(np.zeros((4, 4), np.uint8), folder / "t.png").read_bytes()
    )
    (folder / "t.png").unlink()
    Image.new("1", (12_000, 9_000)).save(folder / "bomb.png")
    (folder / "notes.txt").write_text("not an image by name")
    status, text, err = command("prepare", source, "--out", out)
    assert status == 0 and len(read_manifest(out)) == 36
    names = ("empty", "letter", "half", "tiny", "bomb")
    assert all(f"Normal/{name}.png" in err for name in names)
    report = report_of(out)
    assert report["images"] == {
        "found": 41, "unreadable": 5, "masks": 0, "conflicting": 0, "excluded": 0, "prepared": 36,
    }  # fmt: skip
    assert len(report["unreadable"]) == 5 and "5 unreadable" in text
    assert report["ignored"] == ["source: Normal/notes.txt"]


def test_contradicting_labels_between_sources(command, source, tmp_path, out):
    other = collection(tmp_path / "other", seed=1)
    shutil.copy(source / "Covid" / "COVID_1.png", other / "Normal" / "healthy.png")
    roots = (source, other)
    status, _, err = command("prepare", *roots, "--conflicts", "error", "--out", out)
    assert status == 2 and "healthy.png" in err and "--conflicts" in err and not out.exists()
    assert command("prepare", *roots, "--out", out)[0] == 0
    assert not {"source_COVID_1", "other_healthy"} & rows_by_name(out).keys()
    assert report_of(out)["label_conflicts"] == [
        ["other: Normal/healthy.png", "source: Covid/COVID_1.png"]
    ]
    command("prepare", *roots, "--conflicts", "keep", "--overwrite", "--out", out)
    rows = rows_by_name(out)
    assert rows["source_COVID_1"].group == rows["other_healthy"].group


def empty_class(source):
    for path in (source / "Covid").iterdir():
        path.unlink()


def small_class(source):
    for path in list((source / "Covid").iterdir())[2:]:
        path.unlink()


def class_of_copies(source):
    for path in (source / "Covid").iterdir():
        shutil.copy(source / "Covid" / "COVID_0.png", path) if path.stem != "COVID_0" else None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (empty_class, "Covid has no images"),
        (small_class, "Covid is too small to split: 2 usable images in 2 groups"),
        (class_of_copies, "Covid is too small to split: 12 usable images in 1 groups"),
        (all_unreadable, "Covid is too small to split: 0 usable images"),
        (shutil.rmtree, "is not a folder"),
    ],
)
def test_collections_that_cannot_be_split_are_refused(source, refused, spoil, sentence):
    spoil(source)
    assert sentence in refused("prepare", source)


def test_root_without_class_folders_is_refused(tmp_path, refused):
    save(picture(1), tmp_path / "loose" / "a.png")
    assert "no class folders" in refused("prepare", tmp_path / "loose")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--ratios", "70/20"), "--ratios 70/20"),
        (("--ratios", "70/20/20"), "--ratios 70/20/20"),
        (("--leave-out", "mars"), "the sources are source"),
        (("--patient-pattern", "(["), "no regular expression"),
        (("--patient-pattern", "abc"), "needs a group"),
        (("--patients", "missing.csv"), "missing.csv"),
    ],
)
def test_options_that_cannot_be_used_are_refused(source, refused, arguments, sentence):
    assert sentence in refused("prepare", source, *arguments)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("name,id\na,b\n", "columns file and patient"), ("file,patient\nx.png,1\n", "names none")],
)
def test_patients_table_that_does_not_fit_is_refused(source, tmp_path, refused, content, sentence):
    table = tmp_path / "patients.csv"
    table.write_text(content)
    assert sentence in refused("prepare", source, "--patients", table)


@pytest.mark.parametrize("place", ["source", "source/prepared", "."])
def test_output_that_overlaps_an_input_is_refused(source, refused, place):
    assert "overlap" in refused("prepare", source, out=place)


@pytest.mark.parametrize("words", [("prepare", "source"), ("demo",)])
def test_output_that_cannot_be_renamed_is_refused_before_the_work(
    source, tmp_path, refused, monkeypatch, words
):
    words = [source if word == "source" else word for word in words]
    (tmp_path / "out" / "below").mkdir(parents=True)
    with monkeypatch.context() as here:
        for place in ("out", "out/below"):
            here.chdir(tmp_path / place)
            assert "the folder you are in" in refused(*words)
    (tmp_path / "out" / "below").rmdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "out")
    assert "mount point" in refused(*words)


def test_a_folder_that_is_no_dataset_is_never_replaced(source, tmp_path, refused):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "holds something else" in refused("prepare", source)
    assert "holds something else" in refused("prepare", source, "--overwrite")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        *((code, "choose another output folder")
          for code in (errno.ENOSPC, errno.EROFS, errno.EBUSY, errno.EXDEV)),
        *((code, ".png: th") for code in (errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG)),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_one_sentence(source, refused, monkeypatch, code, sentence):
    def fail(path, data):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert sentence in refused("prepare", source)


def test_reading_a_folder_that_is_not_prepared(source):
    with pytest.raises(UserError, match="not a prepared dataset"):
        read_manifest(source)


def test_reading_a_damaged_manifest(command, source, out):
    command("prepare", source, "--out", out)
    (out / "manifest.jsonl").write_text("{half a line")
    with pytest.raises(UserError, match="damaged"):
        read_manifest(out)


def test_names_of_folders_send_the_terminal_no_commands(command, source):
    (source / "Odd\x1b[31m\nforged").mkdir()
    for file in (source / "Normal").iterdir():
        (source / "Odd\x1b[31m\nforged" / f"\x1b[2J{file.name}").write_bytes(file.read_bytes())
    _, text, err = command("inspect", source)
    assert r"Odd\x1b[31m\nforged" in err and "\x1b" not in text + err
