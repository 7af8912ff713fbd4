"""Folders as people really have them: public collections, Macs, masks, lists, other classes."""

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth.data.classes import CLASSES
from aihealth.data.manifest import read_manifest
from tests.data_prep.files import collection, picture, report_of, save
from tests.helpers.image_files import make_dicom


@pytest.fixture
def draw(tmp_path):
    """Draw images of its own at each of some paths below a folder, which it gives."""
    root, count = tmp_path / "collection", iter(range(10_000))

    def paths(*names):
        for name in names:
            pixels, path = picture(20_000 + next(count)), root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".png", ".jpg", ".jpeg"):
                save(pixels, path)
            elif path.suffix == ".jfif":
                Image.fromarray(pixels).save(path, "JPEG")
            else:
                path.write_bytes(make_dicom(pixels.astype(np.uint16), BitsStored=8, HighBit=7))
        return root

    return paths


@pytest.fixture
def inspect(command, tmp_path):
    """Inspect a root: the counts of each source, the report, and what was said."""

    def run(root, *words):
        out = tmp_path / "found.json"
        status, text, err = command("inspect", root, "--json", out, *words)
        assert status == 0, err
        report = json.loads(out.read_text())
        assert report["files"]["used"] == report["images"]
        return report["per_source"], report, text + err

    return run


def each(*folders, images=6, names="{}.png"):
    return [f"{folder}/{names.format(i)}" for folder in folders for i in range(images)]


def alike(count):
    return dict.fromkeys(CLASSES, count)


def test_the_radiography_database_is_read_as_it_is_unpacked(draw, inspect):
    folders = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
    root = draw(
        *(p for f in folders for p in each(f"{f}/images", f"{f}/masks", names=f + "-{}.png"))
    )
    (root / "COVID.metadata.xlsx").write_bytes(b"PK\x03\x04")
    counts, report, said = inspect(root)
    assert counts == {"collection": alike(6)}
    assert report["files"]["left_out"] == {"masks": 24, "in Lung_Opacity": 6, "no image": 1}
    assert "the folder Lung_Opacity with 6 images is none of Covid, Normal, Pneumonia" in said
    assert '--map "Lung_Opacity=Pneumonia"' in said and "--ignore" in said
    counts, _, said = inspect(root, "--map", "Lung_Opacity=Pneumonia")
    assert counts["collection"]["Pneumonia"] == 12 and "warning" not in said
    counts, report, said = inspect(root, "--ignore", "lung opacity")
    assert counts == {"collection": alike(6)} and "warning" not in said
    assert report["files"]["left_out"]["in Lung_Opacity, as asked"] == 12


def test_masks_of_covid_qu_ex_are_no_radiographs_and_its_other_infections_are_pneumonia(
    draw, inspect
):
    parts = ("images", "lung masks", "infection masks")
    root = draw(
        *(
            path
            for split in ("Train", "Val", "Test")
            for name in ("COVID-19", "Non-COVID", "Normal")
            for part in parts
            for path in each(f"Lung Segmentation Data/{split}/{name}/{part}", images=2)
        )
    )
    counts, report, _ = inspect(root)
    assert counts == {"collection": alike(6)}
    assert report["files"]["left_out"] == {"masks": 36}


def test_train_and_test_are_splits_and_no_hospitals(draw, inspect):
    folders = [
        f"Data/{s}/{c}" for s in ("train", "test") for c in ("COVID19", "NORMAL", "PNEUMONIA")
    ]
    root = draw(*each(*folders, images=5, names="NORMAL({}).jpg"))
    assert inspect(root)[0] == {"collection": alike(10)}
    assert inspect(root / "Data" / "train")[0] == {"collection": alike(5)}


@pytest.mark.parametrize(
    "split", ["train", "test", "val", "valid", "validation", "Training", "TEST"]
)
def test_a_split_is_never_a_source_beside_hospitals(draw, inspect, split):
    root = draw(*each(*(f"{h}/{split}/{c}" for h in ("east", "west") for c in CLASSES), images=2))
    assert inspect(root)[0] == {"east": alike(2), "west": alike(2)}


