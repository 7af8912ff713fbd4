"""From training to a card and an audit, whatever the classes are called and however many."""

import pytest

from aihealth import Classifier, release
from tests.helpers.programs import inside, works
from tests.helpers.releases import make_dataset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("brightness", "arch"),
    [
        ({"Healthy": 70, "Sick": 170}, "baseline"),
        ({"Abscess": 40, "Normal": 100, "Oedema": 160, "Tuberculosis": 220}, "compact"),
    ],
    ids=["two", "four"],
)
def test_two_and_four_classes_go_the_whole_way(tmp_path, brightness, arch):
    data, out = make_dataset(tmp_path / "data", 24, brightness), tmp_path / "run"
    works("train.py", "--data", data, "--out", out, "--arch", arch, "--size", "32",
        "--augment", "light", "--batch-size", "8", "--epochs", "1")  # fmt: skip
    folder, classes = out / "release", sorted(brightness)
    assert release.ReleaseConfig.load(folder).classes == classes
    answer = Classifier(folder).predict(next((data / "test").rglob("*.png")))
    assert sorted(answer.probabilities) == classes
    if arch == "compact":  # The baseline has no heatmaps.
        assert len(answer.heatmaps) == len(classes)
    for command in ("evaluate", "audit"):
        words = ("--model", folder, "--data", data, "--out", tmp_path / command)
        done = inside("-m", "aihealth", command, *words)
        assert done.returncode == 0 and "images" in done.stdout, done.stderr
    assert f"output `(n, {len(classes)})`" in (folder / release.CARD).read_text()
