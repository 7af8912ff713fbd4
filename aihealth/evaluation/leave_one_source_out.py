"""`python -m aihealth leave-out`: how a release would do at a hospital that it has not seen.

For each source, `train.py --leave-out SOURCE` trains a model without it; that model then answers
all of its images. Every image is so judged by a model that has seen nothing of its hospital. Test
sets of known hospitals say nothing of this (Zech et al., "Variable generalization performance of a
deep learning model to detect pneumonia in chest radiographs", PLoS Medicine 2018).
"""

import dataclasses
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import release
from aihealth.data.prepared import cells
from aihealth.errors import UserError, warn
from aihealth.evaluation import calibration, metrics

ANSWERS = "left_out.npz"
BLOCK = "left_out"  # of metrics.json
CHANGED = "changed.npz"  # beside a release: answers for changed validation images
KNOWN_ACCURACY = 0.95  # of what is answered of changed validation images
KNOWN_ABSTAINED = 0.20
TARGET_ACCURACY = 0.80  # of what is answered at a hospital that was left out
MAX_ABSTAINED = 0.30
ROWS = ("logits", "labels", "sources", "groups", "rejected")  # of `Answers`, one row an image
RULES = ("temperatures", "thresholds", "noticed")  # the same, where they are known


@dataclasses.dataclass(frozen=True)
class Answers:
    """What models gave for images of sources that they were not trained on.

    Attributes:
        logits: `(n, classes)`, before any temperature.
        labels: `(n,)` integers, index into `classes`.
        sources: `(n,)` names.
        groups: `(n,)` names; near-duplicates and images of one patient share one.
        rejected: `(n,)` bool, turned away as no chest radiograph.
        classes: class names.
        recipe: how the models were trained, for people.
        temperatures: `(n,)` to divide the logits by, the same for all images of a source; None
            where nobody has chosen them yet.
        thresholds: `(n,)` the probability, 0..1, under which the answer is "not sure"; the same.
        noticed: `(n,)` how often 20 images of the source, taken together, are noticed to come from
            elsewhere (`Classifier.shift`), 0..1; the same for all images of a source.
    """

    logits: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    groups: np.ndarray
    rejected: np.ndarray
    classes: np.ndarray
    recipe: str = ""
    temperatures: np.ndarray | None = None
    thresholds: np.ndarray | None = None
    noticed: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """Write `left_out.npz`."""
        fields = dataclasses.asdict(self)
        np.savez_compressed(path, **{name: x for name, x in fields.items() if x is not None})

    @classmethod
    def load(cls, path: str | Path) -> "Answers":
        """Read `left_out.npz`.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                recipe = str(arrays["recipe"]) if "recipe" in arrays else ""  # before 2026-11-23
                rules = {name: arrays[name] for name in RULES if name in arrays}
                rows = {name: arrays[name] for name in (*ROWS, "classes")}
                return cls(**rows, **rules, recipe=recipe)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} does not exist; `python -m aihealth leave-out` writes it"
            ) from error
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files.
            raise UserError(f"{path} is no file of `python -m aihealth leave-out`") from error

    @classmethod
    def join(cls, parts: Sequence["Answers"]) -> "Answers":
        """The answers of all folds."""
        known = [name for name in RULES if all(getattr(part, name) is not None for part in parts)]
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (*ROWS, *known)
        }
        recipe = "; ".join(sorted({part.recipe for part in parts} - {""}))
        return cls(**arrays, classes=parts[0].classes, recipe=recipe)

    def subset(self, keep: np.ndarray) -> "Answers":
        """The images that a boolean mask names."""
        kept = {name: getattr(self, name)[keep] for name in ROWS}
        return dataclasses.replace(self, **kept, **dict.fromkeys(RULES))

    def weights(self) -> np.ndarray:
        """`(n,)`: every pair of class and source counts alike."""
        numbers = cells(self.labels, self.sources)
        return 1.0 / np.bincount(numbers)[numbers]

    def probabilities(self, temperature: float | np.ndarray = 1.0) -> np.ndarray:
        """`(n, classes)` at a temperature, or at one for each row."""
        scaled = self.logits / temperature
        scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return scaled / scaled.sum(axis=1, keepdims=True)


def leave_out(
    data: Sequence[str],
    out: str,
    *,
    sources: Sequence[str] | None = None,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Train without each source and measure on it.

    A fold that has its release already is not trained again, one that was interrupted goes on.

    Args:
        data: as for `train.py --data`.
        out: folder for one run per source, `left_out.npz`, `metrics.json` and figures.
        sources: which to leave out; all by default.
        options: more options of `train.py`, the same for each run.

    Returns:
        The block that `measure` makes, with `not_left_out`: the sources that could not be, and
        why.

    Raises:
        UserError: no such data or source, no source that can be left out, or a training that
            failed.
    """
    from aihealth.evaluation.evaluate import check_output

    check_output(out)
    counts = train_counts(data)
    known = sorted(counts)
    unknown = sorted(set(sources or ()) - set(known))
    if unknown:
        raise UserError(f"--sources {unknown[0]}: the data's sources are {', '.join(known)}")
    without = {name: reason for name in sources or known if (reason := why_not(name, counts))}
    for name, reason in without.items():
        warn(f"{name} cannot be left out: {reason}")
    chosen = [name for name in sources or known if name not in without]
    if not chosen:
        raise UserError(
            f"no source can be left out: {next(iter(without.values()))}; add --data of another "
            "hospital"
        )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    parts, changed = [], {}
    for source in chosen:
        run = folder / source
        if (run / release.RELEASE).exists():
            _check(run / release.RELEASE, data, source, options)
        else:
            _train(data, source, run, options)
        parts.append(answers_of(run / release.RELEASE, data, source))
        if (run / CHANGED).exists():
            changed[source] = Answers.load(run / CHANGED)
    answers = with_rules(Answers.join(parts), changed)
    answers.save(folder / ANSWERS)
    block = measure(answers) | {"not_left_out": without}
    release.write_json(folder / release.METRICS, {BLOCK: block})
    draw(answers, folder / release.FIGURES)
    return block


