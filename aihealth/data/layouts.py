"""Where the radiographs lie: named roots with one folder per class."""

import dataclasses
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aihealth.errors import UserError, shown
from aihealth.files import is_image_file

CLASSES = ("Covid", "Normal", "Pneumonia")

# Folder names that mean a class, lower case and without spaces, "-" and "_".
_FOLDERS = {name.lower(): name for name in CLASSES} | {"covid19": "Covid"}


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file that should be an image.

    Attributes:
        path: where it lies.
        relative: path below its root, with "/" on every system; see `aihealth.errors.shown`.
        source: name of the hospital or collection; letters, digits, "-" and ".".
        label: one of `CLASSES`.
    """

    path: Path
    relative: str
    source: str
    label: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """What lies below the roots.

    Attributes:
        entries: files in class folders whose names say that they are images, in a fixed order.
        ignored: other files in class folders, as shown to people.
    """

    entries: list[Entry]
    ignored: list[str]


def find_images(roots: Sequence[str], *, source_from_name: bool = False) -> Listing:
    """List the images of several roots.

    Args:
        roots: `NAME=DIR` or `DIR`. Class folders are looked for at any depth, whatever their case
            (`DIR/Covid`, `DIR/DataSet/COVID`). Without a NAME the source is called like the root,
            or, where several folders of a root hold class folders (`DIR/hospital-a/Covid`,
            `DIR/hospital-b/Covid`), like each of those. Folders called masks are left out.
        source_from_name: in roots without a NAME, take the source of each file from its own name,
            up to the first underscore (`nih_00000061_012.jpg` comes from nih), if it has one.

    Raises:
        UserError: a root that is no folder or has no class folder, an empty class folder, or a
            class that no root has.
    """
    entries: list[Entry] = []
    ignored: list[str] = []
    for root in roots:
        name, folder = _split_root(root)
        class_folders = _class_folders(folder)
        parents = {path.parent for path, _ in class_folders}
        for path, label in class_folders:
            if name is not None:
                source = name
            elif len(parents) > 1:
                source = path.parent.name
            else:
                source = folder.resolve().name
            found = 0
            for file in without_masks(path, _files(path)):
                relative = shown(file.relative_to(folder).as_posix())
                if not is_image_file(file):
                    ignored.append(f"{shown(source)}: {relative}")
                    continue
                front, underscore, _ = file.name.partition("_")
                by_name = source_from_name and name is None and underscore
                own = source_name(front if by_name else source)
                entries.append(Entry(file, relative, own, label))
                found += 1
            if not found:
                raise UserError(f"{path} has no images in it; put some there or remove the folder")
    missing = sorted(set(CLASSES) - {entry.label for entry in entries})
    if missing:
        raise UserError(
            f"there is no folder {' and no folder '.join(missing)} in {', '.join(roots)}; "
            f"the classes are {', '.join(CLASSES)}"
        )
    entries.sort(key=lambda entry: (entry.source, entry.relative))
    return Listing(entries, sorted(ignored))


def without_masks(folder: Path, files: Iterable[Path]) -> list[Path]:
    """Leave out what lies in folders called "masks", in any case, and say so on the standard error.

    Kaggle's COVID-19 Radiography Database has outlines of the lungs there, beside its films:
    `COVID/images`, `COVID/masks`.
    """
    files = list(files)
    films = [
        file
        for file in files
        if "masks" not in map(str.lower, file.relative_to(folder).parent.parts)
    ]
    if len(films) < len(files):
        print(
            f"warning: {folder}: {len(files) - len(films)} files in folders called masks are no "
            "films; left out",
            file=sys.stderr,
        )
    return films


def source_name(text: str) -> str:
    """Make a source's name fit for the front of file names, which ends at the first underscore.

    >>> source_name("St. Mary_2")
    'St.-Mary-2'
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
    if not name:
        raise UserError(f"{text!r} is no name for a source: it needs a letter or a digit")
    return name


def _split_root(root: str) -> tuple[str | None, Path]:
    name, equals, folder = root.partition("=")
    if not equals or os.path.isdir(root):
        name, folder = "", root
    if equals and not folder:
        raise UserError(f"{root}: NAME=DIR needs a folder after the equals sign")
    if not os.path.isdir(folder):
        raise UserError(f"{folder} is not a folder; give the folder that holds the class folders")
    return (source_name(name) if name else None), Path(folder)


def _class_folders(root: Path) -> list[tuple[Path, str]]:
    found = []
    for folder, subfolders, _ in os.walk(root):
        subfolders.sort()
        for name in list(subfolders):
            label = _FOLDERS.get(re.sub(r"[ _-]", "", name.lower()))
            if label:
                found.append((Path(folder, name), label))
                subfolders.remove(name)  # What lies below belongs to this class.
            elif name.startswith("."):
                subfolders.remove(name)
    if not found:
        raise UserError(
            f"{root} has no class folders; it should hold {', '.join(CLASSES)} with images in them"
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    for parent, subfolders, names in os.walk(folder):
        subfolders.sort()
        for name in sorted(names):
            yield Path(parent, name)
