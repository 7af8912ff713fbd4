"""`jobs/train_and_push.py`: what Hugging Face Jobs run."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "jobs" / "train_and_push.py"


def block():
    found = re.search(r"(?m)^# /// script\n((?:#.*\n)+?)# ///$", SCRIPT.read_text())
    return tomllib.loads(re.sub(r"(?m)^# ?", "", found[1]))


def test_the_dependency_block_asks_for_what_the_project_asks_for():
    wanted = (ROOT / "requirements.txt").read_text().splitlines()
    asked = block()["dependencies"]
    assert [line for line in asked if line not in wanted] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert block()["requires-python"] == project["requires-python"]
    assert set(project["dependencies"]) <= set(asked)


def run(*words, env=None):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)], cwd=ROOT, env=env, capture_output=True,
        text=True,
    )  # fmt: skip


def test_a_job_without_a_token_says_so(hub):
    answer = run("--data", "org/data", "--repo-id", "org/model", env=hub.env())
    assert answer.returncode != 0
    assert answer.stderr.strip() == "error: HF_TOKEN is not set; on Jobs add --secrets HF_TOKEN"


@pytest.mark.slow
def test_a_job_trains_on_a_dataset_of_the_hub_and_publishes(hub, tmp_path):
    from data_prep.__main__ import main as data_prep
    from data_prep.demo import make_demo

    make_demo(tmp_path / "drawn", 36, 0)
    data_prep(["prepare", str(tmp_path / "drawn"), "--out", str(tmp_path / "ready")])
    env = hub.env(hub.token)
    pushed = subprocess.run(
        [sys.executable, "push_to_hub.py", "dataset", "--data", tmp_path / "ready",
         "--repo-id", "org/job-data"],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert pushed.returncode == 0, pushed.stderr
    done = run(
        "--data", "org/job-data", "--repo-id", "org/job-model", "--tag", "v0.1.0", "--",
        "--stream", "--arch", "baseline", "--size", 32, "--epochs", 1, "--batch-size", 16,
        env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.token not in done.stdout + done.stderr
    assert "model.tflite" in hub.commits("org/job-model")[0].files
