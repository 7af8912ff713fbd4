"""`python -m aihealth evaluate`: a release, run as its users run it, on labelled images."""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import release
from aihealth.classifier import Classifier, Prediction
from aihealth.data.classes import Classes
from aihealth.data.layouts import MASKS, find_images, is_mask, say
from aihealth.data.manifest import MANIFEST, read_manifest
from aihealth.data.parallel import in_order
from aihealth.data.patients import find_patients
from aihealth.data.tables import table
from aihealth.errors import UserError, shown
from aihealth.evaluation.intervals import MIN_GROUPS
from aihealth.evaluation.metrics import evaluate_predictions
from aihealth.files import Account
from aihealth.images import ImageError, ImageLike

NO_RADIOGRAPH = "two grey levels: a mask, no radiograph"
MANY_SOURCES = 30  # more file name prefixes than this number patients or images, not hospitals


@dataclasses.dataclass(frozen=True)
class Sample:
    """One labelled image, not yet read.

    Attributes:
        name: for people.
        open: gives a path or the bytes of the file.
        label: index of the class in the release.
        source: hospital or collection.
        group: images of one group are resampled together.
    """

    name: str
    open: Callable[[], ImageLike]
    label: int
    source: str
    group: str


class Samples(list[Sample]):
    """Labelled images, and the account of all files that were looked at for them."""

    def __init__(self, samples: Iterable[Sample], account: Account | None = None) -> None:
        super().__init__(samples)
        self.account = account or Account(len(self))


def evaluate(
    model: str,
    data: str,
    *,
    split: str = "test",
    mapping: Sequence[str] = (),
    ignored: Sequence[str] = (),
    revision: str | None = None,
    token: str | None = None,
    out: str | None = None,
) -> dict[str, Any]:
    """Measure a release on a data set.

    Args:
        model: release folder or repo id.
        data: prepared dataset, plain folder in a layout of `layouts.find_images`, or repo id.
        split: which split of a prepared dataset or of a repo; a plain folder is used whole.
        mapping: of a plain folder, as for `Classes.read`.
        ignored: the same.
        revision: of the model's repo.
        token: for the model's repo.
        out: folder for `metrics.json` and figures, created where it does not exist.

    Returns:
        A block of `aihealth.metrics.evaluate_predictions` (figures at the top level count every
        image that could be read), with `model`, `revision`, `unreadable`, a list of {file, error},
        and `files`, an `Account` of all that was looked at.

    Raises:
        UserError: no such model or data, a class that the release does not know, or no image that
            can be read.
    """
    if out:
        check_output(out)
    classifier = Classifier.from_pretrained(model, revision=revision, token=token, num_threads=1)
    samples = find_samples(data, classifier.classes, split, mapping, ignored)
    read, answers, unreadable = answer_all(classifier.predict, samples)
    for bad in unreadable:
        samples.account.leave_out(MASKS if bad["error"] == NO_RADIOGRAPH else "unreadable")

    labels = np.array([sample.label for sample in read])
    name = title(data, split)
    block = block_of(
        classifier,
        answers,
        labels,
        groups=[sample.group for sample in read],
        sources=[sample.source for sample in read],
        dataset=name,
    )
    block |= {
        "model": without_path(model),
        "revision": classifier.revision,
        "unreadable": unreadable,
        "files": samples.account.to_dict(),
    }
    if out:
        from aihealth.evaluation import figures

        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        given = probability_matrix(answers)
        figures.write_all(folder / release.FIGURES, labels, given, classifier.classes, dataset=name)
        release.write_json(folder / release.METRICS, block)
    return block


def answer_all(
    answer: Callable[[ImageLike], Any], samples: Sequence[Sample], what: str = "evaluating"
) -> tuple[list[Sample], list[Any], list[dict[str, str]]]:
    """Ask for every sample, with all cores.

    Args:
        answer: takes an image; safe to call from several threads.
        samples: at least one.
        what: for the progress bar.

    Returns:
        The samples that could be read, what `answer` gave for each, and {file, error} of the
        others.

    Raises:
        UserError: no image can be read.
    """

    def ask(sample: Sample) -> Any:
        try:
            result = answer(sample.open())
        except ImageError as error:
            return error
        if isinstance(result, Prediction) and is_mask(result.pixels):
            return ImageError(NO_RADIOGRAPH)
        return result

    read, answers, unreadable = [], [], []
    for sample, result in zip(samples, in_order(ask, samples, what), strict=True):
        if isinstance(result, ImageError):
            unreadable.append({"file": sample.name, "error": str(result)})
        else:
            read.append(sample)
            with_pictures = isinstance(result, Prediction)
            answers.append(result.without_pictures() if with_pictures else result)
    if not read:
        first = unreadable[0]
        raise UserError(
            f"none of the {len(samples)} images can be read; {first['file']}: {first['error']}"
        )
    return read, answers, unreadable


