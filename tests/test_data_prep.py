import errno
import functools
import io
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

from aihealth.errors import UserError, run_cli
from aihealth.images import decode
from data_prep import CLASSES
from data_prep.__main__ import main
from data_prep.clean import clean_bytes
from data_prep.manifest import dataset_fingerprint, is_prepared, read_manifest
from data_prep.radiographs import draw_radiograph

ROOT = Path(__file__).parent.parent


@pytest.fixture
def command(capsys):
    """Run a command line; gives exit status, stdout and stderr."""

    def run(*arguments):
        status = 0
        try:
            run_cli(lambda: main([str(argument) for argument in arguments]))
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refused(command, tmp_path):
    """Run a command line that must fail with one sentence and leave nothing in `out`."""

    def run(*arguments, out="out"):
        before = sorted(tmp_path.rglob("*"))
        status, _, err = command(*arguments, "--out", tmp_path / out)
        assert status == 2
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert sorted(tmp_path.rglob("*")) == before
        return errors[0]

    return run


@functools.cache
def picture(seed, label="Normal", size=48):
    return draw_radiograph(np.random.default_rng(seed), label, size=size)


def save(pixels, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def collection(root, per_class=12, seed=0):
    for number, label in enumerate(CLASSES):
        for index in range(per_class):
            pixels = picture(1000 * seed + 100 * number + index, label)
            save(pixels, root / label / f"{label.upper()}_{index}.png")
    return root


@pytest.fixture
def source(tmp_path):
    return collection(tmp_path / "source")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def rows_by_name(folder):
    return {Path(row.file).stem: row for row in read_manifest(folder)}


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
    _, _, err = command("prepare", f"a={source}", "--patients", table, "--out", tmp_path / "csv")
    assert "patients.csv names 3 of 36 images" in err
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


def test_masks_beside_the_films_are_left_out_and_named(command, source, out):
    for folder in list(source.iterdir()):
        folder.rename(source / "moved")
        folder.mkdir()
        (source / "moved").rename(folder / "images")
        for index in range(3):
            save(picture(930 + index), folder / "Masks" / f"{folder.name}_{index}.png")
    status, _, err = command("prepare", source, "--out", out)
    assert status == 0 and len(read_manifest(out)) == 36
    lines = err.splitlines()
    assert len(lines) == 3 and all("3 files in folders called masks" in line for line in lines)


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


# === Pixels travel, tags do not ===


def dicom(pixels):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = (pixels.astype(np.uint16) * 16).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_plain_files_are_copied_byte_for_byte(command, source, out):
    save(picture(50), source / "Normal" / "plain.jpg", quality=90)
    command("prepare", f"a={source}", "--out", out)
    rows = rows_by_name(out)
    for name in ("Normal/plain.jpg", "Covid/COVID_3.png"):
        copied = out / rows[f"a_{Path(name).stem}"].file
        assert copied.read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_and_comments_stay_behind_and_pixels_do_not_change(command, source, out, orientation):
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Jane Doe", orientation
    text = PngInfo()
    text.add_text("Author", "Jane Doe")
    text.add_itxt("Note", "Jane Doe")
    folder = source / "Normal"
    save(picture(60)[:40], folder / "tags.jpg", exif=exif, comment=b"Jane Doe", quality=80)
    save(picture(61)[:40], folder / "text.png", exif=exif, pnginfo=text)
    before = {path.stem: decode(path) for path in (folder / "tags.jpg", folder / "text.png")}
    assert b"Jane Doe" in (folder / "tags.jpg").read_bytes()
    command("prepare", f"a={source}", "--out", out)
    rows = rows_by_name(out)
    for stem, pixels in before.items():
        path = out / rows[f"a_{stem}"].file
        assert b"Jane Doe" not in path.read_bytes()
        assert not Image.open(path).getexif()
        assert np.array_equal(decode(path), pixels)
    assert Path(rows["a_tags"].file).suffix == (".jpg" if orientation == 1 else ".png")


def comment(text):
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


NAME = b"DOE^JANE"
HIDDEN = {  # where a JPEG can carry a name, and what is left of the file then
    "after the end": (lambda jpeg, scan: jpeg + NAME, ".jpg"),
    "in a second image": (
        lambda jpeg, scan: jpeg + jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0" + NAME + jpeg[2:],
        ".jpg",
    ),
    "between scans": (lambda jpeg, scan: jpeg[:scan] + comment(NAME) + jpeg[scan:], ".jpg"),
    "after a stray byte": (
        lambda jpeg, scan: jpeg[:20] + b"\0" + comment(NAME) + jpeg[20:],
        ".png",
    ),
    "in a long JFIF": (
        lambda jpeg, scan: jpeg[:4] + b"\0\x18" + jpeg[6:20] + NAME + jpeg[20:],
        ".png",
    ),
    "after fill bytes": (
        lambda jpeg, scan: jpeg[:-2] + comment(NAME) + b"\xff\xff\xff\xd9",
        ".jpg",
    ),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_a_name_hidden_in_a_jpeg_stays_behind(place):
    hide, suffix = HIDDEN[place]
    buffer = io.BytesIO()
    Image.fromarray(picture(62)).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    assert clean_bytes(jpeg) == (jpeg, ".jpg")
    data = hide(jpeg, jpeg.rindex(b"\xff\xda"))
    content, kept = clean_bytes(data)
    assert NAME in data and NAME not in content
    assert kept == suffix
    assert np.array_equal(decode(content), decode(data))
    assert np.array_equal(decode(content), decode(jpeg))


def test_dicom_becomes_png_without_a_tag(command, source, out):
    data = dicom(picture(70))
    (source / "Normal" / "film.dcm").write_bytes(data)
    assert b"Doe^Jane" in data
    command("prepare", f"a={source}", "--out", out)
    path = out / rows_by_name(out)["a_film"].file
    assert path.suffix == ".png" and b"Doe" not in path.read_bytes()
    assert np.array_equal(decode(path), decode(data))


def test_every_mode_of_the_original_collection_is_taken(command, source, out):
    folder = source / "Normal"
    modes = ("RGB", "RGBA", "LA", "P", "1")
    for number, mode in enumerate(modes):
        Image.fromarray(picture(80 + number)).convert(mode).save(folder / f"mode{mode}.png")
    wide = picture(90).astype(np.uint16) * 40
    Image.fromarray(wide).save(folder / "mode16.png")
    Image.fromarray(picture(91)).convert("CMYK").save(folder / "modeCMYK.jpg")
    expected = {path.stem: decode(path) for path in folder.glob("mode*")}
    status, _, err = command("prepare", f"a={source}", "--out", out)
    assert (status, err) == (0, "")
    rows = rows_by_name(out)
    for stem, pixels in expected.items():
        path = out / rows[f"a_{stem}"].file
        assert np.array_equal(decode(path), pixels)
    assert Image.open(out / rows["a_mode16"].file).mode == "L"


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


# === Bad input ===


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
        "found": 41, "unreadable": 5, "conflicting": 0, "excluded": 0, "prepared": 36,
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


def missing_class(source):
    shutil.rmtree(source / "Pneumonia")


def small_class(source):
    for path in list((source / "Covid").iterdir())[2:]:
        path.unlink()


def class_of_copies(source):
    for path in (source / "Covid").iterdir():
        shutil.copy(source / "Covid" / "COVID_0.png", path) if path.stem != "COVID_0" else None


def all_unreadable(source):
    for path in source.glob("*/*"):
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (empty_class, "Covid has no images"),
        (missing_class, "no folder Pneumonia"),
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
    assert "not a prepared dataset" in refused("prepare", source)
    assert "not a prepared dataset" in refused("prepare", source, "--overwrite")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EBUSY, errno.EXDEV])
def test_full_or_read_only_disk_is_one_sentence(source, refused, monkeypatch, code):
    def fail(path, data):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert "choose another output folder" in refused("prepare", source)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG])
def test_a_path_that_cannot_be_is_one_sentence(source, refused, monkeypatch, code):
    def fail(path, data):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert ".png: th" in refused("prepare", source)


def test_reading_a_folder_that_is_not_prepared(source):
    with pytest.raises(UserError, match="not a prepared dataset"):
        read_manifest(source)


def test_reading_a_damaged_manifest(command, source, out):
    command("prepare", source, "--out", out)
    (out / "manifest.jsonl").write_text("{half a line")
    with pytest.raises(UserError, match="damaged"):
        read_manifest(out)


# === inspect, demo and download ===


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
