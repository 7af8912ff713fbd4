"""Where the project lives: `[project.urls]` in pyproject.toml, which a fork changes."""

import tomllib
from importlib import metadata

from aihealth import release
from aihealth.errors import UserError

PLACEHOLDER = "/ORG/"  # in an address that nobody has filled in yet


def urls() -> dict[str, str]:
    """Name to address, without those that are still placeholders."""
    try:
        text = release.in_checkout("pyproject.toml").read_text(encoding="utf-8")
        found = tomllib.loads(text)["project"].get("urls", {})
    except UserError:
        lines = metadata.metadata("aihealth").get_all("Project-URL") or []
        found = dict(line.split(", ", 1) for line in lines)
    return {name: url for name, url in found.items() if PLACEHOLDER not in url}
