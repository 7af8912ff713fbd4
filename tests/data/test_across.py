"""Data sets that were prepared apart: what they share is found before training."""

import shutil

import numpy as np
import pytest
from PIL import Image

from aihealth.data import across, prepared
from aihealth.data.duplicates import thumbnail
from aihealth.errors import UserError
from data_prep import prepare
from tests.data_prep.files import collection, picture, save


def prepare_quietly(root, out, **options):
    prepare.prepare([str(root)], out, prepare.Options(**options))
    return str(out)


def small(*seeds):
    return np.stack([thumbnail(picture(seed)) for seed in seeds])


def look(thumbnails, roots, splits, groups=None, labels=None):
    count = len(thumbnails)
    return across.look(
        thumbnails,
        np.zeros(count, int) if labels is None else np.array(labels),
        np.array(roots),
        np.array(groups or [f"g{index}" for index in range(count)]),
        splits,
    )


def test_what_is_shared_stays_on_one_side_and_has_one_group():
    found = look(small(1, 2, 1, 3), [0, 0, 1, 1], ["train", "train", "test", "train"])
    assert found.keep.tolist() == [False, True, True, True]
    assert found.groups[0] == found.groups[2] and len(set(found.groups)) == 3
    assert (found.shared, found.taken_out) == (2, {"validation": 0, "train": 1})
    assert "1 of train were taken out" in found.line()


def test_the_whole_group_goes_where_one_image_of_it_is_shared():
    groups = ["patient", "patient", "other", "g"]
    found = look(small(1, 2, 1, 3), [0, 0, 1, 1], ["train", "train", "validation", "test"], groups)
    assert found.keep.tolist() == [False, False, True, True]


def test_copies_on_one_side_stay_and_are_one_group():
    found = look(small(1, 1), [0, 1], ["train", "train"])
    assert found.keep.all() and found.groups[0] == found.groups[1]


def test_what_lies_within_one_data_set_is_its_own_matter():
    found = look(small(1, 1, 2), [0, 0, 1], ["train", "test", "train"])
    assert found.keep.all() and found.line() is None
    assert found.groups.tolist() == ["g0", "g1", "g2"]


def test_labels_that_contradict_each_other_are_taken_out():
    found = look(small(1, 1, 2), [0, 1, 1], ["train", "train", "train"], labels=[0, 1, 1])
    assert found.keep.tolist() == [False, False, True]
    assert "2 were taken out, for their labels contradict" in found.line()


def test_groups_of_one_name_in_two_data_sets_are_two():
    found = look(small(1, 2, 3), [0, 1, 1], ["train", "test", "test"], ["g", "g", "h"])
    assert found.keep.all()


def test_reencoded_copies_are_found_when_data_is_loaded_together(tmp_path, capsys):
    first = collection(tmp_path / "first", seed=1)
    second = tmp_path / "second"
    for index, path in enumerate(sorted(first.glob("*/*"))):
        image = Image.open(path).resize((60, 60))
        (second / path.parent.name).mkdir(parents=True, exist_ok=True)
        image.save(second / path.parent.name / f"copy{index}.jpg", quality=90)
    for number, label in enumerate(("Covid", "Normal", "Pneumonia")):
        for index in range(9):
            save(picture(40_000 + 100 * number + index, label), second / label / f"own{index}.png")
    data = [
        prepare_quietly(first, tmp_path / "one"),
        prepare_quietly(second, tmp_path / "two", seed=7),
    ]
    splits = prepared.load(data, 32)
    sides = {name: set(part.groups.tolist()) for name, part in splits.items()}
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["validation"] and not sides["validation"] & sides["test"]
    said = capsys.readouterr().err
    assert "72 images have near-duplicates in another --data" in said
    assert "taken out" in said
    assert sum(map(len, splits.values())) < 99
    alone = prepared.load(data[:1], 32)
    assert sum(map(len, alone.values())) == 36
    again = prepared.load(data, 32, leave_out="first")
    assert set(again["train"].sources) == {"second"} and len(again["left_out"]) == 36
    assert not set(again["train"].groups) & set(again["left_out"].groups)


def hospital(root, *labels, seed):
    collection(root, seed=seed)
    for label in {"Covid", "Normal", "Pneumonia"} - set(labels):
        shutil.rmtree(root / label)
    return root


def test_hospitals_with_some_of_the_classes_train_together(tmp_path):
    data = [
        prepare_quietly(hospital(tmp_path / "a", "Normal", seed=1), tmp_path / "one"),
        prepare_quietly(hospital(tmp_path / "b", "Covid", "Pneumonia", seed=2), tmp_path / "two"),
    ]
    train = prepared.load(data, 32)["train"]
    assert train.classes == ["Covid", "Normal", "Pneumonia"]
    by_source = {name: {train.classes[i] for i in train.labels[train.sources == name]}
                 for name in set(train.sources)}  # fmt: skip
    assert by_source == {"a": {"Normal"}, "b": {"Covid", "Pneumonia"}}
    with pytest.raises(UserError, match="no image of Normal to train on"):
        prepared.load(data[1:], 32)
