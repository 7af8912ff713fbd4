"""`python -m aihealth leave-one-source-out`: what to expect at a hospital that was not seen.

For each source, `train.py --leave-out SOURCE` trains a model without it; that model then answers
all of its images. Every image is so judged by a model that has seen nothing of its hospital. Test
sets of known hospitals say nothing of this (Zech et al., "Variable generalization performance of a
deep learning model to detect pneumonia in chest radiographs", PLoS Medicine 2018).
"""

import argparse
import dataclasses
import itertools
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import release
from aihealth.classifier import Classifier
from aihealth.data import opening, prepared
from aihealth.data.left_out import LeftOut, folders_without
from aihealth.data.parallel import in_order
from aihealth.data.provenance import renamed, without_folders
from aihealth.errors import UserError, warn
from aihealth.evaluation import held_out
from aihealth.evaluation.evaluate import probability_matrix
from aihealth.evaluation.held_out import Predictions
from aihealth.files import check_output, inside


def leave_one_source_out(
    data: Sequence[str],
    out: str,
    *,
    sources: Sequence[str] | None = None,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Train without each source, or without several at once, and measure on what was left out.

    A fold that has its release already is not trained again, one that was interrupted goes on.

    Args:
        data: as for `train.py --data`.
        out: folder for one run each, `held_out.npz`, `metrics.json` and figures.
        sources: what to leave out, as `LeftOut.parse` reads it; each source by default.
        options: more options of `train.py`, the same for each run.

    Returns:
        The block that `held_out.measure` makes, with `not_left_out`: the sources that could not
        be, and why.

    Raises:
        UserError: no such data or source, no source that can be left out, or a training that
            failed.
    """
    check_output(out)
    counts = train_counts(data)
    classes = list(next(iter(counts.values())))
    folds = [LeftOut.parse(text, counts, classes) for text in sources or sorted(counts)]
    without = {fold.text: reason for fold in folds if (reason := why_not(fold, counts))}
    for name, reason in without.items():
        warn(f"{name} cannot be left out: {reason}")
    folds = [fold for fold in folds if fold.text not in without]
    measured = [source for fold in folds for source in fold.sources]
    if twice := [source for source in measured if measured.count(source) > 1]:
        raise UserError(f"--sources: {twice[0]} is left out twice")
    if not folds:
        raise UserError(
            f"no source can be left out: {next(iter(without.values()))}; add --data of another "
            "hospital"
        )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    parts, changed = [], {}
    for fold in folds:
        run = inside(folder, fold.text.replace("/", "-"))
        if (run / release.RELEASE).exists():
            _check(run / release.RELEASE, data, fold.text, options)
        else:
            _train(data, fold.text, run, options)
        part = predictions_of(run / release.RELEASE, data, fold.text)
        neither = neither_of(run / release.RELEASE, fold, options)
        parts.append(dataclasses.replace(part, neither=neither))
        if (run / held_out.CHANGED).exists():
            known = Predictions.load(run / held_out.CHANGED)
            changed |= dict.fromkeys(fold.sources, known)
    predictions = held_out.with_rules(Predictions.join(parts), changed)
    predictions.save(folder / held_out.PREDICTIONS)
    block = held_out.measure(predictions) | {"not_left_out": without}
    release.write_json(folder / release.METRICS, {held_out.BLOCK: block})
    held_out.draw(predictions, folder / release.FIGURES)
    return block


def why_not(fold: LeftOut, counts: dict[str, dict[str, int]]) -> str | None:
    """Why something cannot be left out, None where it can.

    Args:
        fold: what to leave out.
        counts: for every source, how many images of each class there are to train on.
    """
    others = {name: own for name, own in counts.items() if name not in fold.sources}
    if not others:
        return "there is no other source to train on"
    for label in next(iter(others.values())):
        if not any(own[label] and (name, label) not in fold.shared for name, own in others.items()):
            return f"it alone has images of {label} to train on"
    return None


def train_counts(data: Iterable[str]) -> dict[str, dict[str, int]]:
    """For every source, how many images of each class there are to train on."""
    counts: dict[str, dict[str, int]] = {}
    for root in data:
        opened = opening.open_dataset(root)
        for split, part in opened.splits.items():
            for sample in part:
                own = counts.setdefault(sample.source, dict.fromkeys(opened.classes, 0))
                own[opened.classes[sample.label]] += split == "train"
    return counts


def _check(folder: Path, data: Sequence[str], source: str, options: Sequence[str]) -> None:
    """Refuse a release that another call made: it may have seen the source, or other data."""
    run = release.read_facts(folder / release.PROVENANCE)
    said = shlex.split(run.get("command") or "")
    if said[-1:] == ["--resume"]:
        said.pop()
    asked = ["--leave-out", source, *shlex.split(without_folders(shlex.join(options)))]
    digests = [row.get("fingerprint") for row in run.get("data") or []]
    if said[-len(asked) :] != asked or digests != [opening.fingerprint(root) for root in data]:
        raise UserError(
            f"{folder} was not trained without {source}, on this data and with these options; "
            "choose another --out"
        )


def _train(data: Sequence[str], source: str, run: Path, options: Sequence[str]) -> None:
    command = [sys.executable, str(release.in_checkout("train.py"))]
    command += [word for root in data for word in ("--data", root)]
    command += ["--out", str(run), "--leave-out", source, *options]
    if (run / "checkpoint").exists():
        command.append("--resume")
    print(f"training without {source}", flush=True)
    if subprocess.run(command).returncode:
        raise UserError(f"the training without {source} failed, see above; call again to go on")


def predictions_of(folder: Path, data: Sequence[str], source: str) -> Predictions:
    """What a release gives for all images of a source that it was trained without."""
    classifier = Classifier(folder, num_threads=1)
    images = prepared.load(data, classifier.config.input_size, leave_out=source)["left_out"]
    given = [
        answer.without_pictures()
        for answer in in_order(classifier.predict, images.pixels, f"measuring {source}")
    ]
    probability = np.maximum(probability_matrix(given), 1e-12)
    noticed = np.full(len(given), np.nan)
    for name in np.unique(images.sources):
        here = images.sources == name
        share = classifier.how_often_noticed(itertools.compress(given, here))
        noticed[here] = np.nan if share is None else share
    return Predictions(
        np.log(probability) * classifier.config.temperature,
        images.labels,
        images.sources,
        images.groups,
        np.array([not answer.is_chest_radiograph for answer in given]),
        np.array(images.classes),
        _recipe(folder),
        noticed=noticed,
    )


def neither_of(folder: Path, fold: LeftOut, options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a release gives for the images of `--neither SOURCE=DIR` of a source it has not seen.

    Returns:
        For each such source `n`, and per class the share, 0..1, that is `called` it (the most
        probable class) and the share that is `answered` so.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--neither", action="append", default=[])
    roots = folders_without(parser.parse_known_args(options)[0].neither, None)
    found = {}
    for source in fold.sources:
        folders = [root for name, root in roots if name == source]
        if not folders:
            continue
        classifier = Classifier(folder, num_threads=1)
        pixels = prepared.folder_pixels(folders, classifier.config.input_size)
        given = [classifier.predict(image).without_pictures() for image in pixels]
        called = probability_matrix(given).argmax(1)
        found[source] = {
            "n": len(given),
            "called": {
                name: round(float(np.mean(called == number)), 4)
                for number, name in enumerate(classifier.classes)
            },
            "answered": {
                name: round(sum(answer.label == name for answer in given) / len(given), 4)
                for name in classifier.classes
            },
        }
    return found


def _recipe(folder: Path) -> str:
    """How a release was trained, in a few words."""
    run = renamed(release.read_facts(folder / release.PROVENANCE))
    settings = run["settings"]
    words = [f"{settings['augment']} augmentation", f"{settings['size']} px"]
    for name in ("consistency", "background_swap"):
        if settings.get(name):
            words.insert(1, f"{name.replace('_', ' ')} {settings[name]}")
    return ", ".join([*words, f"epochs: {run['epochs']}"])
