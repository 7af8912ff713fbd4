"""Which patient an image belongs to: from its file name, or from a CSV file."""

import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from aihealth.data.layouts import Entry
from aihealth.errors import UserError

# source_patient_image: nih_00000061_012 is image 012 of patient 00000061. Names with one number
# only (COVID_326, bimcv_123) number images, not patients, and do not match.
PATIENT_PATTERN = r"^[A-Za-z][A-Za-z0-9.-]*_(?P<patient>\d+)_\d+$"


def patients_by_pattern(entries: Sequence[Entry], pattern: str) -> list[str | None]:
    """Read patients from file names without their suffix.

    Args:
        entries: the files.
        pattern: regular expression; its group `patient`, else its first group, is the patient.

    Returns:
        The patient of each file, None where the pattern does not match.

    Raises:
        UserError: the pattern is no regular expression or has no group.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--patient-pattern is no regular expression: {error}") from error
    if not regex.groups:
        raise UserError("--patient-pattern needs a group: put the patient's part in parentheses")
    group = "patient" if "patient" in regex.groupindex else 1
    matches = [regex.search(entry.path.stem) for entry in entries]
    return [match.group(group) if match else None for match in matches]


def patients_from_csv(entries: Sequence[Entry], path: str | Path) -> list[str | None]:
    """Read patients from a CSV file with the columns `file` and `patient`.

    Says on the standard error how many files it names.

    Args:
        entries: the files.
        path: the CSV file; `file` is a path below the root, or a file name where that is enough.

    Raises:
        UserError: no such file, not these columns, or no row that names one of the files.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"file", "patient"} <= set(reader.fieldnames or ()):
                raise UserError(f"{path} needs the columns file and patient in its first line")
            rows = {row["file"]: row["patient"] or None for row in reader}
    except FileNotFoundError as error:
        raise UserError(f"--patients {path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    names = [e.relative if e.relative in rows else e.path.name for e in entries]
    known = sum(name in rows for name in names)
    if entries and not known:
        raise UserError(f"{path} names none of the images; its column file should hold file names")
    print(f"{path} names {known} of {len(entries)} images", file=sys.stderr)
    return [rows.get(name) for name in names]
