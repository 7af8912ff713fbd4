"""The one way to open labelled images: a prepared dataset, plain class folders, a dataset repo.

Whatever it is, a `DataSet` lists its images as `Sample`s; no pixel is read until a sample is. Two
things are not opened here: images without labels, any number of them (`archive`), and datasets that
fit neither memory nor disk, whose rows exist only while they pass (`streaming`).
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from aihealth import hub, images
from aihealth.data.classes import Classes
from aihealth.data.layouts import find_images, say, split_root
from aihealth.data.manifest import (
    MANIFEST,
    Row,
    classes_of,
    dataset_fingerprint,
    read_manifest,
)
from aihealth.data.patients import find_patients
from aihealth.errors import UserError, first_line, shown
from aihealth.files import Account, suffix_is_image

SPLITS = ("train", "validation", "test")
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
MANY_SOURCES = 30  # more file name prefixes than this number patients or images, not hospitals


@dataclasses.dataclass(frozen=True)
class Sample:
    """One labelled image, not yet read.

    Attributes:
        name: for people.
        read: gives the bytes of the file, or raises `ImageError`.
        label: index of the class.
        source: hospital or collection.
        group: images of one group are resampled together.
    """

    name: str
    read: Callable[[], bytes]
    label: int
    source: str
    group: str


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Labelled images that were found, and not read.

    Attributes:
        root: the folder or repo.
        classes: class names, sorted; a class may have no image.
        splits: the images of each split; plain folders have none and come as one, called "".
        account: of the files of plain folders.
    """

    root: str
    classes: list[str]
    splits: dict[str, list[Sample]]
    account: Account | None = None

    def split(self, name: str) -> list[Sample]:
        """The images of a split, of plain folders all.

        Raises:
            UserError: there is no such split.
        """
        if "" in self.splits:
            return self.splits[""]
        if name not in self.splits:
            have = ", ".join(sorted(self.splits))
            raise UserError(f"--data {self.root} has no {name} split; it has {have}")
        return self.splits[name]


def open_dataset(root: str, plain: Classes | None = None) -> DataSet:
    """List the images of a data set.

    Args:
        root: a prepared folder or a dataset repo ("org/name" or "org/name@revision"); with `plain`
            also a folder, or SOURCE=DIR, in a layout of `layouts.find_images`.
        plain: what the folders of such a layout mean.

    Raises:
        UserError: no such folder or repo, not prepared, or no image.
    """
    folder = Path(root)
    if folder.is_file():
        raise UserError(f"--data {root} is a file; give a folder or a dataset repo id")
    if folder.is_dir() and (plain is None or (folder / MANIFEST).exists()):
        return _open_prepared(folder)
    if plain is not None and (folder.is_dir() or "=" in root):
        return _open_plain(root, plain)
    return _open_repo(root)


