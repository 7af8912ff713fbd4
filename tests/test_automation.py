"""The workflows, the pre-commit configuration and the notebook: what runs unwatched."""

import re
import subprocess

import pytest
import yaml

from tests.helpers.notebook import code_cells
from tests.helpers.programs import ROOT, works

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def steps(content):
    return [step for job in content["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_whole(path):
    content = yaml.safe_load(path.read_text())
    assert {"name", True, "permissions", "jobs"} <= set(content)  # YAML reads `on` as true.
    for job in content["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_its_shell_commands_parse(path):
    for step in steps(yaml.safe_load(path.read_text())):
        if "run" in step:
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


def test_what_comes_from_outside_reaches_the_shell_as_a_variable_only():
    """An expression within a command would let a tag's name run code."""
    for path in WORKFLOWS:
        for step in steps(yaml.safe_load(path.read_text())):
            assert "${{" not in step.get("run", "")


def test_the_tests_run_the_readmes_command_on_the_oldest_and_the_newest_python():
    content = workflow("test.yml")
    assert content["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert [s["run"] for s in steps(content) if "run" in s][-1] == "python3 run.py test"
    assert "python3 run.py test" in (ROOT / "README.md").read_text()


def test_a_tag_publishes_the_model_and_then_its_space():
    content = workflow("publish.yml")
    assert content[True]["push"]["tags"] == ["v*.*.*"]
    commands = [s["run"] for s in steps(content) if "push_to_hub.py" in s.get("run", "")]
    assert [re.search(r"push_to_hub\.py (\w+)", c)[1] for c in commands] == ["model", "space"]


def test_pre_commit_runs_the_linter_that_ci_runs():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {"ruff-check", "ruff-format"} <= {hook["id"] for repo in repos for hook in repo["hooks"]}


def test_the_notebook_names_options_that_exist():
    for script, options in re.findall(r"!python (\S+\.py)(.*)", "\n".join(code_cells())):
        told = works(script, *(["model"] * ("push" in script)), "--help")
        for option in re.findall(r"--[a-z-]+", options):
            assert option in told
