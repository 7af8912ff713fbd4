"""From training to a card and an audit, whatever the classes are called and however many."""

import subprocess
import sys
from pathlib import Path

import pytest

from aihealth import Classifier, release
from tests.helpers.releases import make_dataset

ROOT = Path(__file__).resolve().parents[2]


def run(*words):
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "brightness",
    [
        {"Healthy": 70, "Sick": 170},
        {"Abscess": 40, "Normal": 100, "Oedema": 160, "Tuberculosis": 220},
    ],
    ids=len,
)
def test_two_and_four_classes_go_the_whole_way(tmp_path, brightness):
    data, out = make_dataset(tmp_path / "data", 24, brightness), tmp_path / "run"
    run("train.py", "--data", data, "--out", out, "--size", "32", "--augment", "light",
        "--batch-size", "8", "--epochs", "1")  # fmt: skip
    folder, classes = out / "release", sorted(brightness)
    assert release.ReleaseConfig.load(folder).classes == classes
    answer = Classifier(folder).predict(next((data / "test").rglob("*.png")))
    assert sorted(answer.probabilities) == classes and len(answer.heatmaps) == len(classes)
    for command in ("evaluate", "audit"):
        words = ("--model", folder, "--data", data, "--out", tmp_path / command)
        printed = run("-m", "aihealth", command, *words)
        assert "images" in printed
    assert f"output `(n, {len(classes)})`" in (folder / release.CARD).read_text()
