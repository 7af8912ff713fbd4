"""What a prepared dataset says of itself: `manifest.jsonl` and `report.json` beside the splits.

`datasets` builds an imagefolder's columns from files called metadata.csv, .jsonl or .parquet and
takes every file inside a split's folder for an example; these two names at the top level are
neither, so `load_dataset("imagefolder", data_dir=...)` gives just `image` and `label`.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from aihealth.errors import UserError
from aihealth.files import inside

# A PNG text chunk in every image that the demo generator drew.
DRAWN_KEY = "Comment"
DRAWN_TEXT = "drawn by AIHealth; not medical data"

MANIFEST = "manifest.jsonl"
REPORT = "report.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One image of a prepared dataset.

    Attributes:
        file: path below the dataset's folder, with "/".
        split: "train", "validation" or "test".
        label: class.
        source: hospital or collection.
        group: images of one group (near-duplicates, one patient) have the same value.
        sha256: digest of the file.
        size: bytes.
    """

    file: str
    split: str
    label: str
    source: str
    group: str
    sha256: str
    size: int


def is_prepared(folder: str | Path) -> bool:
    """Whether `python -m data_prep prepare` made this folder."""
    return all((Path(folder) / name).is_file() for name in (MANIFEST, REPORT))


def write_manifest(folder: str | Path, rows: list[Row]) -> None:
    """Write the rows, sorted by file."""
    rows = sorted(rows, key=lambda row: row.file)
    lines = [json.dumps(dataclasses.asdict(row), ensure_ascii=False) for row in rows]
    (Path(folder) / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_manifest(folder: str | Path) -> list[Row]:
    """Read the rows of a prepared dataset, sorted by file.

    Raises:
        UserError: the folder is not prepared, or its manifest is damaged.
    """
    if not is_prepared(folder):
        raise UserError(
            f"{folder} is not a prepared dataset; make one with "
            f"`python -m data_prep prepare {folder} --out OTHER_DIR`"
        )
    path = Path(folder) / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        rows = [Row(**json.loads(line)) for line in lines]
        for row in rows:
            inside(folder, row.file)
        return rows
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); prepare the dataset again") from error


def classes_of(folder: str | Path) -> list[str]:
    """The classes of a prepared dataset, sorted; some may have no image in it."""
    from aihealth.release import read_json

    told = read_json(Path(folder) / REPORT).get("classes")  # Reports before format 3 have none.
    return sorted(told or {row.label for row in read_manifest(folder)})


def dataset_fingerprint(folder: str | Path) -> str:
    """Digest of which image, with which label, is in which split: the same wherever it lies."""
    digest = hashlib.sha256()
    for row in read_manifest(folder):
        digest.update(f"{row.split} {row.label} {row.source} {row.group} {row.sha256}\n".encode())
    return digest.hexdigest()