def why_not(source: str, counts: dict[str, dict[str, int]]) -> str | None:
    """Why a source cannot be left out, None where it can.

    Args:
        source: its name.
        counts: for every source, how many images of each class there are to train on.
    """
    if len(counts) == 1:
        return "there is no other source to train on"
    for label in counts[source]:
        if not any(own[label] for name, own in counts.items() if name != source):
            return f"it alone has images of {label} to train on"
    return None


def train_counts(data: Iterable[str]) -> dict[str, dict[str, int]]:
    """For every source, how many images of each class there are to train on."""
    from aihealth.data.prepared import open_splits

    counts: dict[str, dict[str, int]] = {}
    for root in data:
        for split, part in open_splits(root).items():
            names = part.features["label"].names
            for source, label in zip(part["source"], part["label"], strict=True):
                own = counts.setdefault(source, dict.fromkeys(names, 0))
                own[names[label]] += split == "train"
    return counts


def _check(folder: Path, data: Sequence[str], source: str, options: Sequence[str]) -> None:
    """Refuse a release that another call made: it may have seen the source, or other data."""
    from aihealth.data.prepared import fingerprint
    from aihealth.data.provenance import without_folders

    run = release.read_json(folder / release.PROVENANCE)
    said = shlex.split(run.get("command") or "")
    if said[-1:] == ["--resume"]:
        said.pop()
    asked = ["--leave-out", source, *shlex.split(without_folders(shlex.join(options)))]
    digests = [row.get("fingerprint") for row in run.get("data") or []]
    if said[-len(asked) :] != asked or digests != [fingerprint(root) for root in data]:
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


def answers_of(folder: Path, data: Sequence[str], source: str) -> Answers:
    """What a release gives for all images of a source that it was trained without."""
    from aihealth.classifier import Classifier
    from aihealth.data import prepared as datasets
    from aihealth.data.parallel import in_order
    from aihealth.evaluation.evaluate import probability_matrix

    classifier = Classifier(folder, num_threads=1)
    images = datasets.load(data, classifier.config.input_size, leave_out=source)["left_out"]
    given = [
        answer.without_pictures()
        for answer in in_order(classifier.predict, images.pixels, f"measuring {source}")
    ]
    probability = np.maximum(probability_matrix(given), 1e-12)
    share = classifier.how_often_noticed(given)
    return Answers(
        np.log(probability) * classifier.config.temperature,
        images.labels,
        images.sources,
        images.groups,
        np.array([not answer.is_chest_radiograph for answer in given]),
        np.array(images.classes),
        _recipe(folder),
        noticed=None if share is None else np.full(len(given), share),
    )


def _recipe(folder: Path) -> str:
    """How a release was trained, in a few words."""
    run = release.read_json(folder / release.PROVENANCE)
    settings = run["settings"]
    words = [f"{settings['augment']} augmentation", f"{settings['size']} px"]
    if settings.get("exchange"):
        words.insert(1, f"exchange {settings['exchange']}")
    return ", ".join([*words, f"epochs: {run['epochs']}"])


def temperature(changed: Answers | None, unseen: Answers | None) -> float:
    """The temperature, 1 or more, that is right for known hospitals and for those left out.

    Args:
        changed: a model's answers for validation images that were changed as in training.
        unseen: answers at sources that were left out; they weigh as much. One of the two.

    Returns:
        1 where the answers are not too sure: they never become surer than the network's own.
    """
    parts = [part for part in (changed, unseen) if part is not None]
    weights = [part.weights() / part.weights().sum() for part in parts]
    fitted = calibration.temperature_scale(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(weights),
    )
    return max(1.0, fitted)


