"""Where the radiographs lie: named roots with one folder per class, or with a list of labels.

Reads the layouts in which public collections come (docs: CONTRIBUTING), tells sources from splits,
leaves masks out, and accounts for every file.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from aihealth.data import lists
from aihealth.data.classes import CLASSES, Classes, plain
from aihealth.errors import UserError, shown, warn
from aihealth.files import NO_IMAGE, SYSTEM, Account, is_image_file, is_passed_over

__all__ = ["CLASSES", "Entry", "Listing", "find_images", "is_mask", "source_name"]

# Folders that divide or hold a collection and are never a hospital, as `plain` gives them.
_NO_SOURCE = {
    "train", "training", "trainset", "test", "testing", "testset", "val", "valid", "validation",
    "valset", "dev", "data", "dataset", "datasets", "images", "image", "imgs",
    "infectionsegmentationdata", "lungsegmentationdata",
}  # fmt: skip
# Folders of one collection that mean a class there and something else in others: the name, a
# folder within it by which the collection is known, the class.
_OF_COLLECTIONS = (("noncovid", "lung masks", "Pneumonia"),)  # COVID-QU-Ex: other infections
MASKS = "masks"
LINKS = "links to folders"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file that should be an image.

    Attributes:
        path: where it lies.
        relative: path below its root, with "/" on every system; see `aihealth.errors.shown`.
        source: name of the hospital or collection; letters, digits, "-" and ".".
        label: class.
        patient: as a list names it, None where there is none.
    """

    path: Path
    relative: str
    source: str
    label: str
    patient: str | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """What lies below the roots.

    Attributes:
        entries: the images of all classes, in a fixed order.
        classes: class names, sorted; a class may have no image.
        ignored: files that are no images, as shown to people.
        account: of every file below the roots.
        notes: sentences for people: what was not used, and how it would be.
    """

    entries: list[Entry]
    classes: tuple[str, ...]
    ignored: list[str]
    account: Account
    notes: list[str]

    def without(self) -> str | None:
        """A sentence on the classes that have no image, None where there is none."""
        missing = sorted(set(self.classes) - {entry.label for entry in self.entries})
        if not missing:
            return None
        return (
            f"there is no image of {' and none of '.join(missing)}: enough to prepare, and to "
            "train on together with data that has them"
        )


def find_images(
    roots: Sequence[str], classes: Classes | None = None, *, source_from_name: bool = False
) -> Listing:
    """List the images of several roots.

    Args:
        roots: `NAME=DIR` or `DIR`. Class folders are looked for at any depth, by any name that is
            known for a class (`DIR/Covid`, `DIR/train/NORMAL`, `DIR/Viral Pneumonia/images`). A
            root without one is read by its list of labels, see `lists`. Without a NAME the source
            is called like the root, or, where several folders of a root hold class folders
            (`DIR/hospital-a/Covid`, `DIR/hospital-b/Covid`), like each of those; folders called
            train, test and the like are none. Whatever is called mask is left out.
        classes: which folder is which class; this project's three by default.
        source_from_name: in roots without a NAME, take the source of each file from its own name,
            up to the first underscore (`nih_00000061_012.jpg` comes from nih), if it has one.

    Raises:
        UserError: a root that is no folder or has neither class folders nor a list, a class folder
            within another's or without images, or an option that names a folder that is not there.
    """
    classes = classes or Classes()
    entries: list[Entry] = []
    ignored: list[str] = []
    notes: list[str] = []
    account = Account()
    names: list[str] = []  # of folders and findings
    for root in roots:
        name, folder = split_root(root)
        tree = _Tree(folder, classes)
        names += tree.names
        if tree.found:
            placed = tree.placed(name)
        else:
            listed = lists.read(folder, [file for file, _ in tree.outside], classes)
            if listed is None:
                raise UserError(tree.no_class_folder())
            names += listed.findings
            notes += listed.notes
            tree.account.add(listed.account)
            tree.outside = []
            source = name or own_name(folder)
            placed = [
                (row.file, source_name(name or row.source or source), row.label, row.patient)
                for row in listed.rows
            ]
        notes += tree.notes()
        account.add(tree.account)
        ignored += [f"{shown(name or own_name(folder))}: {shown(file)}" for file in tree.others]
        for file, source, label, patient in placed:
            front, underscore, _ = os.path.basename(file).partition("_")
            by_name = source_from_name and name is None and underscore
            own = source_name(front) if by_name else source
            entries.append(Entry(folder / file, shown(file), own, label, patient))
    if unused := classes.unused(names):
        option = "--map" if unused[0] in classes.mapping else "--ignore"
        raise UserError(f"{option} {unused[0]}: no folder or finding is called so")
    entries.sort(key=lambda entry: (entry.source, entry.relative))
    account.used = len(entries)
    return Listing(entries, classes.names, sorted(ignored), account, notes)


