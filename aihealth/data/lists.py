"""Collections whose labels stand in a list: CheXpert, NIH ChestX-ray14, COVIDx, RSNA and the like.

A collection is one line of `TABLES` (a table with a header) or the text lists of COVIDx, which have
none. A list is looked for in the root and in the folders directly below it.
"""

import collections
import csv
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from aihealth.data.classes import Classes, plain
from aihealth.errors import UserError, shown
from aihealth.files import Account

Cells = Mapping[str, str]  # a row of a table: the name of its column, as `plain` has it -> content


@dataclasses.dataclass(frozen=True)
class Table:
    """How a table with a header is read; columns are named as `plain` gives them.

    Attributes:
        needs: columns by which it is known; the first one names the image.
        findings: all that a row says of an image.
        patient: column, "" where the table has none.
        source: column with the collection that an image came from, "" where there is none.
    """

    needs: tuple[str, ...]
    findings: Callable[[Cells], list[str]]
    patient: str = ""
    source: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """An image that a list names: file below the root, class, patient and source if it says so."""

    file: str
    label: str
    patient: str | None = None
    source: str | None = None


@dataclasses.dataclass(frozen=True)
class Listed:
    """What the lists of a root give: rows, findings met, sentences, and files left out."""

    rows: list[Row]
    findings: list[str]
    notes: list[str]
    account: Account


UNCERTAIN = "uncertain"


def _chexpert(cells: Cells) -> list[str]:
    """Findings with 1; -1 is "uncertain", which may be either."""
    about = ("path", "sex", "age", "frontallateral", "appa")
    said = {name: text.strip() for name, text in cells.items() if name not in about}
    positive = [name for name, text in said.items() if text in ("1", "1.0")]
    return positive + [UNCERTAIN for name, text in said.items() if text in ("-1", "-1.0")][:1]


def _coronahack(cells: Cells) -> list[str]:
    covid = cells["label2viruscategory"]
    return [covid if covid.upper().startswith("COVID") else cells["label"]]


TABLES = (
    Table(("path", "nofinding", "frontallateral"), _chexpert),
    Table(
        ("imageindex", "findinglabels"), lambda c: c["findinglabels"].split("|"), "patientid"
    ),  # NIH
    Table(("xrayimagename", "label", "label2viruscategory"), _coronahack),
    Table(("filename", "finding", "modality"), lambda c: [c["finding"]], "patientid"),  # Cohen
    Table(("patientid", "class"), lambda c: [c["class"]], "patientid"),  # RSNA
    *(
        Table((file, label), lambda c, label=label: re.split(r"[|;]", c[label]), "patient*")
        for file in ("file", "filename", "filepath", "path", "image", "imagepath", "imagename")
        for label in ("label", "labels", "class", "finding", "findings", "diagnosis")
    ),
)
_PATIENT = ("patient", "patientid", "subject", "subjectid")
_VIEW = ("frontallateral", "viewposition", "view")
_LATERAL = ("lateral", "l", "ll", "rl", "lat")
# COVIDx: patient, file, class and, in later editions, source, with spaces between them.
_COVIDX = re.compile(
    r"^(\S+)\s+(\S.*\.(?:png|jpe?g|bmp|tiff?|dcm))\s+(\S+)(?:\s+(\S+))?$", re.IGNORECASE
)
_COVIDX_CLASSES = {"positive": "COVID-19"}


def read(root: Path, images: Sequence[str], classes: Classes) -> Listed | None:
    """Label the images of a root by its lists.

    Args:
        root: the folder.
        images: paths of its images below it.
        classes: what the findings mean; an image belongs to a class where its findings name
            exactly one, however many other findings it has.

    Returns:
        None where there is no list that is known.

    Raises:
        UserError: a list cannot be read.
    """
    rows = [row for path in _lists(root) for row in _rows(path)]
    if not rows:
        return None
    places = _Places(images)
    chosen: dict[str, Row] = {}
    other: collections.Counter[str] = collections.Counter()
    reasons: dict[str, str] = {}
    missing, findings = 0, set()
    for name, said, patient, source, lateral in rows:
        findings.update(said)
        file = places.find(name)
        if file is None:
            missing += 1
            continue
        label = _label(said, classes)
        if lateral:
            reasons[file] = "lateral views"
        elif UNCERTAIN in said and label != "":
            reasons[file] = "of uncertain label"
        elif label:
            if file in chosen and chosen[file].label != label:
                reasons[file] = "with two labels"
            chosen[file] = Row(file, label, patient or None, source or None)
        else:
            reasons[file] = "of findings left out, as asked" if label == "" else "of other findings"
            other["|".join(said)] += label is None
    for file in images:
        if file not in chosen:
            reasons.setdefault(file, "in no list")
    account = Account(left_out=collections.Counter(reasons.values()))
    kept = [row for file, row in sorted(chosen.items()) if file not in reasons]
    return Listed(kept, sorted(findings), _notes(root, other, missing, classes), account)


