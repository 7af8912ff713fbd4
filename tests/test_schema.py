"""What a release may say of itself: one sentence for whatever else it says."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from aihealth import Classifier, UserError, release, schema
from aihealth.data import provenance
from tests.helpers.space_app import RELEASE


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    for name in release.SERVING_FILES:
        shutil.copy(RELEASE / name, folder)
    return folder


def say(folder, **fields):
    config = json.loads((folder / release.CONFIG).read_text())
    (folder / release.CONFIG).write_text(json.dumps(config | fields))


def test_every_field_has_a_check():
    assert set(schema.FIELDS) == {field.name for field in dataclasses.fields(release.ReleaseConfig)}


def test_what_the_shipped_release_says_is_valid(copy):
    assert Classifier(copy).classes


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("classes", ["abc", [], ["a/b", "c"], ["..", "c"], ["a\nb", "c"], ["A", "a"], [1, 2], {}]),
        ("classes", [["\x1b[31m", "b"], [" a", "b"], ["a\u202eb", "c"], ["x" * 65, "b"], [None]]),
        ("input_size", [0, -1, 1.5, "160", None, True, 10**9, math.nan, [160]]),
        ("arch", [None, 1, ["compact"], "a\nb"]),
        ("sources", ["aihealth", [1], None, {"a": 1}]),
        ("drawn_data", [0, "no", None]),
        ("temperature", [0, -1, math.nan, math.inf, "1", None, True]),
        ("abstain_below", [-0.1, 1.1, math.nan, "0.5", None, []]),
        ("abstain_rule", [None, 1, "x" * 5000]),
        ("ood_threshold", [math.nan, "1.5", [], -1, math.inf]),
        ("lateral_threshold", [2, "0", math.nan]),
        ("shift_limit", [-1, "0", math.nan]),
        ("version", [1, 1.0, [], "1\n2"]),
        ("format", ["9", None, 0, 1.0, True]),
    ],
)
def test_a_field_that_is_wrong_is_named(copy, field, values):
    for value in values:
        say(copy, **{field: value})
        with pytest.raises(UserError, match=f'{release.CONFIG} is not valid: "{field}" must be'):
            release.ReleaseConfig.load(copy)


def test_a_later_format_asks_for_an_update(copy):
    say(copy, format=schema.FORMAT + 1)
    with pytest.raises(UserError, match="update aihealth"):
        release.ReleaseConfig.load(copy)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": ' + "1" * 5000 + "}", "\xff", "[]", "", "null"]
)
def test_json_that_is_none_is_one_sentence(copy, text):
    (copy / release.CONFIG).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=release.CONFIG):
        release.ReleaseConfig.load(copy)


@pytest.mark.parametrize("fields", [{"classes": ["A", "B"]}, {"input_size": 224}])
def test_a_model_that_does_not_fit_the_configuration(copy, fields):
    say(copy, **fields)
    with pytest.raises(UserError, match="does not fit"):
        Classifier(copy)


def arrays(folder):
    with np.load(folder / release.OOD) as file:
        return dict(file)


@pytest.mark.parametrize(
    "change",
    [
        {"scales": np.zeros((5, 2), np.float32)},
        {"scales": np.zeros(5, np.float32)},
        {"whitening_0": np.zeros((24, 23), np.float32)},
        {"centres_0": np.zeros((7, 23), np.float32)},
        {"centres_0": np.zeros((0, 24), np.float32)},
        {"centres_0": np.zeros((7, 24), complex)},
        {"centres_0": np.full((7, 24), np.nan, np.float32)},
        {"centres_0": np.full((7, 24), "a")},
    ],
)
def test_arrays_that_do_not_fit_each_other(copy, change):
    np.savez(copy / release.OOD, **(arrays(copy) | change))
    with pytest.raises(UserError, match=release.OOD):
        Classifier(copy)


def test_a_distance_of_fewer_features_than_the_model_has(copy):
    found = arrays(copy)
    found["scales"] = found["scales"][:4]
    np.savez(copy / release.OOD, **found)
    with pytest.raises(UserError, match="does not fit"):
        Classifier(copy)


def test_no_pickle_is_read(copy):
    np.savez(copy / release.OOD, **(arrays(copy) | {"scales": np.array([{"a": 1}], object)}))
    with pytest.raises(UserError, match="damaged"):
        Classifier(copy)


# === What stands beside aihealth.json ===


def change(path, field, value):
    """Set a field, "a.b.c", of a copy of the shipped release's file; or remove it (`del`)."""
    content = inside = json.loads((RELEASE / path.name).read_text())
    *above, last = field.split(".")
    for name in above:
        inside = inside[name]
    if value is del_:
        del inside[last]
    else:
        inside[last] = value
    path.write_text(json.dumps(content))