def block_of(
    classifier: Classifier,
    answers: Sequence[Prediction],
    labels: np.ndarray,
    *,
    groups: Sequence[str] | np.ndarray,
    sources: Sequence[str] | np.ndarray,
    dataset: str,
) -> dict[str, Any]:
    """A block of `metrics.json` from what a classifier answered, see `evaluate_predictions`.

    With `shift`, for all images and for each source: `n`, `value`, `limit` and `noticed` of
    `Classifier.shift`, or None.
    """
    block = evaluate_predictions(
        labels,
        probability_matrix(answers),
        classifier.classes,
        groups=groups,
        sources=sources,
        rejected=np.array([not answer.is_chest_radiograph for answer in answers]),
        abstained=np.array([answer.abstained for answer in answers]),
        dataset=dataset,
    )
    block["shift"] = _shift(classifier, answers)
    for source, figures in block.get("per_source", {}).items():
        own = [answer for answer, name in zip(answers, sources, strict=True) if name == source]
        figures["shift"] = _shift(classifier, own)
    return block


def _shift(classifier: Classifier, answers: Sequence[Prediction]) -> dict[str, Any] | None:
    shift = classifier.shift(answers)
    known = shift.value is not None
    return dataclasses.asdict(shift) | {"noticed": shift.noticed} if known else None


def probability_matrix(answers: Iterable[Prediction]) -> np.ndarray:
    """(n, C) probabilities, in the order of the release's classes."""
    return np.array([list(answer.probabilities.values()) for answer in answers])


def check_output(out: str) -> None:
    """Refuse an output folder that cannot be made before the long work, not after it.

    Raises:
        UserError: there is a file in its place, or no permission to write.
    """
    place = Path(out)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(f"--out {out}: {place} is a file; name a folder")
    if not os.access(place, os.W_OK):
        raise UserError(f"--out {out}: {place} may not be written to; name another folder")


def title(data: str, split: str) -> str:
    """What figures call a data set: without the path to it."""
    folder, name = Path(data), without_path(data)
    return name if folder.is_dir() and not (folder / MANIFEST).exists() else f"{name}, {split}"


def without_path(folder_or_repo: str) -> str:
    """What may be published of where something lies: a repo id, or the last name of a folder."""
    folder = Path(folder_or_repo)
    return shown(folder.resolve().name) if folder.is_dir() else folder_or_repo


# === Finding labelled images ===


