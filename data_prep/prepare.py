"""Prepare a dataset: scan, group, split, report; `output` writes it."""

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth.data.classes import Classes
from aihealth.data.duplicates import near_duplicates
from aihealth.data.layouts import MASKS, Entry, find_images, say, split_root
from aihealth.data.manifest import REPORT, is_prepared
from aihealth.data.patients import Patients, find_patients, patients_from_csv
from aihealth.data.tables import table
from aihealth.errors import UserError, warn
from aihealth.evaluation.intervals import MIN_GROUPS
from aihealth.files import Account, check_output
from aihealth.release import read_json
from data_prep.groups import group_images
from data_prep.inspection import (
    conflict_lists,
    count_by_source,
    describe,
    patients_line,
    thumbnails,
)
from data_prep.output import is_up_to_date, write
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

FORMAT = 3  # Raise it when the same input would give another dataset.


@dataclasses.dataclass(frozen=True)
class Options:
    """What decides how a dataset is prepared, beside the images.

    Attributes:
        classes: which folder or finding is which class.
        split: "grouped" or "random".
        ratios: shares of train, validation and test; their sum is 1.
        seed: draws the split.
        leave_out: source that is test as a whole, or None.
        patient_pattern: see `patients.find_patients`; None for the known ones.
        patients: CSV file, see `patients.patients_from_csv`; replaces the pattern.
        source_from_name: see `layouts.find_images`.
        conflicts: what to do with near-duplicates whose labels differ: "drop", "keep", "error".
    """

    classes: Classes = dataclasses.field(default_factory=Classes)
    split: str = "grouped"
    ratios: tuple[float, float, float] = RATIOS
    seed: int = SEED
    leave_out: str | None = None
    patient_pattern: str | None = None
    patients: str | None = None
    source_from_name: bool = False
    conflicts: str = "drop"


def prepare(
    roots: Sequence[str], out: str | Path, options: Options, *, overwrite: bool = False
) -> dict[str, Any]:
    """Prepare a dataset in `out`, or leave it alone when it is up to date.

    Args:
        roots: see `layouts.find_images`.
        out: folder to make: `{train,validation,test}/<class>/`, a manifest and a report. It is
            built under another name beside it and renamed at the end, so it is whole or absent.
        options: how.
        overwrite: replace a dataset that was prepared from other images or with other options.

    Returns:
        The report; `up_to_date` in it says that nothing was done.

    Raises:
        UserError: an input or an option that cannot be used; nothing is written then.
    """
    inputs = [split_root(root)[1] for root in roots]
    out = check_output(out, inputs=inputs, built=True, ours=is_prepared(out))
    listing = find_images(roots, options.classes, source_from_name=options.source_from_name)
    notes = [*listing.notes, *filter(None, [listing.without()])]
    say(notes)
    fingerprint = _fingerprint(listing.entries, options)
    if is_up_to_date(out, fingerprint, overwrite):
        return read_json(out / REPORT) | {"up_to_date": True}

    images, unreadable = scan_images(listing.entries)
    # Not by where the roots lie, so that names and splits are the same everywhere.
    images.sort(key=lambda image: (image.entry.source, image.entry.relative, image.sha256))
    _warn_of_unreadable(unreadable)
    patients = _patients(images, options)
    near = near_duplicates(thumbnails(images))
    groups = group_images(images, patients, near)
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
    _check_splits({e.label for e in listing.entries}, images, groups, splits, options)
    masks = sum(bad.mask for bad in unreadable)
    account = listing.account
    account.leave_out(MASKS, masks)
    account.leave_out("unreadable", len(unreadable) - masks)
    account.leave_out("of contradicting labels", int((~keep).sum()))
    account.leave_out("like the source left out", len(excluded))
    report = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "options": _recorded(options),
        "classes": list(listing.classes),
        "files": account.to_dict(),
        "images": {
            "found": len(listing.entries),
            "unreadable": len(unreadable) - masks,
            "masks": masks,
            "conflicting": int((~keep).sum()),
            "excluded": len(excluded),
            "prepared": len(images) - len(excluded),
        },
        "groups": len(set(groups)),
        "patients": {"known": patients.known, "of": len(patients), "how": patients.how},
        "drawn": sum(image.drawn for image in images),
        "splits": {
            name: count_by_source(
                [i.entry for i, split in zip(images, splits, strict=True) if split == name],
                listing.classes,
            )
            for name in SPLITS
        },
        "few_in_test": _few_in_test(images, groups, splits),
        "unreadable": [{"file": describe(bad.entry), "reason": bad.reason} for bad in unreadable],
        "label_conflicts": conflicts,
        "excluded": excluded,
        "ignored": listing.ignored,
        "notes": notes,
    }
    write(out, images, groups, splits, report)
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
    lines = [table(("split", "source", *report["classes"], "all"), rows), ""]
    if report["up_to_date"]:
        return "\n".join([*lines, f"{out} is up to date; nothing was done"])
    lines.append(f"{counts['prepared']} images in {report['groups']} groups")
    lines.append(patients_line(report["patients"]))
    if report["label_conflicts"]:
        done = "left out" if report["options"]["conflicts"] == "drop" else "kept"
        lines.append(
            f"{len(report['label_conflicts'])} groups of near-duplicates have different labels; "
            f"{done}"
        )
    if report["drawn"]:
        lines.append(f"{report['drawn']} images are drawings, not medical data")
    if few := report["few_in_test"]:
        named = ", ".join(f"{source} {label} ({n})" for source, label, n in few[:5])
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        lines.append(
            f"fewer than {MIN_GROUPS} groups in test: {named}{more}; figures of these alone will "
            "have no interval"
        )
    lines.append(Account.from_dict(report["files"]).line())
    return "\n".join([*lines, f"wrote {out}; details in {Path(out, REPORT)}"])


