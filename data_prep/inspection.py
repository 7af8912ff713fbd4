"""What is in a collection of radiographs, before anything is made of it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from aihealth.data.duplicates import NearDuplicates, connected, near_duplicates
from aihealth.data.layouts import MASKS, Entry, Listing
from aihealth.data.patients import Patients, find_patients
from aihealth.data.tables import table
from aihealth.files import Account
from data_prep.scan import Scanned, Unreadable


def thumbnails(images: Sequence[Scanned]) -> np.ndarray:
    """Stack the thumbnails, uint8 `(n, 16, 16)`; n may be 0."""
    return np.stack([image.thumbnail for image in images]) if images else np.zeros((0, 16, 16), "B")


def inspect(
    listing: Listing, images: Sequence[Scanned], unreadable: Sequence[Unreadable]
) -> dict[str, Any]:
    """Describe images, JSON-ready.

    Args:
        listing: what lies below the roots.
        images: what of it could be read.
        unreadable: what could not.
    """
    masks = sum(bad.mask for bad in unreadable)
    account = listing.account
    account.leave_out(MASKS, masks)
    account.leave_out("unreadable", len(unreadable) - masks)
    patients = find_patients([image.entry for image in images])
    near = near_duplicates(thumbnails(images))
    numbers = connected(len(images), near.edges())
    sizes = np.bincount(numbers, minlength=1)
    exact = defaultdict(list)
    for image in images:
        exact[image.pixel_sha256].append(image.entry)
    copies = [group for group in exact.values() if len(group) > 1]
    sides = np.array([(image.width, image.height) for image in images]).reshape(-1, 2)
    return {
        "images": len(images),
        "classes": list(listing.classes),
        "files": account.to_dict(),
        "patients": {"known": patients.known, "of": len(patients), "how": patients.how},
        "per_source": count_by_source([image.entry for image in images], listing.classes),
        "formats": dict(Counter(image.format for image in images).most_common()),
        "modes": dict(Counter(image.mode or "DICOM" for image in images).most_common()),
        "width": _spread(sides[:, 0]),
        "height": _spread(sides[:, 1]),
        "bytes": sum(image.bytes for image in images),
        "drawn": sum(image.drawn for image in images),
        "exact_duplicates": {
            "groups": len(copies),
            "images": sum(map(len, copies)),
            "superfluous": sum(len(group) - 1 for group in copies),
        },
        "near_duplicates": {
            "pictures": len(set(numbers.tolist())),
            "groups": int((sizes > 1).sum()),
            "images": int(sizes[sizes > 1].sum()),
            "largest_group": int(sizes.max()),
        },
        "label_conflicts": conflict_lists(images, near, numbers),
        "unreadable": [{"file": describe(bad.entry), "reason": bad.reason} for bad in unreadable],
        "ignored": listing.ignored,
        "notes": listing.notes,
    }


def conflict_lists(
    images: Sequence[Scanned], near: NearDuplicates, numbers: Sequence[Any]
) -> list[list[str]]:
    """List the near-duplicates whose labels differ.

    Args:
        images: the images.
        near: their near-duplicates.
        numbers: the group of each image.

    Returns:
        One list of files for each group that contradicts itself.
    """
    groups = defaultdict(list)
    for index in np.flatnonzero(near.conflicting([image.entry.label for image in images])):
        groups[numbers[index]].append(describe(images[index].entry))
    return sorted(groups.values())


def describe(entry: Entry) -> str:
    """Name a file as reports do: its source and its path below the root."""
    return f"{entry.source}: {entry.relative}"


def count_by_source(entries: Sequence[Entry], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count images by source and class."""
    counts = Counter((entry.source, entry.label) for entry in entries)
    names = sorted({entry.source for entry in entries})
    return {name: {label: counts[name, label] for label in classes} for name in names}


def render(report: dict[str, Any], limit: int = 10) -> str:
    """Show what `inspect` found, at most `limit` files of each kind."""
    rows = [
        (name, *counts.values(), sum(counts.values()))
        for name, counts in report["per_source"].items()
    ]
    totals = [sum(column) for column in list(zip(*rows, strict=True))[1:]] if rows else []
    if len(rows) > 1:
        rows.append(("all", *totals))
    exact, near = report["exact_duplicates"], report["near_duplicates"]
    facts = [
        ("formats", _join(report["formats"])),
        ("modes", _join(report["modes"])),
        ("width", "{min} to {max}, median {median}".format(**report["width"])),
        ("height", "{min} to {max}, median {median}".format(**report["height"])),
        ("size", f"{report['bytes'] / 1e6:.1f} MB"),
        ("exact duplicates", f"{exact['images']} images in {exact['groups']} groups"),
        (
            "near duplicates",
            f"{near['images']} images in {near['groups']} groups, the largest of "
            f"{near['largest_group']}; {near['pictures']} different pictures in all",
        ),
        ("label conflicts", f"{len(report['label_conflicts'])} groups of near duplicates"),
        ("unreadable", f"{len(report['unreadable'])} files"),
        ("ignored", f"{len(report['ignored'])} files that are no images"),
        ("patients", patients_line(report["patients"])),
    ]
    if report["drawn"]:
        facts.append(("drawn", f"{report['drawn']} images are drawings, not medical data"))
    lists = [
        *_some("label conflict", [" / ".join(p) for p in report["label_conflicts"]], limit),
        *_some("unreadable", [f"{b['file']}: {b['reason']}" for b in report["unreadable"]], limit),
        *_some("ignored", report["ignored"], limit),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [table(("source", *report["classes"], "all"), rows), ""]
    lines += [f"{name.ljust(width)}  {text}" for name, text in facts]
    files = Account.from_dict(report["files"])
    return "\n".join([*lines, *([""] if lists else []), *lists, "", files.line()])


def patients_line(patients: dict[str, Any]) -> str:
    """What a report says of patients, as `Patients.line` has it."""
    known = patients["known"]
    return Patients([""] * known + [None] * (patients["of"] - known), patients["how"]).line()


def _some(kind: str, items: Sequence[str], limit: int) -> list[str]:
    more = [f"{kind}: and {len(items) - limit} more"] if len(items) > limit else []
    return [f"{kind}: {item}" for item in items[:limit]] + more


def _join(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _spread(values: np.ndarray) -> dict[str, int]:
    if not len(values):
        return {"min": 0, "median": 0, "max": 0}
    return {
        "min": int(values.min()),
        "median": int(np.median(values)),
        "max": int(values.max()),
    }