def abstention(
    changed: Answers | None, unseen: Answers | None, temperature: float
) -> tuple[float, str]:
    """Choose the probability under which the classifier answers "not sure".

    On changed images, as for the temperature: on images as they are nearly every answer is right,
    and the threshold would be too low for another hospital's.

    Args:
        changed: as for `temperature`.
        unseen: as for `temperature`; the higher of both thresholds is taken.
        temperature: what the logits are divided by.

    Returns:
        The threshold, and a sentence that says how it was chosen.
    """
    known = "answers for validation images that were changed as in training", "right"
    left_out = "images of sources that training left out", "right there"
    found = []
    for answers, accuracy, abstained, (what, right) in (
        (changed, KNOWN_ACCURACY, KNOWN_ABSTAINED, known),
        (unseen, TARGET_ACCURACY, MAX_ABSTAINED, left_out),
    ):
        if answers is None:
            continue
        probability = answers.probabilities(temperature)
        correct = probability.argmax(1) == answers.labels
        confidence = probability.max(1)
        least = calibration.choose_abstention(confidence, correct, accuracy, abstained)
        reached = correct[confidence >= least].mean()
        if reached >= accuracy:
            rule = f"the lowest probability at which {accuracy:.0%} of the answers are {right}."
        else:
            rule = (
                f"{accuracy:.0%} of the answers {right} was asked for; leaving no more than "
                f"{abstained:.0%} unanswered, {reached:.1%} is the most there is."
            )
        found.append((round(least, 4), f"Chosen on {len(answers.labels)} {what}: {rule}"))
    return max(found, key=lambda pair: pair[0])


def with_rules(answers: Answers, changed: dict[str, Answers]) -> Answers:
    """Add what a release of each fold's model would have: temperature and threshold.

    Both come from that model's `changed` answers and from the other sources that were left out, so
    that no image helps to choose what it is measured with.

    Args:
        answers: of all folds.
        changed: per source that was left out, the answers for changed validation images.
    """
    temperatures, thresholds = np.full((2, len(answers.labels)), np.nan)
    for name in np.unique(answers.sources):
        here = answers.sources == name
        others = answers.subset(~here) if not here.all() else None
        known = changed.get(str(name))
        if known is None and others is None:
            others = answers
        temperatures[here] = temperature(known, others)
        thresholds[here] = abstention(known, others, temperatures[here][0])[0]
    return dataclasses.replace(answers, temperatures=temperatures, thresholds=thresholds)


def measure(answers: Answers) -> dict[str, Any]:
    """Figures at hospitals that were left out, with the rules of `with_rules`.

    Returns:
        A block of `metrics.json`, with `temperatures` and, before any temperature, `ece_before`,
        both per source, `ece_of_sources` (see `calibration.mean_calibration_error`), and, where
        they are known, `noticed` per source and the `recipe` of the models.
    """
    answers = _ruled(answers)
    as_they_are = answers.probabilities()
    probability = answers.probabilities(answers.temperatures[:, None])
    abstained = (probability.max(1) < answers.thresholds) & ~answers.rejected
    temperatures, before, noticed = {}, {}, {}
    for name in sorted(set(answers.sources.tolist())):
        here = answers.sources == name
        error = calibration.expected_calibration_error(as_they_are[here], answers.labels[here])
        before[name] = round(error, 4)
        temperatures[name] = round(float(answers.temperatures[here][0]), 3)
        if answers.noticed is not None:
            noticed[name] = round(float(answers.noticed[here][0]), 3)
    groups = np.char.add(np.char.add(answers.sources.astype(str), "/"), answers.groups.astype(str))
    block = metrics.evaluate_predictions(
        answers.labels,
        probability,
        answers.classes.tolist(),
        groups=groups,
        sources=answers.sources,
        rejected=answers.rejected,
        abstained=abstained,
        dataset="each source by a model trained without it",
    )
    block |= {"temperatures": temperatures, "ece_before": before, "noticed": noticed}
    block["ece_of_sources"] = calibration.mean_calibration_error(
        probability, answers.labels, answers.sources, groups
    )
    return block | ({"recipe": answers.recipe} if answers.recipe else {})


def draw(answers: Answers, folder: Path) -> list[Path]:
    """Draw reliability and errors against coverage of each source; returns the PNG files."""
    from aihealth.evaluation import figures

    answers = _ruled(answers)
    given = answers.probabilities(answers.temperatures[:, None])
    return figures.write_left_out(folder, answers.labels, given, answers.sources)


def _ruled(answers: Answers) -> Answers:
    """With temperature and threshold of each fold, where nobody has chosen them yet."""
    known = answers.temperatures is not None and answers.thresholds is not None
    return answers if known else with_rules(answers, {})
