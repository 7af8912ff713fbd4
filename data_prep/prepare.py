"""Build the imagefolder: scan, group, split, copy, and only then give it its name."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth.data.layouts import CLASSES, Entry, find_images
from aihealth.data.manifest import REPORT, Row, is_prepared, read_manifest, write_manifest
from aihealth.data.parallel import in_order
from aihealth.data.patients import PATIENT_PATTERN, patients_by_pattern, patients_from_csv
from aihealth.data.tables import table
from aihealth.errors import UserError
from aihealth.images import read_bytes
from aihealth.release import read_json, write_json
from data_prep.clean import clean_bytes
from data_prep.duplicates import near_duplicates
from data_prep.groups import group_images
from data_prep.inspection import conflict_lists, count_by_source, describe, thumbnails
from data_prep.scan import Scanned, Unreadable, digest_files, scan_images
from data_prep.splits import (
    RATIOS,
    SEED,
    SPLITS,
    Item,
    grouped_split,
    leave_out_split,
    random_split,
)

FORMAT = 2  # Raise it when the same input would give another dataset.
_STEM = 240  # bytes of a file name without number and suffix; file systems allow 255 in all


@dataclasses.dataclass(frozen=True)
class Options:
    """What decides how a dataset is prepared, beside the images.

    Attributes:
        split: "grouped" or "random".
        ratios: shares of train, validation and test; their sum is 1.
        seed: draws the split.
        leave_out: source that is test as a whole, or None.
        patient_pattern: see `groups.patients_by_pattern`.
        patients: CSV file, see `groups.patients_from_csv`; replaces the pattern.
        source_from_name: see `sources.find_images`.
        conflicts: what to do with near-duplicates whose labels differ: "drop", "keep", "error".
    """

    split: str = "grouped"
    ratios: tuple[float, float, float] = RATIOS
    seed: int = SEED
    leave_out: str | None = None
    patient_pattern: str = PATIENT_PATTERN
    patients: str | None = None
    source_from_name: bool = False
    conflicts: str = "drop"


def prepare(
    roots: Sequence[str], out: str | Path, options: Options, *, overwrite: bool = False
) -> dict[str, Any]:
    """Prepare a dataset in `out`, or leave it alone when it is up to date.

    Args:
        roots: see `sources.find_images`.
        out: folder to make: `{train,validation,test}/<class>/`, a manifest and a report. It is
            built under another name beside it and renamed at the end, so it is whole or absent.
        options: how.
        overwrite: replace a dataset that was prepared from other images or with other options.

    Returns:
        The report; `up_to_date` in it says that nothing was done.

    Raises:
        UserError: an input or an option that cannot be used; nothing is written then.
    """
    out = output_folder(out)
    _check_output(out, roots)
    listing = find_images(roots, source_from_name=options.source_from_name)
    fingerprint = _fingerprint(listing.entries, options)
    if _up_to_date(out, fingerprint, overwrite):
        return read_json(out / REPORT) | {"up_to_date": True}

    images, unreadable = scan_images(listing.entries)
    # Not by where the roots lie, so that names and splits are the same everywhere.
    images.sort(key=lambda image: (image.entry.source, image.entry.relative, image.sha256))
    _warn_of_unreadable(unreadable)
    near = near_duplicates(thumbnails(images))
    groups = group_images(images, _patients(images, options), near)
    conflicts = conflict_lists(images, near, groups)
    if conflicts and options.conflicts == "error":
        raise UserError(
            f"{len(conflicts)} groups of near-duplicates have different labels, the first: "
            f"{' / '.join(conflicts[0])}; correct them, or choose --conflicts drop or keep"
        )
    keep = np.ones(len(images), dtype=bool)
    if options.conflicts == "drop":
        keep = ~near.conflicting([image.entry.label for image in images])
    images = [image for image, kept in zip(images, keep, strict=True) if kept]
    groups = [group for group, kept in zip(groups, keep, strict=True) if kept]

    splits = _split(images, groups, options)
    excluded = [describe(i.entry) for i, split in zip(images, splits, strict=True) if not split]
    _check_splits(images, groups, splits, options)
    report = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "options": _recorded(options),
        "images": {
            "found": len(listing.entries),
            "unreadable": len(unreadable),
            "conflicting": int((~keep).sum()),
            "excluded": len(excluded),
            "prepared": len(images) - len(excluded),
        },
        "groups": len(set(groups)),
        "drawn": sum(image.drawn for image in images),
        "splits": {
            name: count_by_source(
                [i.entry for i, split in zip(images, splits, strict=True) if split == name]
            )
            for name in SPLITS
        },
        "unreadable": [{"file": describe(bad.entry), "reason": bad.reason} for bad in unreadable],
        "label_conflicts": conflicts,
        "excluded": excluded,
        "ignored": listing.ignored,
    }
    _write(out, images, groups, splits, report)
    return report | {"up_to_date": False}


def render(report: dict[str, Any], out: str | Path) -> str:
    """Show a report on the terminal."""
    rows = []
    for split, sources in report["splits"].items():
        rows += [
            (split, source, *counts.values(), sum(counts.values()))
            for source, counts in sources.items()
        ]
    counts = report["images"]
    lines = [table(("split", "source", *CLASSES, "all"), rows), ""]
    if report["up_to_date"]:
        return "\n".join([*lines, f"{out} is up to date; nothing was done"])
    lines.append(f"{counts['prepared']} of {counts['found']} images in {report['groups']} groups")
    if counts["unreadable"]:
        lines.append(f"{counts['unreadable']} unreadable files were left out")
    if report["label_conflicts"]:
        done = "left out" if report["options"]["conflicts"] == "drop" else "kept"
        lines.append(
            f"{len(report['label_conflicts'])} groups of near-duplicates have different labels; "
            f"{done}"
        )
    if counts["excluded"]:
        lines.append(f"{counts['excluded']} images that look like the source left out were dropped")
    if report["ignored"]:
        lines.append(f"{len(report['ignored'])} files are not named like images and were ignored")
    if report["drawn"]:
        lines.append(f"{report['drawn']} images are drawings, not medical data")
    return "\n".join([*lines, f"wrote {out}; details in {Path(out, REPORT)}"])


# === Before: is there anything to do, and may it be done ===


def output_folder(out: str | Path) -> Path:
    """Where a link leads that is given as --out: a folder that can be built beside and renamed.

    Raises:
        UserError: it cannot be renamed.
    """
    folder, here = Path(os.path.realpath(out)), Path.cwd()
    if folder in (here, *here.parents):
        raise UserError(f"--out {out} is the folder you are in, or one above it; name another")
    if folder.is_mount():
        raise UserError(f"--out {out} is a mount point; name a folder in it, such as {out}/data")
    return folder


def _check_output(out: Path, roots: Sequence[str]) -> None:
    for root in roots:
        folder = Path(root.partition("=")[2] if not Path(root).is_dir() else root).resolve()
        if out == folder or folder in out.parents or out in folder.parents:
            raise UserError(f"--out {out} and the input {folder} overlap; choose another --out")
    if out.exists() and not is_prepared(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not a prepared dataset; choose another --out")


def _fingerprint(entries: Sequence[Entry], options: Options) -> str:
    """Digest of everything that decides the outcome; not of where the roots lie."""
    digest = hashlib.sha256(json.dumps([FORMAT, _recorded(options)]).encode())
    rows = zip(entries, digest_files(entries), strict=True)
    for row in sorted((e.source, e.relative, e.label, content) for e, content in rows):
        digest.update("\0".join(row).encode() + b"\n")
    return digest.hexdigest()


def _recorded(options: Options) -> dict[str, Any]:
    recorded = dataclasses.asdict(options)
    if options.patients:  # its content counts, not its path
        try:
            recorded["patients"] = hashlib.sha256(Path(options.patients).read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(f"--patients {options.patients}: {error.strerror}") from error
    return recorded


def _up_to_date(out: Path, fingerprint: str, overwrite: bool) -> bool:
    if not is_prepared(out) or overwrite:
        return False
    if read_json(out / REPORT).get("fingerprint") != fingerprint:
        raise UserError(
            f"{out} was prepared from other images, with other options or by an older version; "
            "choose another --out, or replace it with --overwrite"
        )
    for row in read_manifest(out):
        path = out / row.file
        if not path.is_file() or path.stat().st_size != row.size:
            raise UserError(f"{path} was changed or removed; prepare again with --overwrite")
    return True


# === Splitting ===


def _patients(images: Sequence[Scanned], options: Options) -> list[str | None]:
    entries = [image.entry for image in images]
    if options.patients:
        return patients_from_csv(entries, options.patients)
    return patients_by_pattern(entries, options.patient_pattern)


def _split(
    images: Sequence[Scanned], groups: Sequence[str], options: Options
) -> Sequence[str | None]:
    items = [
        Item(
            f"{image.sha256}:{image.entry.source}:{image.entry.relative}",
            image.entry.label,
            image.entry.source,
            group,
        )
        for image, group in zip(images, groups, strict=True)
    ]
    if options.leave_out is not None:
        names = sorted({item.source for item in items})
        if options.leave_out not in names or len(names) == 1:
            raise UserError(
                f"--leave-out {options.leave_out}: the sources are {', '.join(names)}; "
                "name one of several"
            )
        return leave_out_split(items, options.leave_out, options.ratios, options.seed)
    split = {"grouped": grouped_split, "random": random_split}[options.split]
    return split(items, options.ratios, options.seed)


def _check_splits(
    images: Sequence[Scanned],
    groups: Sequence[str],
    splits: Sequence[str | None],
    options: Options,
) -> None:
    labels = [image.entry.label for image in images]
    counts = Counter(zip(labels, splits, strict=True))
    for label in CLASSES:
        for name, ratio in zip(SPLITS, options.ratios, strict=True):
            # A source that is left out need not have every class.
            wanted = ratio > 0 and not (name == "test" and options.leave_out)
            if wanted and not counts[label, name]:
                own = {group for group, its in zip(groups, labels, strict=True) if its == label}
                raise UserError(
                    f"{label} is too small to split: {labels.count(label)} usable images in "
                    f"{len(own)} groups leave none for {name}; add images or change --ratios"
                )


# === Writing ===


def _write(
    out: Path,
    images: Sequence[Scanned],
    groups: Sequence[str],
    splits: Sequence[str | None],
    report: dict[str, Any],
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    part = out.with_name(f"{out.name}.part-{os.getpid()}")
    try:
        for split in SPLITS:
            for label in CLASSES:
                (part / split / label).mkdir(parents=True)
        jobs = [
            (image, group, split, stem)
            for image, group, split, stem in zip(
                images, groups, splits, _stems(images), strict=True
            )
            if split
        ]

        def copy(job: tuple[Scanned, str, str, str]) -> Row:
            image, group, split, stem = job
            data, suffix = clean_bytes(read_bytes(image.entry.path))
            file = f"{split}/{image.entry.label}/{stem}{suffix}"
            (part / file).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            entry = image.entry
            return Row(file, split, entry.label, entry.source, group, digest, len(data))

        write_manifest(part, list(in_order(copy, jobs, "writing images")))
        for folder in part.glob("*/*/"):
            if not any(folder.iterdir()):
                folder.rmdir()
        for folder in part.glob("*/"):
            if not any(folder.iterdir()):
                folder.rmdir()
        write_json(part / REPORT, report)
        if out.exists():
            old = out.with_name(f"{out.name}.old-{os.getpid()}")
            out.rename(old)
            part.rename(out)
            shutil.rmtree(old)
        else:
            part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _stems(images: Sequence[Scanned]) -> list[str]:
    """File names without suffix: unique, short enough, with the source up to the first "_"."""
    taken: set[str] = set()
    stems = []
    for image in images:
        source, stem = image.entry.source, re.sub(r"[^\w.-]+", "-", image.entry.path.stem)
        if not stem.startswith(f"{source}_"):
            stem = f"{source}_{stem}"
        stem = stem.encode()[:_STEM].decode("utf-8", "ignore")
        unique, number = stem, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.lower())
        stems.append(unique)
    return stems


def _remove_leftovers(out: Path) -> None:
    """Remove what runs left behind that were killed; another run at work keeps its own."""
    for folder in out.parent.glob(f"{out.name}.*-*"):
        match = re.fullmatch(re.escape(out.name) + r"\.(part|old)-(\d+)", folder.name)
        if match and not _is_running(int(match[2])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _warn_of_unreadable(unreadable: Sequence[Unreadable], limit: int = 20) -> None:
    for bad in unreadable[:limit]:
        print(f"warning: {describe(bad.entry)}: {bad.reason}; left out", file=sys.stderr)
    if len(unreadable) > limit:
        print(f"warning: and {len(unreadable) - limit} more, see {REPORT}", file=sys.stderr)
