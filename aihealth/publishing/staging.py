"""Which files a repo may consist of, and how they get into the temporary folder that is sent."""

import fnmatch
import io
import os
import shutil
from collections.abc import Collection, Iterable
from importlib import resources
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from aihealth import release
from aihealth.data.manifest import DRAWN_KEY, DRAWN_TEXT
from aihealth.errors import UserError, shown

PACKAGE = Path(release.__file__).parent
TEMPLATES = resources.files("aihealth.publishing") / "templates"
REQUIREMENTS = "requirements.txt"  # of a Space, and what Inference Endpoints installs first

# What systems and tools leave in a folder; no repo wants it and nobody misses it.
CLUTTER = (
    ".DS_Store", "Thumbs.db", "desktop.ini", "__pycache__", "*.pyc", "*.part",
    ".cache", ".gitattributes", ".gitignore", ".ipynb_checkpoints",
)  # fmt: skip
SHOWN = 20  # names in a refusal


def collect(
    folder: Path, allowed: Collection[str], what: str, *, without: Collection[str] = ()
) -> dict[str, Path]:
    """The files of a folder that is to be published, if all of them may be.

    Args:
        folder: on this machine.
        allowed: paths within it, "/" between folders; `*` stands for any part of one name.
        what: the folder's kind, for people.
        without: folders directly in it that belong to something else.

    Returns:
        Path within the folder to file, sorted.

    Raises:
        UserError: a file of another name, which could be a key or a patient's image, or a link
            that leads out of the folder.
    """
    exact = frozenset(name for name in allowed if "*" not in name)
    patterns = [name.split("/") for name in allowed if "*" in name]
    found, strangers, links = {}, [], []
    for name, path in _walk(folder):
        if name.split("/")[0] in without:
            continue
        if path.is_symlink() and (path.is_dir() or not _lies_in(path, folder)):
            links.append(name)
        elif path.is_file() and (name in exact or _matches(name, patterns)):
            found[name] = path
        else:
            strangers.append(name)
    if links:
        raise UserError(
            f"{folder} holds links that lead elsewhere: {_listed(links)}; nothing was published: "
            "put the files themselves there, or remove the links"
        )
    if strangers:
        raise UserError(
            f"{folder} holds what is no part of {what}: {_listed(strangers)}; nothing was "
            "published: move it elsewhere"
        )
    return dict(sorted(found.items()))


def _walk(folder: Path) -> Iterable[tuple[str, Path]]:
    """Every file and every link, but clutter; links are not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_clutter(name)]
        linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in [*files, *linked]:
            if not _is_clutter(name):
                path = Path(root, name)
                yield path.relative_to(folder).as_posix(), path


def _is_clutter(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in CLUTTER)


def _lies_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _matches(name: str, patterns: Iterable[list[str]]) -> bool:
    parts = name.split("/")
    return any(
        len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))
        for pattern in patterns
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shown(name) for name in sorted(names)[:SHOWN]) + more


def copy(source: Path, target: Path) -> None:
    """Copy a file into a folder that may not be there yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def add_serving_modules(into: Path) -> None:
    """The modules of `aihealth` that serving needs, for those who have no `aihealth` installed."""
    for name in release.SERVING_MODULES:
        copy(PACKAGE / name, into / "aihealth" / name)


def example(size: int | None = None) -> Image.Image:
    """The drawn radiograph that travels with the package, marked as drawn.

    Args:
        size: side in pixels; 224, as it is stored, by default.
    """
    picture = Image.open(io.BytesIO((TEMPLATES / "example.png").read_bytes()))
    picture.load()
    return picture if size is None else picture.resize((size, size), Image.Resampling.BILINEAR)


def drawn_mark() -> PngInfo:
    """For `Image.save`: says of a PNG that it is drawn."""
    mark = PngInfo()
    mark.add_text(DRAWN_KEY, DRAWN_TEXT)
    return mark
