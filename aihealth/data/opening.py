"""Opens a prepared dataset, a folder or a dataset repo, through `datasets`; reads no pixel."""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from aihealth import hub
from aihealth.data.manifest import classes_of, dataset_fingerprint, read_manifest
from aihealth.errors import UserError, first_line

SPLITS = ("train", "validation", "test")


def open_splits(root: str) -> dict[str, Any]:
    """Open a prepared dataset through `datasets`, undecoded.

    Args:
        root: a folder or a dataset repo id, with "@revision" or without.

    Returns:
        Per split a `datasets.Dataset` with `image` (`bytes` and `path`), `label` (ClassLabel),
        `source` and `group`.

    Raises:
        UserError: not prepared, or no such repo.
    """
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    splits = _open_folder(Path(root)) if os.path.isdir(root) else _open_repo(root)
    return {
        split: splits[split].cast_column("image", datasets.Image(decode=False))
        for split in SPLITS
        if split in splits
    }


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
    repo_id, revision = hub.parse(root)
    folder, commit = hub.resolve(
        repo_id, repo_type="dataset", revision=revision, allow_patterns=["README.md"]
    )
    return commit or hashlib.sha256(str(folder).encode()).hexdigest()


def _open_folder(folder: Path) -> dict[str, Any]:
    import datasets

    rows = {row.file: row for row in read_manifest(folder)}
    # Without them `datasets` tries dozens of patterns, each a walk through all files.
    files = {split: f"{split}/**" for split in SPLITS if (folder / split).is_dir()}
    try:
        # Labels even where a hospital has one class only.
        splits = datasets.load_dataset(
            "imagefolder", data_dir=str(folder), data_files=files, drop_labels=False
        )
    except (datasets.exceptions.DatasetsError, ValueError, FileNotFoundError) as error:
        raise UserError(f"--data {folder} cannot be read: {first_line(error)}") from error
    if "label" not in splits["train"].features:
        raise UserError(f"--data {folder} has no class folders; prepare it again")
    classes = classes_of(folder)
    for split, dataset in splits.items():
        dataset = _with_classes(dataset, classes, folder)
        undecoded = dataset.cast_column("image", datasets.Image(decode=False))
        # Paths as the manifest has them: split/class/name.
        names = ["/".join(Path(image["path"]).parts[-3:]) for image in undecoded["image"]]
        missing = next((name for name in names if name not in rows), None)
        if missing:
            raise UserError(f"{folder / missing} is not in the manifest; prepare the data again")
        found = [rows[name] for name in names]
        splits[split] = dataset.add_column("source", [row.source for row in found]).add_column(
            "group", [row.group for row in found]
        )
    return splits


def _with_classes(dataset: Any, classes: list[str], folder: Path) -> Any:
    """Labels that count all classes of the data set, also those without an image in this folder."""
    import datasets

    names = dataset.features["label"].names
    if names == classes:
        return dataset
    if unknown := sorted(set(names) - set(classes)):
        raise UserError(f"{folder} has a folder {unknown[0]}, no class of it; prepare it again")
    labels = [classes.index(names[label]) for label in dataset["label"]]
    feature = datasets.ClassLabel(names=classes)
    return dataset.remove_columns("label").add_column("label", labels).cast_column("label", feature)


def _open_repo(root: str) -> dict[str, Any]:
    import datasets

    repo_id, revision = hub.parse(root)
    # The Hub client's errors are sentences already; what is left is about the content.
    hub.resolve(repo_id, repo_type="dataset", revision=revision, allow_patterns=["README.md"])
    try:
        splits = datasets.load_dataset(repo_id, revision=revision)
    except (datasets.exceptions.DatasetsError, ValueError, OSError) as error:
        raise UserError(f"--data {root} cannot be read: {first_line(error)}") from error
    features = splits[next(iter(splits))].features
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(f"--data {root} has no columns image and label (ClassLabel)")
    for split, dataset in splits.items():
        if "source" not in features:
            dataset = dataset.add_column("source", [repo_id] * len(dataset))
        if "group" not in features:
            dataset = dataset.add_column(
                "group", [f"{repo_id}/{split}-{i}" for i in range(len(dataset))]
            )
        splits[split] = dataset
    return splits
