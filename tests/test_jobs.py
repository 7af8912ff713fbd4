"""`jobs/train_and_push.py`: what Hugging Face Jobs run."""

import re
import shutil
import tomllib

import pytest

from tests.helpers import programs
from tests.helpers.programs import ROOT

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
    return programs.run(SCRIPT, *words, env=env)


def test_a_job_without_a_token_says_so(hub):
    answer = run("--data", "org/data", "--repo-id", "org/model", env=hub.env())
    assert answer.returncode != 0
    assert answer.stderr.strip() == "error: HF_TOKEN is not set; on Jobs add --secrets HF_TOKEN"


@pytest.mark.slow
def test_a_job_trains_on_a_dataset_of_the_hub_and_publishes(hub, drawings):
    env = hub.env(hub.token)
    words = ("dataset", "--data", drawings, "--repo-id", "org/job-data")
    pushed = programs.inside("push_to_hub.py", *words, token=hub.token)
    assert pushed.returncode == 0, pushed.stderr
    done = run(
        "--data", "org/job-data", "--repo-id", "org/job-model", "--tag", "v0.1.0", "--",
        "--stream", "--arch", "baseline", "--size", 32, "--epochs", 1, "--batch-size", 16,
        env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.token not in done.stdout + done.stderr
    assert "model.tflite" in hub.commits("org/job-model")[0].files

    # What stands against publishing is said before the training, which takes hours.
    second = ("--repo-id", "org/job-model", "--data", "org/job-data")
    refused = run(*second, "--tag", "v0.1.0", env=env)
    assert refused.returncode == 2 and "already has the tag v0.1.0" in refused.stderr
    refused = run(*second, "--data", "org/other", env=env)
    assert refused.returncode == 2 and "say with --regression-data" in refused.stderr


def test_a_release_that_is_there_is_published_without_a_training_and_kept_when_refused(
    tmp_path, monkeypatch
):
    (tmp_path / "jobs").mkdir()
    shutil.copy(SCRIPT, tmp_path / "jobs")
    (tmp_path / "run" / "release").mkdir(parents=True)
    (tmp_path / "train.py").write_text("raise SystemExit('trained')")
    (tmp_path / "push_to_hub.py").write_text(
        "import sys\nprint(sys.argv)\nsys.exit(0 if '--check' in sys.argv else 2)"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    done = programs.run(
        tmp_path / "jobs" / SCRIPT.name, "--data", "org/a", "--data", "org/b", "--repo-id", "org/c",
        "--regression-data", "org/a", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 2 and "trained" not in done.stderr
    assert f"the release is in {tmp_path / 'run' / 'release'}" in done.stderr
    assert done.stdout.count("'--regression-data', 'org/a'") == 2
