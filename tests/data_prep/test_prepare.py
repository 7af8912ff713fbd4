"""`data_prep prepare`: what comes out, and what a second or a killed run leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth.data.layouts import CLASSES
from aihealth.data.manifest import dataset_fingerprint, is_prepared, read_manifest
from tests.data_prep.files import collection, picture, report_of, rows_by_name, save

ROOT = Path(__file__).parent.parent.parent

# === What comes out ===


def test_datasets_reads_the_imagefolder_with_labels_and_nothing_else(command, source, out):
    from datasets import load_dataset

    assert command("prepare", source, "--out", out)[0] == 0
    dataset = load_dataset("imagefolder", data_dir=str(out))
    rows = read_manifest(out)
    assert {name: split.num_rows for name, split in dataset.items()} == Counter(
        row.split for row in rows
    )
    for name, split in dataset.items():
        assert split.column_names == ["image", "label"]
        assert split.features["label"].names == list(CLASSES)
        labels = Counter(split.features["label"].int2str(split["label"]))
        assert labels == Counter(row.label for row in rows if row.split == name)


def test_manifest_says_what_each_file_is(command, source, out):
    import hashlib

    command("prepare", f"clinic={source}", "--out", out)
    rows = read_manifest(out)
    files = {path.relative_to(out).as_posix() for path in out.glob("*/*/*")}
    assert {row.file for row in rows} == files and len(files) == 36
    for row in rows:
        data = (out / row.file).read_bytes()
        assert (row.sha256, row.size) == (hashlib.sha256(data).hexdigest(), len(data))
        assert row.file.startswith(f"{row.split}/{row.label}/clinic_{row.label.upper()}_")
        assert row.source == "clinic" and row.group


def test_same_content_gives_the_same_dataset_wherever_it_lies(command, source, tmp_path):
    shutil.copytree(source, tmp_path / "elsewhere" / "moved")
    command("prepare", f"a={source}", "--out", tmp_path / "one")
    command("prepare", f"a={tmp_path / 'elsewhere' / 'moved'}", "--out", tmp_path / "two")
    manifests = [(tmp_path / name / "manifest.jsonl").read_bytes() for name in ("one", "two")]
    assert manifests[0] == manifests[1]
    assert dataset_fingerprint(tmp_path / "one") == dataset_fingerprint(tmp_path / "two")
    command("prepare", f"a={source}", "--seed", 1, "--out", tmp_path / "three")
    assert dataset_fingerprint(tmp_path / "one") != dataset_fingerprint(tmp_path / "three")


def test_duplicates_and_patients_stay_together(command, tmp_path, out):
    source = collection(tmp_path / "source", per_class=20)
    copy = Image.open(source / "Covid" / "COVID_0.png").resize((60, 60))
    copy.save(source / "Covid" / "other.jpg", quality=95)
    for visit in range(6):
        save(picture(5000 + visit), source / "Normal" / f"clinic_0042_{visit}.png")
    command("prepare", f"clinic={source}", "--out", out)
    rows = rows_by_name(out)
    assert rows["clinic_COVID_0"].group == rows["clinic_other"].group
    assert len({rows[f"clinic_0042_{visit}"].group for visit in range(6)}) == 1
    splits = defaultdict(set)
    for row in rows.values():
        splits[row.group].add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    assert rows["clinic_COVID_1"].group != rows["clinic_COVID_2"].group


def test_the_same_patient_number_in_two_sources_is_two_patients(command, tmp_path, out):
    roots = []
    for number, name in enumerate(("one", "two")):
        root = collection(tmp_path / name, seed=number)
        save(picture(700 + number), root / "Normal" / "clinic_0042_1.png")
        roots.append(root)
    command("prepare", *roots, "--out", out)
    rows = rows_by_name(out)
    assert rows["one_clinic_0042_1"].group != rows["two_clinic_0042_1"].group


def test_patients_from_a_csv_or_a_pattern_of_ones_own(command, source, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("file,patient\nCOVID_1.png,p1\nCovid/COVID_2.png,p1\nCOVID_3.png,\n")
    _, text, _ = command("prepare", f"a={source}", "--patients", table, "--out", tmp_path / "csv")
    assert "patients known for 2 of 36 images (patients.csv: 2)" in text
    rows = rows_by_name(tmp_path / "csv")
    assert rows["a_COVID_1"].group == rows["a_COVID_2"].group != rows["a_COVID_3"].group
    pattern = r"^COVID_(\d)\d*$"
    command("prepare", f"a={source}", "--patient-pattern", pattern, "--out", tmp_path / "re")
    rows = rows_by_name(tmp_path / "re")
    assert rows["a_COVID_1"].group == rows["a_COVID_10"].group != rows["a_COVID_2"].group


def test_random_split_is_there_by_name(command, tmp_path, out):
    source = collection(tmp_path / "source", per_class=40)
    command("prepare", source, "--split", "random", "--out", out)
    counts = Counter(row.split for row in read_manifest(out))
    assert counts == {"train": 84, "validation": 12, "test": 24}


def test_a_source_can_be_left_out_as_test(command, tmp_path, out):
    roots = [collection(tmp_path / name, seed=i) for i, name in enumerate(("north", "south"))]
    command("prepare", *roots, "--leave-out", "south", "--out", out)
    assert {(row.source, row.split) for row in read_manifest(out)} == {
        ("north", "train"),
        ("north", "validation"),
        ("south", "test"),
    }


def test_sources_come_from_names_folders_or_file_names(command, tmp_path, out):
    first = collection(tmp_path / "first", seed=1)
    collection(tmp_path / "hospitals" / "east", seed=2)
    collection(tmp_path / "hospitals" / "west side", seed=3)
    third = collection(tmp_path / "third", seed=4)
    for path in list(third.glob("*/*")):
        path.rename(path.with_name(f"nih_{path.name}"))
    command("prepare", f"named={first}", tmp_path / "hospitals", "--out", out)
    assert {row.source for row in read_manifest(out)} == {"named", "east", "west-side"}
    command("prepare", f"named={first}", third, "--source-from-name", "--overwrite", "--out", out)
    rows = read_manifest(out)
    assert {row.source for row in rows} == {"named", "nih"}
    assert all(Path(row.file).name.startswith(f"{row.source}_") for row in rows)
    assert not any("nih_nih" in row.file for row in rows)


def test_original_layout_is_found_whatever_its_case_and_depth(command, tmp_path, out):
    root = tmp_path / "AIHealth"
    for label, folder in zip(CLASSES, ("COVID-19", "NORMAL", "pneumonia"), strict=True):
        for index in range(12):
            name = f"{index}.JPEG" if index % 2 else f"{index}.png"
            save(picture(index, label), root / "DataSet" / folder / name)
    assert command("prepare", root, "--out", out)[0] == 0
    rows = read_manifest(out)
    assert Counter(row.label for row in rows) == dict.fromkeys(CLASSES, 12)
    assert {row.source for row in rows} == {"AIHealth"}
    assert {Path(row.file).suffix for row in rows} == {".png", ".jpg"}


def test_files_of_one_name_do_not_overwrite_each_other(command, source, out):
    save(picture(900, "Covid"), source / "Covid" / "more" / "COVID_1.png")
    save(picture(901, "Covid"), source / "Covid" / "more" / "covid_1.PNG")
    command("prepare", f"a={source}", "--out", out)
    assert len({row.file.lower() for row in read_manifest(out)}) == 38


def test_a_name_as_long_as_file_systems_allow_is_cut(command, source, out):
    long = "x" * 251
    for number in range(2):
        folder = source / "Covid" / str(number)
        save(picture(910 + number, "Covid"), folder / f"{long}.png")
    assert command("prepare", f"clinic={source}", "--out", out)[0] == 0
    names = [name for name in rows_by_name(out) if "xxx" in name]
    assert len(names) == 2 and all(name.startswith("clinic_xxx") for name in names)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_text_are_shown_with_escapes(command, source, out, tmp_path):
    folder = os.fsencode(source / "Normal")
    for name in (b"caf\xe9.png", b"bad\xe9.png", b"note\xe9.txt"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"")
    save(picture(920), Path(os.fsdecode(folder + b"/caf\xe9.png")))
    assert command("prepare", source, "--out", out)[0] == 0
    report = report_of(out)
    assert report["images"]["prepared"] == 37
    assert report["unreadable"][0]["file"] == r"source: Normal/bad\xe9.png"
    assert report["ignored"] == [r"source: Normal/note\xe9.txt"]
    status, text, _ = command("inspect", source, "--json", tmp_path / "found.json")
    assert status == 0 and r"Normal/bad\xe9.png" in text
    assert json.loads((tmp_path / "found.json").read_text())["images"] == 37


# === Again, changed, killed ===


def test_a_second_run_does_nothing(command, source, out):
    command("prepare", source, "--out", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    status, text, _ = command("prepare", source, "--out", out)
    assert status == 0 and "up to date" in text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_other_options_or_images_do_not_replace_a_dataset_unasked(command, source, out, refused):
    command("prepare", source, "--out", out)
    assert "--overwrite" in refused("prepare", source, "--seed", 5)
    save(picture(33), source / "Normal" / "new.png")
    assert "--overwrite" in refused("prepare", source)
    assert command("prepare", source, "--overwrite", "--out", out)[0] == 0
    assert len(read_manifest(out)) == 37
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "source"]


def test_a_link_is_followed_and_stays(command, source, tmp_path, out):
    link = tmp_path / "link"
    link.symlink_to(out)
    for words in ((), ("--seed", 5, "--overwrite")):
        assert command("prepare", source, "--out", link, *words)[0] == 0
        assert link.is_symlink() and len(read_manifest(out)) == 36
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out", "source"]
    demo = tmp_path / "demo-link"
    demo.symlink_to(tmp_path / "demo")
    assert command("demo", "--out", demo, "--images-per-class", 12)[0] == 0
    assert demo.is_symlink() and (tmp_path / "demo" / "README.txt").is_file()


def test_a_dataset_that_lost_a_file_is_not_called_up_to_date(command, source, out):
    command("prepare", source, "--out", out)
    (out / read_manifest(out)[0].file).unlink()
    status, _, err = command("prepare", source, "--out", out)
    assert status == 2 and "changed or removed" in err


def test_killed_run_leaves_no_dataset_and_the_next_one_cleans_up(tmp_path, command):
    rng = np.random.default_rng(0)
    source, out = tmp_path / "source", tmp_path / "out"
    for label in CLASSES:
        for index in range(200):
            pixels = rng.integers(256, size=(40, 40), dtype=np.uint8)
            save(pixels, source / label / f"{index}.png")
    script = [sys.executable, "-m", "data_prep", "prepare", str(source), "--out", str(out)]
    process = subprocess.Popen(script, cwd=ROOT, stdout=subprocess.DEVNULL)
    part = tmp_path / f"out.part-{process.pid}"
    while not part.exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert part.exists() and not out.exists() and not is_prepared(part)
    assert command("prepare", source, "--out", out)[0] == 0
    assert len(read_manifest(out)) == 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]
