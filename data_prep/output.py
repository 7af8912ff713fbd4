"""The folder that `prepare` makes: may it be made, is it there already, written whole or not."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aihealth.data.manifest import REPORT, Row, is_prepared, read_manifest, write_manifest
from aihealth.data.parallel import in_order
from aihealth.errors import UserError
from aihealth.files import whole_folder
from aihealth.images import read_bytes
from aihealth.release import read_json, write_json
from data_prep.clean import clean_bytes
from data_prep.scan import Scanned

_STEM = 240  # bytes of a file name without number and suffix; file systems allow 255 in all


def is_up_to_date(out: Path, fingerprint: str, overwrite: bool) -> bool:
    """Whether the folder holds what would be made; a file that was lost is refused.

    Raises:
        UserError: it holds another dataset, or a part of this one.
    """
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


def write(
    out: Path,
    images: Sequence[Scanned],
    groups: Sequence[str],
    splits: Sequence[str | None],
    report: dict[str, Any],
) -> None:
    """Write the imagefolder, its manifest and its report under another name, then rename it.

    Args:
        out: where it is to lie.
        images: what is written, without tags.
        groups: of each image.
        splits: of each image; None leaves it out.
        report: see `prepare`.
    """
    named = zip(images, groups, splits, _stems(images), strict=True)
    jobs = [(image, group, split, stem) for image, group, split, stem in named if split]
    with whole_folder(out) as part:
        for split, label in sorted({(split, image.entry.label) for image, _, split, _ in jobs}):
            (part / split / label).mkdir(parents=True)

        def copy(job: tuple[Scanned, str, str, str]) -> Row:
            image, group, split, stem = job
            data, suffix = clean_bytes(read_bytes(image.entry.path))
            file = f"{split}/{image.entry.label}/{stem}{suffix}"
            (part / file).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            entry = image.entry
            return Row(file, split, entry.label, entry.source, group, digest, len(data))

        write_manifest(part, list(in_order(copy, jobs, "writing images")))
        write_json(part / REPORT, report)


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