def test_what_a_mac_packs_beside_the_images_is_passed_over(draw, inspect):
    root = draw(*each(*(f"DataSet/{label}" for label in CLASSES)))
    for label in CLASSES:
        shutil.copytree(root / "DataSet" / label, root / "__MACOSX" / "DataSet" / label)
        (root / "DataSet" / label / "._0.png").write_bytes(b"\0\5\x16\7")
        (root / "DataSet" / label / ".DS_Store").write_bytes(b"")
        (root / "DataSet" / label / "Thumbs.db").write_bytes(b"")
    counts, report, _ = inspect(root)
    assert counts == {"collection": alike(6)}
    assert report["files"]["left_out"] == {"hidden or of the system": 27}


@pytest.mark.parametrize("names", ["1.2.826.0.1.{}", "film{}.dicom", "IM{}", "a{}.ima", "{}.jfif"])
def test_radiographs_by_any_name_are_found(draw, inspect, names):
    root = draw(*each(*CLASSES, images=4, names=names))
    assert inspect(root)[0] == {"collection": alike(4)}


def test_a_class_within_another_is_refused_and_says_how_to_go_on(draw, command, inspect):
    root = draw(
        *each("Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial", "Normal"), *each("Covid", images=3)
    )
    status, _, err = command("inspect", root)
    assert status == 2 and "COVID-19, a folder of Covid, lies in Pneumonia" in err
    assert '--map "COVID-19=Covid"' in err and '--ignore "COVID-19"' in err
    counts, _, _ = inspect(root, "--map", "COVID-19=Covid")
    assert counts == {"collection": {"Covid": 9, "Normal": 6, "Pneumonia": 6}}
    counts, _, _ = inspect(root, "--ignore", "Pneumonia/Viral/COVID-19")
    assert counts == {"collection": {"Covid": 3, "Normal": 6, "Pneumonia": 6}}


def test_a_class_within_its_own_is_that_class(draw, inspect):
    root = draw(*each("Covid/covid", "Normal/images", "Pneumonia/Viral Pneumonia"))
    assert inspect(root)[0] == {"collection": alike(6)}


def test_pictures_of_two_grey_levels_are_no_radiographs(draw, command, out):
    root = draw(*each(*CLASSES, images=12))
    outline = np.zeros((64, 64), np.uint8)
    outline[10:50, 8:28] = outline[10:50, 36:56] = 255
    for name, pixels in (("a.png", outline), ("b.png", outline // 255), ("c.jpg", outline)):
        save(pixels, root / "Normal" / name)
    status, text, err = command("prepare", root, "--out", out)
    assert status == 0 and err.count("two grey levels: a mask, no radiograph") == 3
    assert "36 of 39 files used; left out: 3 masks" in text
    assert report_of(out)["images"]["masks"] == 3


def test_a_folder_that_is_no_class_is_named_in_the_report_too(draw, command, out):
    root = draw(*each(*CLASSES, images=12), *each("Tuberculosis"))
    status, text, err = command("prepare", root, "--out", out)
    assert status == 0
    assert "the folder Tuberculosis with 6 images" in err
    assert '--classes "Covid,Normal,Pneumonia,Tuberculosis"' in err
    assert "36 of 42 files used; left out: 6 in Tuberculosis" in text
    assert "Tuberculosis" in report_of(out)["notes"][0]


def test_links_to_folders_are_counted(draw, inspect):
    root = draw(*each(*CLASSES))
    (root / "Normal" / "more").symlink_to(root / "Covid")
    counts, report, _ = inspect(root)
    assert counts == {"collection": alike(6)}
    assert report["files"]["left_out"] == {"links to folders": 1}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--map", "Viral=Pneumonia"), "--map Viral: no folder or finding is called so"),
        (("--ignore", "Opacity"), "--ignore Opacity: no folder"),
        (("--map", "Covid"), "FOLDER=CLASS is needed"),
        (("--map", "Covid=Flu"), '--classes "Covid,Normal,Pneumonia,Flu"'),
        (("--classes", "Covid"), "two or more"),
        (("--classes", "Covid,covid"), "two or more"),
        (("--classes", "Covid,a/b"), "cannot be the name of a folder"),
        (("--classes", "Flu,Measles"), "no class folders"),
    ],
)
def test_options_that_fit_nothing_are_refused(source, refused, words, sentence):
    assert sentence in refused("prepare", source, *words)


