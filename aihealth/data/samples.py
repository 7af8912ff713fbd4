"""Labelled images, not yet read: of a prepared dataset, of plain folders, of a dataset repo."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from aihealth.data.classes import Classes
from aihealth.data.layouts import find_images, say
from aihealth.data.manifest import MANIFEST, read_manifest
from aihealth.data.patients import find_patients
from aihealth.errors import UserError, shown
from aihealth.files import Account
from aihealth.images import ImageLike

MANY_SOURCES = 30  # more file name prefixes than this number patients or images, not hospitals


@dataclasses.dataclass(frozen=True)
class Sample:
    """One labelled image, not yet read.

    Attributes:
        name: for people.
        open: gives a path or the bytes of the file.
        label: index of the class in the release.
        source: hospital or collection.
        group: images of one group are resampled together.
    """

    name: str
    open: Callable[[], ImageLike]
    label: int
    source: str
    group: str


class Samples(list[Sample]):
    """Labelled images, and the account of all files that were looked at for them."""

    def __init__(self, samples: Iterable[Sample], account: Account | None = None) -> None:
        super().__init__(samples)
        self.account = account or Account(len(self))


def title(data: str, split: str) -> str:
    """What figures call a data set: without the path to it."""
    folder, name = Path(data), without_path(data)
    return name if folder.is_dir() and not (folder / MANIFEST).exists() else f"{name}, {split}"


def without_path(folder_or_repo: str) -> str:
    """What may be published of where something lies: a repo id, or the last name of a folder."""
    folder = Path(folder_or_repo)
    return shown(folder.resolve().name) if folder.is_dir() else folder_or_repo


def find_samples(
    data: str,
    classes: Sequence[str],
    split: str = "test",
    mapping: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> Samples:
    """List the labelled images of a prepared dataset, a plain folder or a dataset repo.

    Args:
        data: folder or repo id ("org/name" or "org/name@revision").
        classes: of the release; labels are matched to them whatever their case.
        split: of a prepared dataset or a repo.
        mapping: of a plain folder, as for `Classes.read`.
        ignored: the same.

    Raises:
        UserError: no such data or split, a class that the release does not know, or no image.
    """
    folder = Path(data)
    if folder.is_dir():
        if not (folder / MANIFEST).exists():
            return _plain(data, classes, Classes.read(classes, mapping, ignored))
        if mapping or ignored:
            raise UserError(f"--data {data} is prepared: --map and --ignore are for plain folders")
        return Samples(_prepared(folder, classes, split))
    if folder.exists():
        raise UserError(f"--data {data} is a file; give a folder or a dataset repo id")
    return Samples(_from_hub(data, classes, split))


def _prepared(folder: Path, classes: Sequence[str], split: str) -> list[Sample]:
    rows = read_manifest(folder)
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        have = ", ".join(sorted({row.split for row in rows}))
        raise UserError(f"--data {folder} has no {split} split; it has {have}")
    index = _indices({row.label for row in chosen}, classes, str(folder))
    return [
        Sample(
            row.file,
            functools.partial(Path, folder, row.file),
            index[row.label],
            row.source,
            row.group,
        )
        for row in chosen
    ]


def _plain(data: str, classes: Sequence[str], known: Classes) -> Samples:
    listing = find_images([data], known)
    say(listing.notes)
    entries = listing.entries
    prefixes = {entry.path.name.partition("_")[0] for entry in entries}
    named = len({entry.source for entry in entries}) == 1 and len(prefixes) <= MANY_SOURCES
    if named and all(_names_a_source(entry.path.name, known) for entry in entries):
        entries = [
            dataclasses.replace(entry, source=shown(entry.path.name.partition("_")[0]))
            for entry in entries
        ]
    index = {name: position for position, name in enumerate(classes)}
    samples = (
        Sample(
            entry.relative,
            functools.partial(Path, entry.path),
            index[entry.label],
            entry.source,
            f"{entry.source}/{patient}" if patient else entry.relative,
        )
        for entry, patient in zip(entries, find_patients(entries), strict=True)
    )
    return Samples(samples, listing.account)


def _names_a_source(file: str, classes: Classes) -> bool:
    """Whether a file's name starts with a source: no class, patient or number, before a "_"."""
    prefix, underscore, _ = file.partition("_")
    numbered = re.fullmatch(
        r"(patient|person|subject|pat|image|img|im|case)?[ -]?\d*", prefix, re.I
    )
    return bool(underscore) and not numbered and classes.of(prefix) is None


def _from_hub(data: str, classes: Sequence[str], split: str) -> list[Sample]:
    from aihealth.data.opening import open_splits

    splits = open_splits(data)
    if split not in splits:
        raise UserError(f"--data {data} has no {split} split; it has {', '.join(splits)}")
    rows = splits[split]
    names = rows.features["label"].names
    index = _indices(names, classes, data)
    columns = zip(rows["label"], rows["source"], rows["group"], strict=True)

    def read(position: int) -> ImageLike:
        image = rows[position]["image"]
        return image["bytes"] or image["path"]

    return [
        Sample(
            f"{split}[{position}]",
            functools.partial(read, position),
            index[names[label]],
            source,
            group,
        )
        for position, (label, source, group) in enumerate(columns)
    ]


def _indices(labels: Iterable[str], classes: Sequence[str], data: str) -> dict[str, int]:
    known = {name.casefold(): position for position, name in enumerate(classes)}
    for label in labels:
        if label.casefold() not in known:
            raise UserError(
                f"--data {data} has the class {label!r}, which the model does not know; its "
                f"classes are {', '.join(classes)}"
            )
    return {label: known[label.casefold()] for label in labels}
