import itertools

import numpy as np
import pytest
from PIL import Image

from aihealth.data.layouts import CLASSES, find_images
from aihealth.data.patients import find_patients
from aihealth.errors import UserError
from data_prep.demo import make_demo
from data_prep.other_images import KINDS, draw_non_radiograph
from data_prep.radiographs import STYLES, draw_anatomy, draw_radiograph


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("label", CLASSES)
def test_same_seed_draws_the_same_picture(label, style):
    first, again = (
        draw_radiograph(np.random.default_rng(7), label, STYLES[style], 96) for _ in range(2)
    )
    assert first.shape == (96, 96) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert first.std() > 30


def lungs(label, seed):
    """Mean grey of the outer thirds of both lungs, left and right of the picture."""
    anatomy = draw_anatomy(np.random.default_rng(seed))
    picture = draw_radiograph(np.random.default_rng(seed), label, STYLES["north"], 128, anatomy)
    return np.array([picture[40:82, 18:40].mean(), picture[40:82, 88:110].mean()])


def test_covid_whitens_both_lungs_and_pneumonia_one():
    normal, covid, pneumonia = (
        np.array([lungs(label, seed) for seed in range(30)])
        for label in ("Normal", "Covid", "Pneumonia")
    )
    # Averages over many patients: both sides rise for Covid; for Pneumonia one side at a time.
    assert ((covid - normal).mean(axis=0) > 5).all()
    rise = np.sort(pneumonia - normal, axis=1)
    assert np.median(rise[:, 1]) > 3 * max(1.0, abs(np.median(rise[:, 0])))


def test_brightness_alone_does_not_tell_the_classes():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows, labels = [], []
    for (label, style), _ in itertools.product(itertools.product(CLASSES, STYLES), range(16)):
        picture = draw_radiograph(rng, label, STYLES[style], 48)
        rows.append([picture.mean(), picture.std()])
        labels.append(label)
    rows = (np.array(rows) - np.mean(rows, axis=0)) / np.std(rows, axis=0)
    assert LogisticRegression().fit(rows, labels).score(rows, labels) < 0.65


@pytest.mark.parametrize("kind", KINDS)
def test_non_radiographs_are_drawn_at_the_size_asked(kind):
    picture = draw_non_radiograph(np.random.default_rng(1), kind, 80)
    again = draw_non_radiograph(np.random.default_rng(1), kind, 80)
    assert picture.shape == (80, 80) and picture.dtype == np.uint8
    assert np.array_equal(picture, again)
    assert (picture.std() == 0) == (kind == "blank")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, 24, seed=3)
    return folder


def test_demo_has_as_many_pictures_as_asked_for_in_each_class(demo):
    for label in CLASSES:
        assert len(list(demo.glob(f"*/{label}/*.png"))) == 24


def test_demo_says_everywhere_that_it_is_not_medical_data(demo):
    assert "not medical data" in (demo / "README.txt").read_text()
    for path in demo.glob("*/*/*.png"):
        assert Image.open(path).info["Comment"] == "drawn by AIHealth; not medical data"


def test_demo_has_hospitals_of_different_shape_and_mode(demo):
    kinds = {}
    for path in demo.glob("*/*/*.png"):
        with Image.open(path) as picture:
            kinds.setdefault(path.parts[-3], set()).add((picture.size, picture.mode))
    assert kinds.keys() == STYLES.keys()
    assert all(len(kind) == 1 for kind in kinds.values())
    assert len(set().union(*kinds.values())) == len(STYLES)


def test_demo_names_show_the_patient_and_some_patients_have_two_pictures(demo):
    entries = find_images([str(demo)]).entries
    patients = find_patients(entries)
    assert None not in patients
    assert len(set(zip((e.source for e in entries), patients, strict=True))) < len(entries)


def test_demo_is_the_same_for_the_same_seed(demo, tmp_path):
    make_demo(tmp_path / "again", 24, seed=3)
    for path in demo.glob("*/*/*.png"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(demo)).read_bytes()


def test_demo_leaves_a_folder_with_files_in_it_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        make_demo(tmp_path, 24, seed=3)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(("count", "seed"), [(2, 1), (24, -1)])
def test_demo_refuses_numbers_it_cannot_use(tmp_path, count, seed):
    with pytest.raises(UserError):
        make_demo(tmp_path / "demo", count, seed)
    assert not (tmp_path / "demo").exists()