def del_():
    """Stands for a field that is missing."""


@pytest.mark.parametrize("name", [release.METRICS, release.AUDIT, release.PROVENANCE])
def test_what_the_shipped_release_says_of_itself_is_valid(name):
    assert release.read_facts(RELEASE / name)


def test_a_release_need_not_say_anything(tmp_path):
    assert release.read_facts(tmp_path / release.METRICS) == {}


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        (release.METRICS, "test", [1, [], "good", {}]),
        (release.METRICS, "test.n", [-1, 1.5, "9", True, None, del_]),
        (release.METRICS, "test.accuracy", [1.2, -0.1, math.nan, math.inf, "0.9", del_]),
        (release.METRICS, "test.recall.Covid", [2, "<b>", []]),
        (release.METRICS, "test.per_class.Covid.n", [None, "9", -1, del_]),
        (release.METRICS, "test.intervals.accuracy", [[0.1], [0.1, math.nan], 0.1, ["0", "1"]]),
        (release.METRICS, "test.per_source.nih.n", [None, del_]),
        (release.METRICS, "left_out.temperatures.nih", [None, math.nan, -1]),
        (release.METRICS, "left_out.answered.abstained", ["all", 9]),
        (release.METRICS, "left_out.answered.confusion",
         [{"classes": ["A"], "counts": [[1, 2]]}, {"classes": ["A"], "counts": [[-1]]},
          {"classes": ["../a"], "counts": [[1]]}, {"classes": ["A"]}, {}, [], None]),
        (release.METRICS, "calibration.temperature", ["1", math.nan]),
        (release.METRICS, "calibration.per_source.nih", [1, None]),
        (release.AUDIT, "dataset", [None, "a\nb", del_]),
        (release.AUDIT, "classes_from.whole_image", [None, 1, {}, del_]),
        (release.AUDIT, "processed.noise.rejected", ["much", del_]),
        (release.PROVENANCE, "command", ["python 'train.py", 1, "a\nb"]),
        (release.PROVENANCE, "seconds", ["9", math.nan, -1]),
        (release.PROVENANCE, "data", [None, {}, ["release"]]),
        (release.PROVENANCE, "settings.augment", [{"a": 1}, "a\nb"]),
        (release.PROVENANCE, "earlier_runs", [None, 1, [1], [{"continued_from": [0]}]]),
        (release.PROVENANCE, "continued_from", [[99], [-1], "release", {"epochs": {}}]),
    ],
)  # fmt: skip
def test_a_figure_that_is_wrong_is_named(tmp_path, name, field, values):
    for value in values:
        change(tmp_path / name, field, value)
        last = field.rpartition(".")[2]
        with pytest.raises(UserError, match=f"{name} is not valid: .*{last}"):
            release.read_facts(tmp_path / name)


def test_runs_in_each_other_without_end(tmp_path):
    deep = {}
    for _ in range(100):
        deep = {"continued_from": deep}
    (tmp_path / release.PROVENANCE).write_text(json.dumps(deep))
    with pytest.raises(UserError, match="more than 50 runs in each other"):
        release.read_facts(tmp_path / release.PROVENANCE)


def test_runs_that_share_their_parents_are_followed_once_each():
    runs = [{"epochs": 0}, *({"epochs": n, "continued_from": [n - 1, n - 1]} for n in range(1, 60))]
    told, _ = provenance.flatten([{"earlier_runs": runs, "continued_from": [59]}])
    assert len(told) == 61


def test_nothing_half_written_stays_when_what_writes_fails(tmp_path):
    (tmp_path / "checkpoint.part").mkdir()
    (tmp_path / "checkpoint.part" / "model.keras").write_text("half")
    (tmp_path / "metrics.json.part").write_text("half")
    (tmp_path / "metrics.json").write_text("whole")
    with pytest.raises(OSError, match="full"), release.no_part_left(tmp_path):
        raise OSError("full")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
