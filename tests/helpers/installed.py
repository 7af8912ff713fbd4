"""Virtual environments with the project's wheel and what one of its extras brings, and no more.

Nothing is downloaded: packages are links to those of the interpreter that runs the tests.
"""

import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.helpers.programs import ROOT, works

PACKAGES = Path(sysconfig.get_path("purelib"))


def build_wheel(folder):
    """Build the wheel, from a copy: setuptools leaves files beside what it builds."""
    source = folder / "source"
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("aihealth", "data_prep"):
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    recent = int(metadata.version("setuptools").partition(".")[0]) >= 77
    options = ["--no-build-isolation", "--no-index"] if recent else []
    works("-m", "pip", "wheel", "-q", "--no-deps", *options, "--wheel-dir", folder, source)
    return next(folder.glob("aihealth-*.whl"))


def install(wheel, folder, extra=None):
    """Make an environment; gives its interpreter, or None where the extra is not at hand here."""
    works("-m", "venv", "--without-pip", folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    works("-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    site = next(folder.rglob("site-packages"))
    own = metadata.Distribution.at(next(site.glob("aihealth-*.dist-info")))
    try:
        found = closure(own, {extra} if extra else set())
    except metadata.PackageNotFoundError:
        return None
    for distribution in found:
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "bin"}:
            link, target = site / name, PACKAGES / name
            if not link.exists() and target.exists() and target.suffix != ".pth":
                link.symlink_to(target)
    return python


def closure(own, extras):
    """The distributions that pip would install with the project's own."""
    found, waiting, done = {}, [(own, frozenset(extras))], set()
    while waiting:
        distribution, wanted = waiting.pop()
        name = distribution.metadata["Name"].lower().replace("_", "-")
        if (name, wanted) in done:
            continue
        done.add((name, wanted))
        if distribution is not own:
            found[name] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (*wanted, "")
            )
            if applies:
                is_own = requirement.name == own.metadata["Name"]
                other = own if is_own else metadata.distribution(requirement.name)
                waiting.append((other, frozenset(requirement.extras)))
    return list(found.values())