def find_samples(
    data: str,
    classes: Sequence[str],
    split: str = "test",
    mapping: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> Samples:
    """List the labelled images of a prepared dataset, a plain folder or a dataset repo.

    Args:
        data: folder or repo id ("org/name" or "org/name@revision").
        classes: of the release; labels are matched to them whatever their case.
        split: of a prepared dataset or a repo.
        mapping: of a plain folder, as for `Classes.read`.
        ignored: the same.

    Raises:
        UserError: no such data or split, a class that the release does not know, or no image.
    """
    folder = Path(data)
    if folder.is_dir():
        if not (folder / MANIFEST).exists():
            return _plain(data, classes, Classes.read(classes, mapping, ignored))
        if mapping or ignored:
            raise UserError(f"--data {data} is prepared: --map and --ignore are for plain folders")
        return Samples(_prepared(folder, classes, split))
    if folder.exists():
        raise UserError(f"--data {data} is a file; give a folder or a dataset repo id")
    return Samples(_from_hub(data, classes, split))


def _prepared(folder: Path, classes: Sequence[str], split: str) -> list[Sample]:
    rows = read_manifest(folder)
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        have = ", ".join(sorted({row.split for row in rows}))
        raise UserError(f"--data {folder} has no {split} split; it has {have}")
    index = _indices({row.label for row in chosen}, classes, str(folder))
    return [
        Sample(
            row.file,
            functools.partial(Path, folder, row.file),
            index[row.label],
            row.source,
            row.group,
        )
        for row in chosen
    ]


def _plain(data: str, classes: Sequence[str], known: Classes) -> Samples:
    listing = find_images([data], known)
    say(listing.notes)
    entries = listing.entries
    prefixes = {entry.path.name.partition("_")[0] for entry in entries}
    named = len({entry.source for entry in entries}) == 1 and len(prefixes) <= MANY_SOURCES
    if named and all(_names_a_source(entry.path.name, known) for entry in entries):
        entries = [
            dataclasses.replace(entry, source=shown(entry.path.name.partition("_")[0]))
            for entry in entries
        ]
    index = {name: position for position, name in enumerate(classes)}
    samples = (
        Sample(
            entry.relative,
            functools.partial(Path, entry.path),
            index[entry.label],
            entry.source,
            f"{entry.source}/{patient}" if patient else entry.relative,
        )
        for entry, patient in zip(entries, find_patients(entries), strict=True)
    )
    return Samples(samples, listing.account)


def _names_a_source(file: str, classes: Classes) -> bool:
    """Whether a file's name starts with a source: no class, patient or number, before a "_"."""
    prefix, underscore, _ = file.partition("_")
    numbered = re.fullmatch(
        r"(patient|person|subject|pat|image|img|im|case)?[ -]?\d*", prefix, re.I
    )
    return bool(underscore) and not numbered and classes.of(prefix) is None


def _from_hub(data: str, classes: Sequence[str], split: str) -> list[Sample]:
    from aihealth.data.opening import open_splits

    splits = open_splits(data)
    if split not in splits:
        raise UserError(f"--data {data} has no {split} split; it has {', '.join(splits)}")
    rows = splits[split]
    names = rows.features["label"].names
    index = _indices(names, classes, data)
    columns = zip(rows["label"], rows["source"], rows["group"], strict=True)

    def read(position: int) -> ImageLike:
        image = rows[position]["image"]
        return image["bytes"] or image["path"]

    return [
        Sample(
            f"{split}[{position}]",
            functools.partial(read, position),
            index[names[label]],
            source,
            group,
        )
        for position, (label, source, group) in enumerate(columns)
    ]


def _indices(labels: Iterable[str], classes: Sequence[str], data: str) -> dict[str, int]:
    known = {name.casefold(): position for position, name in enumerate(classes)}
    for label in labels:
        if label.casefold() not in known:
            raise UserError(
                f"--data {data} has the class {label!r}, which the model does not know; its "
                f"classes are {', '.join(classes)}"
            )
    return {label: known[label.casefold()] for label in labels}


# === For the terminal ===


def render(block: dict[str, Any]) -> str:
    """Show a block: one line for all images, one per source."""
    classes = block["confusion"]["classes"]
    header = [
        "",
        "images",
        "balanced",
        "accuracy",
        *classes,
        "ECE",
        "not sure",
        "out of distribution",
        "shift",
    ]
    lines = {"all": block, "answered only": block["answered"], **block.get("per_source", {})}
    rows = [
        [
            name,
            figures["n"],
            *(_percent(figures[key]) for key in ("balanced_accuracy", "accuracy")),
            *(_percent(figures["recall"][label]) for label in classes),
            "-" if figures["ece"] is None else f"{figures['ece']:.3f}",
            *(_percent(figures[key]) for key in ("abstained", "rejected")),
            _shown_shift(figures.get("shift")),
        ]
        for name, figures in lines.items()
    ]
    text = f"{block['dataset']}: balanced accuracy, accuracy, recall per class\n"
    text += table(header, rows)
    bounds = block["intervals"]["balanced_accuracy"]
    if bounds:
        text += f"\nbalanced accuracy, 95% interval: {bounds[0]:.1%} to {bounds[1]:.1%}"
    else:
        text += (
            f"\nno interval: {block['groups']} groups of patients or near-duplicates are too few, "
            f"at least {MIN_GROUPS} are needed"
        )
    shifts = [figures["shift"] for figures in lines.values() if figures.get("shift")]
    if any(shift["noticed"] for shift in shifts):
        text += (
            f"\n* a distribution shift: images of known hospitals, taken together, stay below "
            f"{shifts[0]['limit']:.2f}"
        )
    if block["unreadable"]:
        text += f"\n{len(block['unreadable'])} files could not be read:"
        first = block["unreadable"][:10]
        text += "".join(f"\n  {json.dumps(row['file'])}: {row['error']}" for row in first)
    if "files" in block:
        text += f"\n{Account.from_dict(block['files']).line()}"
    return text


def _shown_shift(shift: dict[str, Any] | None) -> str:
    return f"{shift['value']:.2f}{'*' if shift['noticed'] else ''}" if shift else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