def open_test(
    data: str,
    classes: Sequence[str],
    split: str = "test",
    mapping: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> tuple[list[Sample], Account]:
    """The images to measure a release on, labelled as it labels them, and the account of the files.

    Args:
        data: as for `open_dataset`.
        classes: of the release; labels are matched to them whatever their case.
        split: of a prepared dataset or a repo.
        mapping: of a plain folder, as for `Classes.read`.
        ignored: the same.

    Raises:
        UserError: no such data or split, a class that the release does not know, or no image.
    """
    if (mapping or ignored) and (Path(data) / MANIFEST).exists():
        raise UserError(f"--data {data} is prepared: --map and --ignore are for plain folders")
    meant = Classes.read(classes, mapping, ignored)
    opened = open_dataset(data, meant)
    samples = opened.split(split)
    known = {name.casefold(): position for position, name in enumerate(classes)}
    there = {sample.label for sample in samples}
    for name in (opened.classes[label] for label in sorted(there)):
        if name.casefold() not in known:
            raise UserError(
                f"--data {data} has the class {name!r}, which the model does not know; its "
                f"classes are {', '.join(classes)}"
            )
    index = {label: known[opened.classes[label].casefold()] for label in there}
    samples = [dataclasses.replace(sample, label=index[sample.label]) for sample in samples]
    return samples, opened.account or Account(len(samples))


def title(data: str, split: str) -> str:
    """What figures call a data set: without the path to it."""
    folder, name = Path(data), without_path(data)
    return name if folder.is_dir() and not (folder / MANIFEST).exists() else f"{name}, {split}"


def without_path(folder_or_repo: str) -> str:
    """What may be published of where something lies: a repo id, or the last name of a folder."""
    folder = Path(folder_or_repo)
    return shown(folder.resolve().name) if folder.is_dir() else folder_or_repo


def fingerprint(root: str) -> str:
    """Digest of a dataset: the same for the same images, labels and splits.

    For a prepared folder that of its manifest, for one of Parquet files that of their names and
    sizes, for a repo its commit.
    """
    shards = sorted(Path(root).rglob("*.parquet")) if os.path.isdir(root) else []
    if shards:
        said = [(str(path.relative_to(root)), path.stat().st_size) for path in shards]
        return hashlib.sha256(repr(said).encode()).hexdigest()
    if os.path.isdir(root):
        return dataset_fingerprint(root)
    _, _, commit = look_up(root)
    return commit


def look_up(root: str) -> tuple[str, str | None, str]:
    """Repo id and revision of a dataset repo, and the commit that it is at.

    Raises:
        UserError: no such repo or revision, no access, or no way to reach the Hub.
    """
    repo_id, revision = hub.parse(root)
    _, commit = hub.resolve(
        repo_id, repo_type="dataset", revision=revision, allow_patterns=["README.md"]
    )
    return repo_id, revision, commit


def class_names(root: str, features: "datasets.Features") -> list[str]:  # noqa: F821
    """The classes of a dataset of `datasets`.

    Raises:
        UserError: it has not the columns `image` and `label`.
    """
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(f"--data {root} has no columns image and label (ClassLabel)")
    return list(features["label"].names)


def _file(name: str, path: Path, label: int, source: str, group: str) -> Sample:
    return Sample(name, functools.partial(images.read_bytes, path), label, source, group)


def _datasets() -> ModuleType:
    """The library, imported when it is needed; its bars are for terminals."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


@contextlib.contextmanager
def reading(root: str) -> Iterator[None]:
    """Say in a sentence what `datasets` or Arrow cannot read.

    Raises:
        UserError: the data is at fault.
        OSError: the disk is full: `datasets` keeps a copy.
    """
    import datasets
    import pyarrow

    kinds = (datasets.exceptions.DatasetsError, pyarrow.ArrowException, ValueError, OSError)
    try:
        yield
    except kinds as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in _FULL:
                raise OSError(cause.errno, cause.strerror, cause.filename) from error
            cause = cause.__cause__ or cause.__context__
        raise UserError(f"--data {root} cannot be read: {first_line(error)}") from error


# === Prepared folders ===


def _open_prepared(folder: Path) -> DataSet:
    """What `datasets` reads of an imagefolder, with source and group from the manifest."""
    rows, classes = {row.file: row for row in read_manifest(folder)}, classes_of(folder)
    splits: dict[str, list[Sample]] = {}

    def add(name: str, label: str, row: Row) -> None:
        if label not in classes:
            raise UserError(f"{folder} has images of {label}, no class of it; prepare it again")
        sample = _file(name, folder / name, classes.index(label), row.source, row.group)
        splits.setdefault(row.split, []).append(sample)

    for dataset in _imagefolder(folder).values():
        names = dataset.features["label"].names
        for image, label in zip(dataset["image"], dataset["label"], strict=True):
            # Paths as the manifest has them: split/class/name.
            name = "/".join(Path(image["path"]).parts[-3:])
            if name not in rows:
                raise UserError(f"{folder / name} is not in the manifest; prepare the data again")
            add(name, names[label], rows.pop(name))
    for name, row in rows.items():  # What is gone is said when it is read.
        add(name, row.label, row)
    return DataSet(str(folder), classes, splits)


def _imagefolder(folder: Path) -> "dict[str, datasets.Dataset]":  # noqa: F821
    """The splits of a folder, undecoded."""
    datasets = _datasets()
    # Without them `datasets` tries dozens of patterns, each a walk through all files.
    files = {
        split: f"{split}/**"
        for split in SPLITS
        if any(suffix_is_image(path) for path in (folder / split).glob("*/*"))
    }
    if not files:
        return {}
    with reading(str(folder)):
        # Labels even where a hospital has one class only.
        found = datasets.load_dataset(
            "imagefolder", data_dir=str(folder), data_files=files, drop_labels=False
        )
    if "label" not in next(iter(found.values())).features:
        raise UserError(f"--data {folder} has no class folders; prepare it again")
    stored = datasets.Image(decode=False)
    return {split: dataset.cast_column("image", stored) for split, dataset in found.items()}


# === Plain folders ===


def _open_plain(root: str, known: Classes) -> DataSet:
    listing = find_images([root], known)
    say(listing.notes)
    entries, classes = listing.entries, list(known.names)
    fronts = [entry.path.name.partition("_")[0] for entry in entries]
    if (
        split_root(root)[0] is None
        and len({entry.source for entry in entries}) == 1
        and len(set(fronts)) <= MANY_SOURCES
        and all(_names_a_source(entry.path.name, known) for entry in entries)
    ):
        pairs = zip(entries, fronts, strict=True)
        entries = [dataclasses.replace(entry, source=shown(front)) for entry, front in pairs]
    samples = [
        _file(
            entry.relative,
            entry.path,
            classes.index(entry.label),
            entry.source,
            f"{entry.source}/{patient}" if patient else entry.relative,
        )
        for entry, patient in zip(entries, find_patients(entries), strict=True)
    ]
    return DataSet(root, classes, {"": samples}, listing.account)


def _names_a_source(file: str, classes: Classes) -> bool:
    """Whether a file's name starts with a source: no class, patient or number, before a "_"."""
    prefix, underscore, _ = file.partition("_")
    numbered = re.fullmatch(
        r"(patient|person|subject|pat|image|img|im|case)?[ -]?\d*", prefix, re.I
    )
    return bool(underscore) and not numbered and classes.of(prefix) is None


# === Repos ===


def _open_repo(root: str) -> DataSet:
    datasets = _datasets()
    # The Hub client's errors are sentences already; what is left is about the content.
    repo_id, revision, _ = look_up(root)
    with reading(root):
        found = datasets.load_dataset(repo_id, revision=revision)
    classes = class_names(root, found[next(iter(found))].features)
    splits = {split: _rows(found[split], repo_id, split) for split in SPLITS if split in found}
    return DataSet(root, classes, splits)


def _rows(dataset: "datasets.Dataset", repo_id: str, split: str) -> list[Sample]:  # noqa: F821
    import datasets

    count = len(dataset)
    stored = dataset.cast_column("image", datasets.Image(decode=False))["image"]

    def column(name: str, default: Iterable[str]) -> Iterable[str]:
        return dataset[name] if name in dataset.features else default

    def read(position: int) -> bytes:
        image = stored[position]
        return image["bytes"] or images.read_bytes(image["path"])

    columns = zip(
        dataset["label"],
        column("source", [repo_id] * count),
        column("group", [f"{repo_id}/{split}-{i}" for i in range(count)]),
        strict=True,
    )
    return [
        Sample(f"{split}[{i}]", functools.partial(read, i), label, source, group)
        for i, (label, source, group) in enumerate(columns)
    ]
