"""Which images a training leaves out."""

import numpy as np
import pytest

from aihealth.data.left_out import LeftOut, folders_without
from aihealth.errors import UserError

KNOWN = {"ieee", "aihealth", "nih", "org/data"}
CLASSES = ["Covid", "Normal"]
SOURCES = np.array(["ieee", "aihealth", "aihealth", "nih", "org/data"])
LABELS = np.array(["Normal", "Covid", "Normal", "Covid", "Normal"])


@pytest.mark.parametrize(
    ("text", "measured", "covered"),
    [
        ("nih", [3], [3]),
        ("org/data", [4], [4]),
        ("nih+org/data", [3, 4], [3, 4]),
        ("ieee+aihealth/Covid", [0], [0, 1]),
        ("ieee+org/data/Normal", [0], [0, 4]),
    ],
)
def test_what_is_measured_and_what_training_must_not_see(text, measured, covered):
    fold = LeftOut.parse(text, KNOWN, CLASSES)
    assert np.flatnonzero(fold.measured(SOURCES)).tolist() == measured
    assert np.flatnonzero(fold.covers(SOURCES, LABELS)).tolist() == covered


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mars", "--leave-out mars: the data's sources are aihealth, ieee, nih, org/data"),
        ("nih+mars", "--leave-out mars: "),
        ("ieee+aihealth/Flu", "--leave-out aihealth/Flu: "),
        ("", "--leave-out : "),
        ("aihealth/Covid", "--leave-out aihealth/Covid: a whole source is needed besides"),
    ],
)
def test_what_is_no_source_is_refused(text, said):
    with pytest.raises(UserError) as refused:
        LeftOut.parse(text, KNOWN, CLASSES)
    assert str(refused.value).startswith(said)


def test_the_folders_of_a_source_that_is_left_out_go_with_it(tmp_path):
    for name in ("tb", "lateral"):
        (tmp_path / name).mkdir()
    roots = [f"pakistan={tmp_path / 'tb'}", str(tmp_path / "lateral")]
    found = [("pakistan", tmp_path / "tb"), (None, tmp_path / "lateral")]
    assert folders_without(roots, None) == folders_without(roots, "nih") == found
    assert folders_without(roots, "pakistan") == found[1:]
    assert folders_without(roots, "nih+pakistan") == found[1:]
    with pytest.raises(UserError, match="is not a folder"):
        folders_without([str(tmp_path / "none")], None)
