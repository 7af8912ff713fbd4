"""The project's addresses stand in one place, which a fork changes."""

import tomllib
from pathlib import Path

import yaml

from aihealth.publishing import project

ROOT = Path(project.__file__).parents[2]


def test_the_citation_names_the_same_repository_and_version():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == stated["urls"]["Repository"]
    assert (citation["version"], citation["license"]) == (stated["version"], stated["license"])


def test_an_address_that_nobody_filled_in_is_not_shown(tmp_path, monkeypatch):
    file = tmp_path / "pyproject.toml"
    file.write_text(
        "[project.urls]\nRepository = 'https://github.com/lab/aihealth'\n"
        "Space = 'https://huggingface.co/spaces/ORG/aihealth'\n"
    )
    monkeypatch.setattr(project.release, "in_checkout", lambda name: file)
    assert project.urls() == {"Repository": "https://github.com/lab/aihealth"}
