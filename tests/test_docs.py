"""README and docs: short enough to read, links that lead somewhere, code that runs."""

import functools
import re

import pytest

from tests.helpers.programs import ROOT, works

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#[^)]*)?\)", text):
        assert not target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page):
    """Folders and files of the project in code font, with their suffix or a closing slash."""
    if page.name == "lab-notebook.md":
        pytest.skip("a record of what was")
    top = "aihealth|data_prep|docs|jobs|space|tests|benchmarks|release"
    for name in re.findall(rf"`((?:{top})/[\w./-]*(?:\.\w+|/))`", page.read_text()):
        assert (ROOT / name).exists(), name


def test_the_readme_is_read_in_minutes_and_starts_with_what_to_run():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 140
    assert any("python3 run.py demo" in line for line in lines[:30])
    assert any("Not a medical device" in line for line in lines[:14])


def test_the_readmes_python_runs():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "Covid" in works("-c", block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_options_that_exist(page):
    if page.name == "lab-notebook.md":
        pytest.skip("a record of what was")
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^(?:\w+=\S+ )*python3? (.+)$", text, re.MULTILINE):
        line = line.partition("#")[0].partition(" -- ")[0]
        words = line.split()
        script = ["-m", words[1]] if words[0] == "-m" else [words[0]]
        rest = words[len(script) :]
        if script[-1] not in ("train.py", "push_to_hub.py", "aihealth", "data_prep"):
            continue
        command = rest[:1] if script[-1] != "train.py" else []
        told = _help(*script, *command)
        for option in re.findall(r"(?<=\s)--[a-z-]+", f" {line}"):
            assert option in told, f"{line}: {option}"


@functools.cache
def _help(*words):
    return works(*words, "--help")
