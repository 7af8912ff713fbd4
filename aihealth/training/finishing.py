"""From trained weights to a release folder: calibrate, thresholds, export, measure, describe."""

import datetime
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from aihealth import images, release
from aihealth.classifier import Classifier
from aihealth.data import provenance as lineage
from aihealth.data.parallel import in_order
from aihealth.data.prepared import Images
from aihealth.evaluation import figures
from aihealth.evaluation import leave_one_source_out as loso
from aihealth.evaluation.calibration import expected_calibration_error
from aihealth.evaluation.evaluate import block_of, probability_matrix, without_path
from aihealth.evaluation.intervals import SEED
from aihealth.modeling import export, graph
from aihealth.training.batches import evaluation_batches, three_channels
from aihealth.training.distance import distance_of_model

BATCH = 64
PERTURBATIONS = 4  # of each validation image, to calibrate on
PACKAGES = ("tensorflow", "keras", "datasets", "huggingface_hub", "numpy", "pillow")


def write_release(
    folder: Path,
    model: keras.Model,
    splits: dict[str, Images],
    arch: str,
    data: Sequence[str],
    history: dict[str, list[float]],
    facts: dict[str, Any],
    perturb: Callable[[tf.Tensor], tf.Tensor],
    unseen: loso.Answers | None = None,
) -> None:
    """Calibrate, set thresholds, export, measure and describe.

    Everything is written beside `folder`, which appears when all of it is there; what
    `leave_out` needs of it goes beside it for good.

    Args:
        folder: the release; must not exist.
        model: trained, in single precision; its weights are rounded and its logits scaled.
        splits: "train", "validation", "test" and perhaps "left_out", at the model's input size.
        arch: the architecture's name.
        data: the datasets as `train.py --data` got them.
        history: figures per epoch; none where nothing was trained.
        facts: for `provenance.json`.
        perturb: the augmentation of training, for calibration.
        unseen: answers for sources that were left out, for calibration, the rule for "not sure"
            and the card.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / release.FIGURES).mkdir(parents=True)
    size = model.input_shape[1]
    train, validation = splits["train"], splits["validation"]

    changed = changed_answers(model, validation, perturb)
    temperature = loso.temperature(changed, unseen)
    threshold, rule = loso.abstention(changed, unseen, temperature)
    calibration = scale(model, validation, temperature)
    export.round_weights(model)
    distance, limits = distance_of_model(model, train, validation)
    distance.save(part / release.OOD)
    release.ReleaseConfig(
        classes=train.classes,
        input_size=size,
        arch=arch,
        sources=sorted({str(source) for source in train.sources}),
        drawn_data=train.drawn > 0,
        temperature=calibration["temperature"],
        abstain_below=threshold,
        abstain_rule=rule,
        lateral_threshold=lateral_threshold(train),
        **limits,
    ).save(part)
    export.export_model(model, part)

    names = " + ".join(without_path(root) for root in data)
    blocks = {"test": measure(part, splits["test"], f"{names}, test split", draw=True)}
    if "left_out" in splits:
        source = str(splits["left_out"].sources[0])
        blocks[f"left_out_{source}"] = measure(part, splits["left_out"], f"{source}, left out")
    if unseen is not None:
        blocks[loso.BLOCK] = loso.measure(unseen)
        loso.draw(unseen, part / release.FIGURES)
    release.write_json(part / release.METRICS, {**blocks, "calibration": calibration})
    release.write_json(part / release.HISTORY, history)
    if history:
        curves = figures.training_figure(history)
        figures.save(curves, part / release.FIGURES / "training_curves.png")
    counts = {split: len(found) for split, found in splits.items()}
    leaked = int(np.isin(splits["test"].groups, splits["train"].groups).sum())
    facts |= {"test_images_in_training_groups": leaked}
    release.write_json(part / release.PROVENANCE, describe_run(model, data, images=counts, **facts))
    changed.save(folder.with_name(loso.CHANGED))
    part.rename(folder)
    print(f"test: {summary(blocks['test'])}")
    for name, block in blocks.items():
        if name != "test":
            print(f"{block['dataset']}: {summary(block)}")


def summary(block: dict[str, Any]) -> str:
    """A block of `metrics.json` in a line."""
    bounds = block["intervals"]["balanced_accuracy"]  # None with a single group
    told = f" (95% interval {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
    return (
        f"{block['n']} images, balanced accuracy {block['balanced_accuracy']:.3f}{told}, "
        f"accuracy {block['accuracy']:.3f}"
    )


def probabilities(model: keras.Model, split: Images) -> np.ndarray:
    """`(n, classes)` probabilities of a Keras model."""
    return model.predict(evaluation_batches(split, BATCH), verbose=0)


def changed_answers(
    model: keras.Model, validation: Images, perturb: Callable[[tf.Tensor], tf.Tensor]
) -> loso.Answers:
    """What a model gives for validation images that are changed as in training, several times.

    Answers for images as they are are right for the hospitals at hand and too sure everywhere
    else; changing them first stands for the shift to another hospital (Tomani et al., "Post-hoc
    Uncertainty Calibration for Domain Drift Scenarios", CVPR 2021).

    Args:
        model: with a softmax at its end.
        validation: images that training did not see.
        perturb: the augmentation of training, uint8 `(n, s, s)` to float32 `(n, s, s, 1)`.
    """
    generator = np.random.default_rng(SEED)
    count = len(validation)
    rounds = []
    for _ in range(PERTURBATIONS):
        # Images lie sorted by class. Some changes mix two images of a batch, or treat its halves
        # in two ways: as in training, these must be of any class and source.
        order = generator.permutation(count)
        given = np.empty((count, len(validation.classes)))
        for rows in np.array_split(order, -(-count // BATCH)):
            batch = perturb(tf.constant(validation.pixels[rows]))
            given[rows] = model.predict(three_channels(batch), verbose=0)
        rounds.append(given)
    probability = np.concatenate(rounds)
    return loso.Answers(
        np.log(np.maximum(probability, 1e-12)),
        *(np.tile(x, PERTURBATIONS) for x in (validation.labels, validation.sources)),
        np.tile(validation.groups, PERTURBATIONS),
        np.zeros(len(probability), bool),
        np.array(validation.classes),
    )


def scale(model: keras.Model, validation: Images, temperature: float) -> dict[str, Any]:
    """Put a temperature into a model.

    Args:
        model: its last layer is changed in place.
        validation: images that training did not see.
        temperature: what its logits are divided by.

    Returns:
        `temperature`, and the expected calibration error on the validation images as they are,
        before and after: `ece_before`, `ece_after`, and both in `per_source`.
    """
    before = probabilities(model, validation)
    export.scale_logits(model, temperature)
    after = probabilities(model, validation)

    def errors(keep: np.ndarray) -> dict[str, float]:
        return {
            f"ece_{name}": round(
                expected_calibration_error(given[keep], validation.labels[keep]), 4
            )
            for name, given in (("before", before), ("after", after))
        }

    return {
        "temperature": round(temperature, 4),
        **errors(np.ones(len(validation), bool)),
        "per_source": {
            str(source): errors(validation.sources == source)
            for source in np.unique(validation.sources)
        },
    }


def lateral_threshold(train: Images) -> float:
    """Mirror correlation that 99.5% of the training films, all frontal, exceed."""
    return round(
        float(np.quantile([images.mirror_correlation(film) for film in train.pixels], 0.005)), 4
    )


def measure(folder: Path, split: Images, name: str, *, draw: bool = False) -> dict[str, Any]:
    """Evaluate the exported release on one split, as its users will run it.

    Args:
        folder: the release.
        split: images at the model's input size.
        name: of the dataset, for `metrics.json` and the figures.
        draw: also draw the figures.

    Returns:
        A block of `metrics.json`.
    """
    classifier = Classifier(folder, num_threads=1)
    answers = list(in_order(classifier.predict, split.pixels, "measuring"))
    if draw:
        given = probability_matrix(answers)
        figures.write_all(
            folder / release.FIGURES, split.labels, given, split.classes, dataset=name
        )
    return block_of(
        classifier,
        answers,
        split.labels,
        groups=split.groups,
        sources=split.sources,
        dataset=name,
    )


def describe_run(model: keras.Model, data: Sequence[str], **facts: Any) -> dict[str, Any]:
    """Everything needed to say where a release came from.

    Args:
        model: the trained network.
        data: the datasets as `train.py --data` got them.
        facts: what else the run knows: `fingerprints` of the data, seed, epochs, seconds, settings,
            starting weights (names of files; those of other releases bring along what their runs
            knew).
    """
    digests = facts.pop("fingerprints")
    weights = facts.get("starting_weights") or []
    facts["starting_weights"] = [Path(name).name for name in weights]
    earlier = map(lineage.provenance_of, weights)
    runs, places = lineage.flatten([run for run in earlier if run])
    facts |= {lineage.PARENTS: places, lineage.EARLIER: runs}
    return {
        "date": datetime.date.today().isoformat(),
        "command": lineage.without_folders(shlex.join(["python", *sys.argv])),
        "git_commit": _git_commit(),
        "parameters": graph.count_params(model),
        "data": [
            {
                "name": without_path(root),
                "repo_id": None if os.path.isdir(root) else root.partition("@")[0],
                "fingerprint": digest,
            }
            for root, digest in zip(data, digests, strict=True)
        ],
        "versions": {
            "python": platform.python_version(),
            "aihealth": version_of("aihealth"),
            **{name: version_of(name) for name in PACKAGES},
        },
        "device": _device(),
        **facts,
    }


def _device() -> str:
    """What TensorFlow computes on, for people."""
    found = tf.config.list_physical_devices("GPU")
    names = {tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in found}
    if found:
        return f"{len(found)} GPU ({', '.join(sorted(map(str, names)))})"
    return f"{os.cpu_count()} CPU cores"


def version_of(package: str) -> str | None:
    """Installed version; for this package, which runs from a checkout, its own."""
    if package == "aihealth":
        from aihealth import __version__

        return __version__
    return version(package)


def _git_commit() -> str | None:
    """Commit of the checkout, with "+changes" when files differ from it; None outside of git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
