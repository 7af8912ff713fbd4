"""`python -m aihealth evaluate`: a release, run as its users run it, on labelled images."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import release
from aihealth.classifier import Classifier, Prediction
from aihealth.data.layouts import MASKS, is_mask
from aihealth.data.opening import Sample, open_test, title, without_path
from aihealth.data.parallel import in_order
from aihealth.data.tables import table
from aihealth.errors import UserError
from aihealth.evaluation.intervals import MIN_GROUPS
from aihealth.evaluation.metrics import evaluate_predictions
from aihealth.files import Account, check_output
from aihealth.images import ImageError

NO_RADIOGRAPH = "two grey levels: a mask, no radiograph"


def evaluate(
    model: str,
    data: str,
    *,
    split: str = "test",
    mapping: Sequence[str] = (),
    ignored: Sequence[str] = (),
    revision: str | None = None,
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
        out: folder for `metrics.json` and figures, created where it does not exist.

    Returns:
        A block of `metrics.evaluate_predictions` (figures at the top level count every
        image that could be read), with `model`, `revision`, `unreadable`, a list of {file, error},
        and `files`, an `Account` of all that was looked at.

    Raises:
        UserError: no such model or data, a class that the release does not know, or no image that
            can be read.
    """
    if out:
        check_output(out)
    classifier = Classifier.from_pretrained(model, revision=revision, num_threads=1)
    samples, account = open_test(data, classifier.classes, split, mapping, ignored)
    read, answers, unreadable = answer_all(classifier.predict, samples)
    for bad in unreadable:
        account.leave_out(MASKS if bad["error"] == NO_RADIOGRAPH else "unreadable")

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
        "files": account.to_dict(),
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
    answer: Callable[[bytes], Any], samples: Sequence[Sample], what: str = "evaluating"
) -> tuple[list[Sample], list[Any], list[dict[str, str]]]:
    """Ask for every sample, with all cores.

    Args:
        answer: takes the bytes of an image; safe to call from several threads.
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
            result = answer(sample.read())
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
