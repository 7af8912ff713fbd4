"""`python -m aihealth leave-out`: how a release would do at a hospital that it has not seen.

For each source, `train.py --leave-out SOURCE` trains a model without it; that model then answers
all of its images. Every image is so judged by a model that has seen nothing of its hospital. Test
sets of known hospitals say nothing of this (Zech et al., "Variable generalization performance of a
deep learning model to detect pneumonia in chest radiographs", PLoS Medicine 2018).
"""

import dataclasses
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import metrics, release
from aihealth.data import cells
from aihealth.errors import UserError

ANSWERS = "left_out.npz"
BLOCK = "left_out"  # of metrics.json
TARGET_ACCURACY = 0.80  # of what is answered at a hospital that was left out
MAX_ABSTAINED = 0.30
ROWS = ("logits", "labels", "sources", "groups", "rejected")  # of `Answers`, one row an image
TRAIN = Path(__file__).resolve().parent.parent / "train.py"


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
    """

    logits: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    groups: np.ndarray
    rejected: np.ndarray
    classes: np.ndarray
    recipe: str = ""

    def save(self, path: Path) -> None:
        """Write `left_out.npz`."""
        np.savez_compressed(path, **dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Answers":
        """Read `left_out.npz`.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                recipe = str(arrays["recipe"]) if "recipe" in arrays else ""  # before 2026-11-23
                return cls(**{name: arrays[name] for name in (*ROWS, "classes")}, recipe=recipe)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} does not exist; `python -m aihealth leave-out` writes it"
            ) from error
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files.
            raise UserError(f"{path} is no file of `python -m aihealth leave-out`") from error

    @classmethod
    def join(cls, parts: Sequence["Answers"]) -> "Answers":
        """The answers of all folds."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ROWS}
        recipe = "; ".join(sorted({part.recipe for part in parts} - {""}))
        return cls(**arrays, classes=parts[0].classes, recipe=recipe)

    def subset(self, keep: np.ndarray) -> "Answers":
        """The images that a boolean mask names."""
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in ROWS})

    def weights(self) -> np.ndarray:
        """`(n,)`: every pair of class and source counts alike."""
        numbers = cells(self.labels, self.sources)
        return 1.0 / np.bincount(numbers)[numbers]

    def probabilities(self, temperature: float = 1.0) -> np.ndarray:
        """`(n, classes)` at a temperature."""
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
        out: folder for one run per source, `left_out.npz` and `metrics.json`.
        sources: which to leave out; all by default.
        options: more options of `train.py`, the same for each run.

    Returns:
        The block that `measure` makes.

    Raises:
        UserError: no such data or source, a source without which a class has no images, or a
            training that failed.
    """
    from aihealth.evaluate import check_output

    check_output(out)
    known = known_sources(data)
    unknown = sorted(set(sources or ()) - set(known))
    if unknown:
        raise UserError(f"--sources {unknown[0]}: the data's sources are {', '.join(known)}")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for source in sources or known:
        run = folder / source
        if not (run / release.RELEASE).exists():
            _train(data, source, run, options)
        parts.append(answers_of(run / release.RELEASE, data, source))
    answers = Answers.join(parts)
    answers.save(folder / ANSWERS)
    block = measure(answers)
    release.write_json(folder / release.METRICS, {BLOCK: block})
    return block


def known_sources(data: Iterable[str]) -> list[str]:
    """Names of the sources of prepared datasets, sorted."""
    from aihealth.data import open_splits

    return sorted({name for root in data for part in open_splits(root).values()
                   for name in part.unique("source")})  # fmt: skip


def _train(data: Sequence[str], source: str, run: Path, options: Sequence[str]) -> None:
    command = [sys.executable, str(TRAIN)]
    command += [word for root in data for word in ("--data", root)]
    command += ["--out", str(run), "--leave-out", source, *options]
    if (run / "checkpoint").exists():
        command.append("--resume")
    print(f"training without {source}", flush=True)
    if subprocess.run(command).returncode:
        raise UserError(f"the training without {source} failed, see above; call again to go on")


def answers_of(folder: Path, data: Sequence[str], source: str) -> Answers:
    """What a release gives for all images of a source that it was trained without."""
    from aihealth import data as datasets
    from aihealth.classifier import Classifier
    from aihealth.evaluate import probability_matrix
    from aihealth.parallel import in_order

    classifier = Classifier(folder, num_threads=1)
    images = datasets.load(data, classifier.config.input_size, leave_out=source)["left_out"]
    given = list(in_order(classifier.predict, images.pixels, f"measuring {source}"))
    probability = np.maximum(probability_matrix(given), 1e-12)
    return Answers(
        np.log(probability) * classifier.config.temperature,
        images.labels,
        images.sources,
        images.groups,
        np.array([not answer.is_chest_radiograph for answer in given]),
        np.array(images.classes),
        _recipe(folder),
    )


def _recipe(folder: Path) -> str:
    """How a release was trained, in a few words."""
    run = release.read_json(folder / release.PROVENANCE)
    settings = run["settings"]
    words = [f"{settings['augment']} augmentation", f"{settings['size']} px"]
    if settings.get("exchange"):
        words.insert(1, f"exchange {settings['exchange']}")
    return ", ".join([*words, f"epochs: {run['epochs']}"])


def temperature_for(answers: Answers) -> float:
    """The temperature, 1 or more, that is right for sources that were left out."""
    fitted = metrics.temperature_scale(answers.logits, answers.labels, answers.weights())
    return max(1.0, fitted)


def threshold(answers: Answers, temperature: float) -> float:
    """The probability, 0..1, under which to answer "not sure" at sources that were left out."""
    probability = answers.probabilities(temperature)
    return metrics.choose_abstention(
        probability.max(1),
        probability.argmax(1) == answers.labels,
        TARGET_ACCURACY,
        MAX_ABSTAINED,
    )


def measure(answers: Answers) -> dict[str, Any]:
    """Figures at hospitals that were left out, calibrated without them too.

    Temperature and threshold for a source come from the other sources' answers, so that no image
    helps to choose what it is measured with.

    Returns:
        A block of `metrics.json`, with `temperatures` and, before any temperature, `ece_before`,
        both per source, and the `recipe` of the models where it is known.
    """
    names = sorted(set(answers.sources.tolist()))
    probability = answers.probabilities()
    abstained = np.zeros(len(probability), bool)
    temperatures, before = {}, {}
    for name in names:
        here = answers.sources == name
        before[name] = round(
            metrics.expected_calibration_error(probability[here], answers.labels[here]), 4
        )
        others = answers.subset(~here) if len(names) > 1 else answers
        temperature = temperature_for(others)
        temperatures[name] = round(temperature, 3)
        probability[here] = answers.subset(here).probabilities(temperature)
        abstained[here] = probability[here].max(1) < threshold(others, temperature)
    block = metrics.evaluate_predictions(
        answers.labels,
        probability,
        answers.classes.tolist(),
        groups=np.char.add(
            np.char.add(answers.sources.astype(str), "/"), answers.groups.astype(str)
        ),
        sources=answers.sources,
        rejected=answers.rejected,
        abstained=abstained,
        dataset="each source by a model trained without it",
    )
    block |= {"temperatures": temperatures, "ece_before": before}
    return block | ({"recipe": answers.recipe} if answers.recipe else {})