def _notes(
    root: Path, other: collections.Counter[str], missing: int, classes: Classes
) -> list[str]:
    notes = []
    other = +other
    if other:
        most = ", ".join(f"{shown(name)} ({count})" for name, count in other.most_common(5))
        first = other.most_common(1)[0][0]
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        notes.append(
            f"{other.total()} images have findings that are none of {', '.join(classes.names)} and "
            f"were left out: {most}{more}; use one with "
            f'--map "{first}={classes.names[-1]}" or --classes "{",".join(classes.names)},{first}"'
        )
    if missing:
        notes.append(f"{missing} images that the lists of {root} name are not there")
    return notes


def _label(findings: Sequence[str], classes: Classes) -> str | None:
    """The one class that findings name; None for none or several, "" for what is left out."""
    if any(classes.is_ignored(finding) for finding in findings):
        return ""
    found = set()
    for finding in findings:
        parts = finding.split("/")  # Pneumonia/Viral/COVID-19: the last one is the most exact.
        known = (label for part in reversed(parts) if (label := classes.of(part)))
        found.add(classes.mapped(finding) or next(known, None))
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _lists(root: Path) -> Iterator[Path]:
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if os.access(folder, os.R_OK | os.X_OK) and not folder.name.startswith((".", "__")):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in (".csv", ".tsv", ".txt") and path.is_file():
                    yield path


def _rows(path: Path) -> Iterator[tuple[str, list[str], str, str, bool]]:
    """Image, findings, patient, source and whether it is lateral; nothing from an unknown file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix.lower() == ".txt":
        yield from _covidx(text)
        return
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    names = [plain(name) for name in next(reader, [])]
    table = next((table for table in TABLES if set(table.needs) <= set(names)), None)
    if table is None:
        return
    patient = next((name for name in (table.patient, *_PATIENT) if name in names), "")
    view = next((name for name in _VIEW if name in names), "")
    for values in reader:
        cells = dict(zip(names, values, strict=False))
        if len(cells) < len(set(names)) or not cells[table.needs[0]].strip():
            continue
        findings = [finding.strip() for finding in table.findings(cells) if finding.strip()]
        if cells.get("modality", "X-ray").lower().startswith("ct"):
            findings = ["CT"]
        lateral = cells.get(view, "").strip().lower() in _LATERAL
        yield cells[table.needs[0]].strip(), findings, cells.get(patient, ""), "", lateral


def _covidx(text: str) -> Iterator[tuple[str, list[str], str, str, bool]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [match for line in lines if (match := _COVIDX.match(line))]
    if len(found) < 0.9 * len(lines):  # another text
        return
    for match in found:
        patient, file, label, source = match.groups(default="")
        yield file, [_COVIDX_CLASSES.get(label.lower(), label)], patient, source, False


class _Places:
    """Where the images lie that lists name: by their path, or as much of it as there is."""

    def __init__(self, images: Sequence[str]) -> None:
        self._by_name: dict[str, list[str]] = collections.defaultdict(list)
        for file in images:
            name = os.path.basename(file)
            self._by_name[name].append(file)
            stem = os.path.splitext(name)[0]
            if stem != name:
                self._by_name[stem].append(file)

    def find(self, listed: str) -> str | None:
        """The only image that a list's path can mean, else None."""
        parts = listed.replace("\\", "/").split("/")
        found = self._by_name.get(parts[-1], [])
        if len(found) == 1:
            return found[0]

        def shared(file: str) -> int:
            """How many of the last folders agree."""
            folders = zip(reversed(file.split("/")[:-1]), reversed(parts[:-1]), strict=False)
            count = 0
            for own, wanted in folders:
                if own != wanted:
                    break
                count += 1
            return count

        best = sorted(((shared(file), file) for file in found), reverse=True)
        return best[0][1] if best and (len(best) == 1 or best[0][0] > best[1][0]) else None