def _fingerprint(entries: Sequence[Entry], options: Options) -> str:
    """Digest of everything that decides the outcome; not of where the roots lie."""
    digest = hashlib.sha256(json.dumps([FORMAT, _recorded(options)]).encode())
    rows = zip(entries, digest_files(entries), strict=True)
    for row in sorted(
        (e.source, e.relative, e.label, e.patient or "", content) for e, content in rows
    ):
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


# === Splitting ===


def _patients(images: Sequence[Scanned], options: Options) -> Patients:
    entries = [image.entry for image in images]
    if options.patients:
        return patients_from_csv(entries, options.patients)
    return find_patients(entries, options.patient_pattern)


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
    present: set[str],
    images: Sequence[Scanned],
    groups: Sequence[str],
    splits: Sequence[str | None],
    options: Options,
) -> None:
    labels = [image.entry.label for image in images]
    counts = Counter(zip(labels, splits, strict=True))
    for label in sorted(present):
        for name, ratio in zip(SPLITS, options.ratios, strict=True):
            # A source that is left out need not have every class.
            wanted = ratio > 0 and not (name == "test" and options.leave_out)
            if wanted and not counts[label, name]:
                own = {group for group, its in zip(groups, labels, strict=True) if its == label}
                raise UserError(
                    f"{label} is too small to split: {labels.count(label)} usable images in "
                    f"{len(own)} groups leave none for {name}; add images or change --ratios"
                )


def _few_in_test(
    images: Sequence[Scanned], groups: Sequence[str], splits: Sequence[str | None]
) -> list[tuple[str, str, int]]:
    """Source, class and number of groups in test where they are too few for an interval."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image, group, split in zip(images, groups, splits, strict=True):
        own = found[image.entry.source, image.entry.label]
        if split == "test":
            own.add(group)
    return [(*key, len(own)) for key, own in sorted(found.items()) if len(own) < MIN_GROUPS]


def _warn_of_unreadable(unreadable: Sequence[Unreadable], limit: int = 20) -> None:
    for bad in unreadable[:limit]:
        warn(f"{describe(bad.entry)}: {bad.reason}; left out")
    if len(unreadable) > limit:
        warn(f"and {len(unreadable) - limit} more, see {REPORT}")