def test_without_class_folders_those_there_are_named(draw, refused):
    root = draw(*each("grippe/images", "sain"))
    said = refused("prepare", root)
    assert "grippe (6 images), sain (6 images)" in said and "--map" in said


# === Lists ===


def lines(path, *rows):
    path.write_text("\n".join(rows) + "\n")


def test_the_list_of_chexpert(draw, inspect):
    views = [f"train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(1, 9)]
    root = draw(*views, "train/patient00001/study1/view2_lateral.jpg")
    # Path, Sex, Age, Frontal/Lateral, AP/PA, No Finding, Pleural Effusion, Pneumonia
    said = ["1.0,,", "1.0,,", "1.0,,", ",,1.0", ",1.0,1.0", ",,-1.0", ",1.0,", ",0.0,1.0"]
    lines(
        root / "train.csv",
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Pleural Effusion,Pneumonia",
        *(
            f"CheXpert-v1.0-small/{view},Male,50,Frontal,AP,{s}"
            for view, s in zip(views, said, strict=True)
        ),
        "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,Male,50,Lateral,,1.0,,",
    )
    counts, report, text = inspect(root)
    assert counts == {"collection": {"Covid": 0, "Normal": 3, "Pneumonia": 3}}
    assert report["files"]["left_out"] == {
        "lateral views": 1, "of uncertain label": 1, "of other findings": 1, "no image": 1,
    }  # fmt: skip
    assert "patients known for 6 of 6 images (like patient00001/study1: 6)" in text


def test_the_list_of_nih(draw, inspect):
    names = [f"{patient:08d}_{n:03d}.png" for patient in (1, 2, 3) for n in range(2)]
    root = draw(*(f"images_001/images/{name}" for name in names))
    findings = ("No Finding", "No Finding", "Pneumonia", "Infiltration|Pneumonia", "Mass", "Mass")
    lines(
        root / "Data_Entry_2017.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,View Position,",
        *(f"{n},{f},0,{int(n[:8])},50,PA," for n, f in zip(names, findings, strict=True)),
        "00000099_000.png,Pneumonia,0,99,50,PA,",
    )
    counts, report, said = inspect(root)
    assert counts == {"collection": {"Covid": 0, "Normal": 2, "Pneumonia": 2}}
    assert "2 images have findings that are none of" in said and "Mass (2)" in said
    assert "1 images that the lists" in said and "are not there" in said
    assert report["patients"] == {"known": 4, "of": 4, "how": {"named in a list": 4}}
    counts, _, said = inspect(root, "--classes", "Normal,Pneumonia,Mass")
    assert counts == {"collection": {"Mass": 2, "Normal": 2, "Pneumonia": 2}}


def test_the_lists_of_covidx(draw, inspect):
    root = draw(*each("train", images=6, names="img {}.png"), *each("test", images=2))
    kinds = ("COVID-19 cohen", "normal rsna", "pneumonia rsna") * 2
    lines(root / "train.txt", *(f"p{i // 2} img {i}.png {kinds[i]}" for i in range(6)))
    lines(root / "test.txt", "p9 0.png positive cohen", "p9 1.png negative sirm")
    counts, report, _ = inspect(root)
    assert counts == {
        "cohen": {"Covid": 3, "Normal": 0, "Pneumonia": 0},
        "rsna": {"Covid": 0, "Normal": 2, "Pneumonia": 2},
    }
    assert report["patients"]["known"] == 7
    assert report["files"]["left_out"]["of other findings"] == 1


def test_a_list_of_ones_own(draw, inspect):
    root = draw(*each("scans", images=4))
    lines(root / "labels.csv", "file;label;patient", "0.png;COVID-19;a", "1.png;healthy;b",
          "scans/2.png;Bacterial Pneumonia;c")  # fmt: skip
    counts, report, _ = inspect(root)
    assert counts == {"collection": alike(1)}
    assert report["files"]["left_out"] == {"in no list": 1, "no image": 1}
    assert report["patients"]["known"] == 3


def test_findings_written_as_paths_mean_their_last_known_part(draw, inspect):
    root = draw(*each("images", images=4))
    lines(root / "metadata.csv", "patientid,finding,view,modality,filename",
          "1,Pneumonia/Viral/COVID-19,PA,X-ray,0.png", "2,Pneumonia/Bacterial,PA,X-ray,1.png",
          "3,No Finding,L,X-ray,2.png", "4,Pneumonia/Viral/COVID-19,Axial,CT,3.png")  # fmt: skip
    counts, report, _ = inspect(root)
    assert counts == {"collection": {"Covid": 1, "Normal": 0, "Pneumonia": 1}}
    assert report["files"]["left_out"]["lateral views"] == 1


# === Patients ===


def groups_and_splits(out):
    splits = defaultdict(set)
    for row in read_manifest(out):
        splits[row.group].add(row.split)
    return splits


def test_persons_of_kaggles_chest_xray_stay_on_one_side(draw, command, out):
    root = draw(
        *(f"COVID/patient{p}_{n}.jpeg" for p in range(1, 9) for n in range(3)),
        *(f"NORMAL/NORMAL2-IM-{100 + p:04d}-{n:04d}.jpeg" for p in range(1, 9) for n in range(3)),
        *(
            f"PNEUMONIA/person{p}_{kind}.jpeg"
            for p in range(1, 9)
            for kind in ("bacteria_1", "bacteria_2", "virus_3")
        ),
    )
    status, text, _ = command("prepare", root, "--out", out)
    assert status == 0 and "patients known for 72 of 72 images" in text
    found = groups_and_splits(out)
    assert len(found) == 24 and all(len(sides) == 1 for sides in found.values())


def test_a_data_set_without_patients_says_so_when_it_is_split(draw, command, out):
    root = draw(*each(*CLASSES, images=12))
    _, text, _ = command("prepare", root, "--out", out)
    assert "patients known for none of 36 images" in text and "--patients CSV" in text
    assert report_of(out)["patients"] == {"known": 0, "of": 36, "how": {}}


def test_a_pattern_may_look_at_the_folders(draw, command, out):
    root = draw(*(f"{c}/ward {p}/{n}.png" for c in CLASSES for p in range(6) for n in range(2)))
    pattern = r"(?P<patient>\w+/ward \d+)/"
    command("prepare", root, "--patient-pattern", pattern, "--out", out)
    assert len(groups_and_splits(out)) == 18


def test_few_groups_in_test_are_named(draw, command, out):
    root = draw(*each(*CLASSES, images=12))
    _, text, _ = command("prepare", root, "--out", out)
    assert "fewer than 10 groups in test: collection Covid (" in text
    assert [row[:2] for row in report_of(out)["few_in_test"]] == [
        ["collection", c] for c in CLASSES
    ]


# === Other classes ===


@pytest.mark.parametrize(
    ("option", "classes"),
    [
        ("Covid,Normal,Pneumonia,Tuberculosis", [*CLASSES, "Tuberculosis"]),
        ("Normal,Tuberculosis", ["Normal", "Tuberculosis"]),
        ("Bacterial Pneumonia, Viral Pneumonia, Normal",
         ["Bacterial Pneumonia", "Normal", "Viral Pneumonia"]),
    ],
)  # fmt: skip
def test_other_classes_are_prepared_by_one_option(draw, command, out, option, classes):
    root = draw(*each(*{"Normal", *classes}, "Grippe", images=12))
    status, text, _ = command("prepare", root, "--classes", option, "--out", out)
    assert status == 0 and f"{12 * len(classes)} of {12 * len(classes) + 12} files used" in text
    assert Counter(row.label for row in read_manifest(out)) == dict.fromkeys(classes, 12)
    assert report_of(out)["classes"] == classes


@pytest.mark.parametrize("kept", [("Normal",), ("Covid", "Normal")])
def test_a_hospital_without_all_classes_is_prepared_and_told_so(tmp_path, command, out, kept):
    root = collection(tmp_path / "ward")
    for label in set(CLASSES) - set(kept):
        shutil.rmtree(root / label)
    status, _, err = command("prepare", root, "--out", out)
    assert status == 0 and "there is no image of " in err and "together with data" in err
    assert report_of(out)["classes"] == list(CLASSES)
    assert {Path(row.file).parts[1] for row in read_manifest(out)} == set(kept)
    assert command("inspect", root)[0] == 0
