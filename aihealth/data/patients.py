"""Which patient an image belongs to: from its name, from the folders it lies in, or from a list."""

import collections
import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

from aihealth.data.layouts import Entry
from aihealth.errors import UserError

# How public collections name their patients: an example, and the pattern, which is searched in the
# path below the root without suffix, in any case. Names with one number only (COVID_326,
# bimcv_123) number images, not patients, and match none.
_NUMBERED = r"(?P<patient>(?:patient|subject|pat)[_ -]?\d+)"
PATTERNS = (
    ("patient00001/study1", r"(?:^|/)(?P<patient>patient\d+)/study\d+/"),  # CheXpert
    ("p10000032/s50414267", r"(?:^|/)(?P<patient>p\d{8})/s\d+"),  # MIMIC-CXR
    ("sub-S03044_ses-E07024", r"(?:^|/)(?P<patient>sub-[A-Za-z0-9]+)[_/]"),  # BIMCV
    ("patient12/1", rf"(?:^|/){_NUMBERED}/"),
    ("person12_bacteria_3", r"(?:^|/)(?P<patient>person\d+)_[^/]*$"),  # Kaggle chest_xray
    ("IM-0001-0001", r"(?:^|/)(?P<patient>(?:NORMAL2-)?IM-\d+)-\d[^/]*$"),  # the same
    ("00000061_012", r"(?:^|/)(?P<patient>\d{8})_\d{3}$"),  # NIH
    ("source_patient_n", r"(?:^|/)[A-Za-z][A-Za-z0-9.-]*_(?P<patient>p?\d+)_\d+$"),  # ours
    ("patient12_3", rf"(?:^|/){_NUMBERED}[_ -]\d[^/]*$"),
)


class Patients(list[str | None]):
    """The patient of each image, None where it is not known.

    Attributes:
        how: how many are known in which way, for people.
    """

    def __init__(self, names: Sequence[str | None], how: dict[str, int]) -> None:
        super().__init__(names)
        self.how = how

    @property
    def known(self) -> int:
        """For how many images the patient is known."""
        return sum(name is not None for name in self)

    def line(self) -> str:
        """What is known, and what to do where nothing is, in one sentence."""
        if self.known:
            ways = ", ".join(f"{way}: {count}" for way, count in self.how.items())
            return f"patients known for {self.known} of {len(self)} images ({ways})"
        return (
            f"patients known for none of {len(self)} images: those of one patient may fall on both "
            "sides of a split; give --patients CSV or --patient-pattern REGEX"
        )


def find_patients(entries: Sequence[Entry], pattern: str | None = None) -> Patients:
    """Read patients from what lists, folders and file names say.

    Args:
        entries: the files.
        pattern: regular expression, searched in the file's name without suffix, then in its path
            below the root; its group `patient`, else its first group, is the patient. By default
            lists and the known patterns are asked.

    Raises:
        UserError: the pattern is no regular expression or has no group.
    """
    if pattern is not None:
        return _by_pattern(entries, pattern)
    known = [(example, re.compile(text, re.IGNORECASE)) for example, text in PATTERNS]
    names: list[str | None] = []
    how: collections.Counter[str] = collections.Counter()
    for entry in entries:
        found, way = entry.patient, "named in a list"
        if found is None:
            path = os.path.splitext(entry.relative)[0]
            found, way = _by_name(path, known)
        names.append(found)
        if found is not None:
            how[way] += 1
    return Patients(names, dict(how.most_common()))


def _by_name(path: str, known: Sequence[tuple[str, re.Pattern]]) -> tuple[str | None, str]:
    """The patient by the first pattern that matches, and which one that is."""
    for example, regex in known:
        if match := regex.search(path):
            return match["patient"], f"like {example}"
    return None, ""


def _by_pattern(entries: Sequence[Entry], pattern: str) -> Patients:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--patient-pattern is no regular expression: {error}") from error
    if not regex.groups:
        raise UserError("--patient-pattern needs a group: put the patient's part in parentheses")
    group = "patient" if "patient" in regex.groupindex else 1
    names = []
    for entry in entries:
        path = os.path.splitext(entry.relative)[0]
        match = regex.search(entry.path.stem) or regex.search(path)
        names.append(match.group(group) if match else None)
    return Patients(names, {"--patient-pattern": sum(name is not None for name in names)})


def patients_from_csv(entries: Sequence[Entry], path: str | Path) -> Patients:
    """Read patients from a CSV file with the columns `file` and `patient`.

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
    if entries and not any(name in rows for name in names):
        raise UserError(f"{path} names none of the images; its column file should hold file names")
    found = [rows.get(name) for name in names]
    return Patients(found, {os.path.basename(path): sum(name is not None for name in found)})