def is_mask(pixels: np.ndarray) -> bool:
    """Whether grey levels `(h, w)` are an outline and no radiograph: two levels, or nearly so.

    A JPEG blurs the outline's border, so 2% of the pixels may lie in between.
    """
    low, high = int(pixels.min()), int(pixels.max())
    between = (high - low) // 16 if high - low >= 64 else 0
    sides = (pixels <= low + between) | (pixels >= high - between)
    return high > low and float(sides.mean()) >= (0.98 if between else 1.0)


def source_name(text: str) -> str:
    """Make a source's name fit for the front of file names, which ends at the first underscore.

    >>> source_name("St. Mary_2")
    'St.-Mary-2'
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
    if not name:
        raise UserError(f"{text!r} is no name for a source: it needs a letter or a digit")
    return name


def split_root(root: str) -> tuple[str | None, Path]:
    """Name and folder of DIR or NAME=DIR; None for a folder without a name.

    Raises:
        UserError: there is no such folder, or the name is none for a source.
    """
    name, equals, folder = root.partition("=")
    if not equals or os.path.isdir(root):
        name, folder = "", root
    if equals and not folder:
        raise UserError(f"{root}: NAME=DIR needs a folder after the equals sign")
    if not os.path.isdir(folder):
        raise UserError(f"{folder} is not a folder; give the folder that holds the class folders")
    return (source_name(name) if name else None), Path(folder)


def own_name(folder: Path) -> str:
    """The name of a root, or of what it is a split of (`kaggle/train`: kaggle)."""
    folder = folder.resolve()
    chosen = next((p for p in (folder, *folder.parents) if plain(p.name) not in _NO_SOURCE), folder)
    return chosen.name or folder.name


class _Tree:
    """Every file below a root, told apart: class folders, folders that are none, masks, the rest.

    Attributes:
        names: paths of all folders, for the options that name one.
        found: files of class folders: path, class, path of the outermost folder of that class.
        outside: images in no class folder, and the path of the folder that they are in.
        others: files that are no images.
        account: of what is neither found nor outside.
    """

    def __init__(self, root: Path, classes: Classes) -> None:
        self.root, self.classes = root, classes
        self.names: list[str] = []
        self.found: list[tuple[str, str, str]] = []
        self.outside: list[tuple[str, str]] = []
        self.others: list[str] = []
        self.account = Account()
        self._tops: dict[str, str] = {}  # outermost folders of a class, and the class
        self._walk("", None, None)
        full = {label for _, label, _ in self.found}
        if empty := [top for top, label in self._tops.items() if label not in full]:
            raise UserError(
                f"{self.root / empty[0]} has no images in it; put some there or remove the folder"
            )

    def _walk(self, folder: str, label: str | None, top: str | None) -> None:
        try:
            with os.scandir(self.root / folder) as scan:
                items = sorted(scan, key=lambda item: item.name)
        except OSError as error:
            place = self.root / folder
            raise UserError(f"the folder {place} cannot be listed: {error.strerror}") from error
        for item in items:
            path = f"{folder}/{item.name}" if folder else item.name
            if not item.is_dir():
                self._file(path, label, top, folder)
            elif is_passed_over(item.name):
                self._leave_out(path, SYSTEM)
            elif self.classes.is_ignored(path):
                self.names.append(path)
                self._leave_out(path, f"in {item.name}, as asked")
            elif "mask" in item.name.lower():
                self._leave_out(path, MASKS)
            else:
                self.names.append(path)
                own, its_top = self._class_of(path, label, top)
                if item.is_symlink() and (own is None or label):  # It may lead back here.
                    self.account.left_out[LINKS] += 1
                    continue
                if own and its_top == path:
                    self._tops[path] = own
                self._walk(path, own, its_top)

    def _class_of(
        self, path: str, label: str | None, top: str | None
    ) -> tuple[str | None, str | None]:
        """Class of a folder and its outermost folder of that class, given those of its parent."""
        mapped, name = self.classes.mapped(path), os.path.basename(path)
        own = mapped or self.classes.of(name) or self._of_collection(path)
        if own is None or own == label:
            return label, top
        if label and not mapped:
            raise UserError(
                f"{self.root / path}, a folder of {own}, lies in {top}, a folder of {label}; say "
                f'what it is with --map "{name}={own}" or --map "{name}={label}", or leave it '
                f'out with --ignore "{name}"'
            )
        return own, path

    def _of_collection(self, path: str) -> str | None:
        name = plain(os.path.basename(path))
        known = (
            label
            for its_name, within, label in _OF_COLLECTIONS
            if name == its_name and (self.root / path / within).is_dir()
        )
        return next((label for label in known if label in self.classes.names), None)

    def _file(self, path: str, label: str | None, top: str | None, folder: str) -> None:
        name = os.path.basename(path)
        if is_passed_over(name):
            self.account.left_out[SYSTEM] += 1
        elif not is_image_file(self.root / path):
            self.account.left_out[NO_IMAGE] += 1
            self.others.append(path)
        elif "mask" in name.lower():
            self.account.left_out[MASKS] += 1
        elif label and top:
            self.found.append((path, label, top))
        else:
            self.outside.append((path, folder))

    def _leave_out(self, path: str, reason: str) -> None:
        count = sum(len(files) for _, _, files in os.walk(self.root / path))
        self.account.left_out[reason] += count

    def placed(self, name: str | None) -> list[tuple[str, str, str, None]]:
        """Path, source, class and no patient of each file in a class folder."""
        anchors = {top: self._anchor(top) for top in self._tops}
        several = len(set(anchors.values())) > 1
        whole = name or source_name(own_name(self.root))
        names = {
            top: source_name(os.path.basename(anchor)) if several and anchor and not name else whole
            for top, anchor in anchors.items()
        }
        return [(path, names[top], label, None) for path, label, top in self.found]

    def _anchor(self, top: str) -> str:
        """The folder that a class folder lies in and that may name a hospital; "" for the root."""
        parts = top.split("/")
        paths = ("/".join(parts[: end + 1]) for end in range(len(parts)))
        outermost = next(path for path in paths if path in self._tops)  # one may lie in another
        folder = os.path.dirname(outermost)
        while folder and plain(os.path.basename(folder)) in _NO_SOURCE:
            folder = os.path.dirname(folder)
        return folder

    def unused(self) -> dict[str, int]:
        """Images in no class folder, by the outermost folder without one ("" beside them)."""
        holders = {""}
        for top in self._tops:
            while top := os.path.dirname(top):
                holders.add(top)
        counts: collections.Counter[str] = collections.Counter()
        for _, folder in self.outside:
            parts = folder.split("/") if folder else []
            paths = ["/".join(parts[: end + 1]) for end in range(len(parts))]
            first = next((path for path in paths if path not in holders), "")
            counts[os.path.basename(first)] += 1
        return dict(counts)

    def notes(self) -> list[str]:
        """A sentence for each folder that was not used; counts its images in the account."""
        found = self.unused()
        for name, count in found.items():
            reason = f"in {shown(name)}" if name else "beside class folders"
            self.account.left_out[reason] += count
        return [
            not_used(f"folder {shown(name)}", name, count, self.classes)
            for name, count in sorted(found.items())
            if name
        ]

    def no_class_folder(self) -> str:
        """The sentence for a root in which nothing is known."""
        counts: collections.Counter[str] = collections.Counter()
        for _, folder in self.outside:
            parts = [part for part in folder.split("/") if plain(part) not in _NO_SOURCE]
            counts.update([part for part in parts if part][-1:])
        most = counts.most_common(8)
        found = ", ".join(f"{shown(name)} ({count} images)" for name, count in most)
        text = (
            f"{self.root} has no class folders and no list of labels that is known; it should hold "
            f"{', '.join(self.classes.names)} with images in them"
        )
        if not found:
            return text
        return f"{text}; it has {found}: say which is which with --map FOLDER=CLASS or --classes"


def not_used(what: str, name: str, count: int, classes: Classes) -> str:
    """The sentence for a folder or finding that is no class."""
    wider = ",".join([*classes.names, name])
    return (
        f"the {what} with {count} images is none of {', '.join(classes.names)} and was left out; "
        f'use it with --map "{name}={classes.names[-1]}" or --classes "{wider}", or leave it out '
        f'in silence with --ignore "{name}"'
    )


def say(notes: Iterable[str]) -> None:
    """Print notes on the standard error."""
    for note in notes:
        warn(note)
