"""From trained weights to a release folder: calibrate, set limits, export, measure, describe."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from aihealth import images, release
from aihealth.classifier import Classifier
from aihealth.data import opening, prepared
from aihealth.data.opening import without_path
from aihealth.data.parallel import in_order
from aihealth.data.prepared import Images
from aihealth.errors import UserError
from aihealth.evaluation import figures, held_out
from aihealth.evaluation.evaluate import block_of, probability_matrix
from aihealth.modeling import export, graph
from aihealth.training import augmentation, checkpoint, starting_point
from aihealth.training.calibrating import changed_predictions, scale
from aihealth.training.describing import describe_run
from aihealth.training.distance import distance_of_model
from aihealth.training.loading import with_outlines
from aihealth.training.loop import Run


def build_release(run: Run) -> Path:
    """Make the release of a training that has ended, with the weights of its best epoch.

    Everything is written beside the release's folder, which appears when all of it is there; what
    `leave_one_source_out` needs of it goes beside it for good.

    Returns:
        The release's folder.

    Raises:
        UserError: the validation loss never was a number, or the data has changed.
    """
    settings = run.settings
    folder = settings.out / release.RELEASE
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / release.FIGURES).mkdir(parents=True)
    model = released_model(run)
    splits = serving_splits(run)
    train, validation = splits["train"], splits["validation"]

    print("calibrating on validation images changed as in training ...", flush=True)
    augment, _ = augmentation.by_name(settings.augment, settings.size, settings.background_swap)
    given = with_outlines(validation) if settings.background_swap else validation
    changed = changed_predictions(model, given, augment)
    temperature = held_out.temperature(changed, run.held_out)
    threshold, rule = held_out.abstention(changed, run.held_out, temperature)
    calibration = scale(model, validation, temperature)
    export.round_weights(model)
    print("fitting the out-of-distribution score ...", flush=True)
    distance, limits = distance_of_model(model, train, validation)
    distance.save(part / release.OOD)
    release.ReleaseConfig(
        classes=train.classes,
        input_size=model.input_shape[1],
        arch=settings.arch,
        sources=sorted({str(source) for source in train.sources}),
        drawn_data=train.drawn > 0,
        temperature=calibration["temperature"],
        abstain_below=threshold,
        abstain_rule=rule,
        lateral_threshold=lateral_threshold(train),
        **limits,
    ).save(part)
    print("exporting for Keras, TensorFlow and LiteRT ...", flush=True)
    export.export_model(model, part)

    print("measuring the exported file ...", flush=True)
    blocks = measure_all(part, run, splits)
    release.write_json(part / release.METRICS, {**blocks, "calibration": calibration})
    history = run.progress.history
    release.write_json(part / release.HISTORY, history)
    if history:
        curves = figures.training_figure(history)
        figures.save(curves, part / release.FIGURES / "training_curves.png")
    leaked = int(np.isin(splits["test"].groups, train.groups).sum())
    described = describe_run(
        model,
        settings.data,
        run.data.fingerprints,
        images={split: len(found) for split, found in splits.items()},
        test_images_in_training_groups=leaked,
        **run.facts(),
    )
    release.write_json(part / release.PROVENANCE, described)
    if not settings.stream:
        starting_point.write_seen(part, run.starts, (train, validation))
    changed.save(folder.with_name(held_out.CHANGED))
    part.rename(folder)
    for name, block in blocks.items():
        print(f"{'test' if name == 'test' else block['dataset']}: {summary(block)}")
    return folder


def released_model(run: Run) -> keras.Model:
    """The network as it is released, before its temperature."""
    if run.progress.history:
        checkpoint.use_best(run.settings.out, run.model)
    return graph.in_single_precision(run.model)


def serving_splits(run: Run) -> dict[str, Images]:
    """The images as serving decodes them.

    Shrinking the larger ones of training once more would blur them, and the distance fitted on
    those took one radiograph in six for none with much local contrast. Outlines are not in them.

    Raises:
        UserError: the data has changed since the training read it.
    """
    settings, splits = run.settings, run.data.splits
    same_side = splits["train"].pixels.shape[1] == settings.size
    if settings.stream or (same_side and not settings.background_swap):
        return splits
    if [opening.fingerprint(root) for root in settings.data] != run.data.fingerprints:
        raise UserError(
            f"--data changed while {settings.out} was trained; go on with --resume when it is as "
            "it was"
        )
    splits.clear()  # Both sizes at once may not fit into memory.
    splits |= prepared.load(settings.data, settings.size, leave_out=settings.leave_out)
    splits["test"] = starting_point.left_over(
        splits["test"], starting_point.overlap(run.starts, splits["test"])
    )
    return splits


def measure_all(folder: Path, run: Run, splits: dict[str, Images]) -> dict[str, dict[str, Any]]:
    """The blocks of `metrics.json`, of all that there is to measure on."""
    names = " + ".join(without_path(root) for root in run.settings.data)
    blocks = {"test": measure(folder, splits["test"], f"{names}, test split", draw=True)}
    if "left_out" in splits:
        what = run.settings.leave_out
        blocks[f"left_out_{what}"] = measure(folder, splits["left_out"], f"{what}, left out")
    if run.held_out is not None:
        blocks[held_out.BLOCK] = held_out.measure(run.held_out)
        held_out.draw(run.held_out, folder / release.FIGURES)
    return blocks


def summary(block: dict[str, Any]) -> str:
    """A block of `metrics.json` in a line."""
    bounds = block["intervals"]["balanced_accuracy"]  # None with a single group
    told = f" (95% interval {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
    return (
        f"{block['n']} images, balanced accuracy {block['balanced_accuracy']:.3f}{told}, "
        f"accuracy {block['accuracy']:.3f}"
    )


def lateral_threshold(train: Images) -> float:
    """Mirror correlation that 99.5% of the training images, all frontal, exceed."""
    return round(
        float(np.quantile([images.mirror_correlation(image) for image in train.pixels], 0.005)), 4
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
