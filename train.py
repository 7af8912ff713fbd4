"""Train a chest radiograph classifier and write a release folder.

    python -m data_prep demo --out demo/images
    python -m data_prep prepare demo/images --out demo/data
    python train.py --data demo/data --out runs/demo

trains the default network on drawn images in a few minutes. For the original project's data:

    python -m data_prep prepare aihealth=DataSet --out data/aihealth
    python train.py --data data/aihealth --out runs/compact
    python train.py --data data/aihealth --out runs/baseline --arch baseline

`--data` is a folder made by `data_prep prepare` or a dataset repo on the Hub, and can be given
several times. The run's folder holds `checkpoint/` (go on with `--resume`) and, at the end,
`release/`: weights, configuration, figures and card. Publishing adds the code that serves them:

    python push_to_hub.py model --release runs/compact/release --repo-id ORG/NAME

`--stream` reads a dataset repo that fits neither memory nor disk as training goes on. Several
processes or machines train together with KERAS_BACKEND=jax: docs/scale.md says how.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from aihealth.errors import UserError, run_cli
from aihealth.release import no_part_left
from aihealth.training import distribution

# What each architecture is trained with, unless an option says otherwise. `baseline` is the
# original script's recipe; docs/lab-notebook.md says what of `compact` was measured.
RECIPES = {
    "compact": {
        "size": 160,
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "augment": "mixed",
        "exchange": 0.5,
        "balance": 0.5,
        "smoothing": 0.1,
        "average": 0.99,
        "patience": 8,
    },
    "baseline": {
        "size": 224,
        "epochs": 10,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "augment": "original",
        "exchange": 0.0,
        "balance": 0.0,
        "smoothing": 0.0,
        "average": 0.0,
        "patience": 10,
    },
}

TRIM = 0.1  # of `aihealth.modeling.framing.frame_images`, for training images


def main() -> None:
    """Load, build, train, release."""
    args = parse_arguments()
    cluster = distribution.Cluster.from_environment()
    run = Path(args.out)
    check_output(run, args.resume, cluster.first)
    from aihealth.training import starting_point

    args.starts = [starting_point.locate(name) for name in args.weights or ()]
    args.weights = [start.path for start in args.starts] or None
    with distribution.joined(cluster), no_part_left(run):
        trained = train(args, run, cluster)
    import keras

    if keras.backend.backend() == "tensorflow":
        with no_part_left(run):
            write_release(args, run, trained)
    elif cluster.first:
        distribution.go_on_with_tensorflow()


def train(args: argparse.Namespace, run: Path, cluster: distribution.Cluster) -> tuple:
    """Load, build and train: the model, the data, what is known of the run, the augmentation."""
    import keras
    import tensorflow as tf

    from aihealth.data import prepared as data
    from aihealth.data import provenance as lineage
    from aihealth.data import streaming
    from aihealth.evaluation import leave_one_source_out as loso
    from aihealth.modeling import architectures, export, framing
    from aihealth.training import augmentation, batches, checkpoint, starting_point

    answers = args.left_out_answers
    unseen = loso.Answers.load(answers) if answers else None
    if args.leave_out:
        lineage.check_left_out(args.weights or (), args.leave_out)
    if unseen and args.leave_out:  # What is measured must not choose its own temperature.
        others = unseen.sources != args.leave_out
        unseen = unseen.subset(others) if others.any() else None
    say = print if cluster.first else lambda *_: None
    keras.utils.set_random_seed(args.seed)
    tf.random.set_seed(args.seed + cluster.index)  # Each process augments in its own way.
    use_the_machine()

    # === Data ===
    change, margin = augmentation.by_name(args.augment, args.size, args.exchange)
    train_size = round(args.size * margin)
    finder = framing.load_localiser(args.localiser) if args.localiser else None
    if args.stream:
        splits = streaming.load(args.data, args.size, args.hold, args.seed)
        counts = streaming.count(args.data)
        images, sources = sum(counts.values()), {source for _, source in counts}
    else:
        sides = (framing.IMAGE_SIDE, None) if finder else (args.size, train_size)
        splits = data.load(args.data, *sides, leave_out=args.leave_out)
        if args.train_only:
            known, side = splits["train"], sides[1] or sides[0]
            extra = [data.class_folders(root, known.classes, side) for root in args.train_only]
            splits["train"] = data.join([known, *extra])
        images, sources = len(splits["train"]), set(splits["train"].sources)
    neither = data.folder_pixels(args.neither, splits["train"].pixels.shape[1])
    if finder:
        neither = framing.frame_images(finder, neither, train_size, TRIM, args.seed)
        train_frames = framing.frame_images(
            finder, splits["train"].pixels, train_size, TRIM, args.seed
        )
        splits["train"] = dataclasses.replace(splits["train"], pixels=train_frames)
        frames = framing.frame_images(finder, splits["validation"].pixels, args.size)
        splits["validation"] = dataclasses.replace(splits["validation"], pixels=frames)
    found = starting_point.overlap(args.starts, splits["test"])
    splits["test"] = starting_point.left_over(splits["test"], found)
    if found.facts["left_out"] or found.unknown:
        say(starting_point.overlap_text(found.facts))
    classes, validation = splits["train"].classes, splits["validation"]
    say(
        f"{images} images to train on, {len(validation)} to validate, {len(splits['test'])} "
        f"to test; {', '.join(classes)}; from {', '.join(sorted(sources))}"
    )

    # === Model ===
    devices = distribution.device_count()
    if args.batch_size % (2 * cluster.processes) or args.batch_size % devices:
        raise UserError(
            f"--batch-size {args.batch_size}: {cluster.processes} processes with {devices} devices "
            "need an even number of images each, and equally many"
        )
    steps_per_epoch = args.steps or max(1, images // args.batch_size)
    settings = {
        name: getattr(args, name) for name in ("arch", "seed", "freeze", *RECIPES["compact"])
    }
    settings |= {"images": images, "steps": steps_per_epoch}
    identity = settings | {
        "leave_out": args.leave_out,
        "data": [data.fingerprint(root) for root in args.data],
    }
    # Named where it is used, so that runs from before it existed can go on.
    for name in ("localiser", "train_only", "neither"):
        identity |= {name: getattr(args, name)} if getattr(args, name) else {}
    average = checkpoint.WeightAverage(args.average)
    if args.resume and args.epochs:
        model, progress = checkpoint.restore(run, average, identity)
        within = f" and step {progress.step}" if progress.step else ""
        say(f"resuming after epoch {progress.epoch}{within} of {args.epochs}")
    else:
        model = architectures.build(args.arch, args.size, len(classes), args.weights)
        architectures.freeze(model, args.freeze)
        if args.arch not in architectures.ARCHITECTURES:
            # An architecture that cannot be released is refused now.
            export.to_tf_keras(model)
        model.compile(
            optimizer=batches.optimizer(
                args.arch, args.learning_rate, args.weight_decay, args.epochs * steps_per_epoch
            ),
            loss="categorical_crossentropy",
            metrics=["accuracy"],
        )
        progress = checkpoint.Progress(settings=identity)
    at = (identity, progress.epoch, progress.step, validation.labels.tolist())
    distribution.check_agreement("options, data and checkpoint", at, cluster)
    say(f"{args.arch}: {model.count_params():,} parameters, input {args.size} px")

    # === Training ===
    if not progress.finished(args.epochs, args.patience):
        progress.backend, progress.processes = keras.backend.backend(), cluster.processes
        stream = None
        if args.stream:
            stream = open_stream(args, cluster, train_size, counts, progress.streams)
        saver = checkpoint.Checkpoint(
            run, average, progress, args.patience, args.save_every, cluster, stream
        )

    # What is left of an epoch that was cut short, then whole epochs.
    while not progress.finished(args.epochs, args.patience):
        begun = progress.epoch * steps_per_epoch + progress.step
        steps = range(begun, args.epochs * steps_per_epoch)
        model.fit(
            feed(args, cluster, splits["train"], stream, change, steps, neither),
            initial_epoch=progress.epoch,
            epochs=progress.epoch + 1 if progress.step else args.epochs,
            steps_per_epoch=steps_per_epoch - progress.step,
            validation_data=batches.evaluation_batches(
                validation, args.batch_size, cluster, devices
            ),
            callbacks=[average, saver],
            shuffle=False,  # the draws are random already
            verbose=0 if not cluster.first else "auto" if os.isatty(1) else 2,
        )
    facts = {
        "fingerprints": identity["data"],
        "seed": args.seed,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": progress.seconds,
        "settings": settings,
        "leave_out": args.leave_out,
        "starting_weights": args.weights,
        "base_models": [
            dataclasses.asdict(start) | {"path": None} for start in args.starts if start.repo_id
        ],
        "test_images_seen_before": found.facts,
        "backend": progress.backend,
        "processes": progress.processes,
        "framed": bool(finder),
    }
    if args.stream:
        facts["streamed_images"] = images
    return model, splits, progress.history, facts, change, unseen


def open_stream(
    args: argparse.Namespace,
    cluster: distribution.Cluster,
    side: int,
    counts: dict,
    positions: list[dict],
) -> object:
    """The training images of `--stream`, from where an earlier run was in them."""
    from aihealth.data import streaming

    if positions and len(positions) != cluster.processes:
        if cluster.first:
            print("another number of processes than before: the pass over the data starts again")
        positions = []
    return streaming.Stream(
        args.data,
        side,
        args.batch_size // cluster.processes,
        weights=streaming.loss_weights(counts, args.balance),
        seed=args.seed,
        cluster=cluster,
        position=positions[cluster.index] if positions else None,
        buffer=args.buffer,
    )


def feed(
    args: argparse.Namespace,
    cluster: distribution.Cluster,
    images: object,
    stream: object | None,
    change: Callable,
    steps: range,
    neither: object,
) -> object:
    """Batches of these steps for `model.fit`, from the stream or from the images in memory."""
    from aihealth.training import augmentation, batches

    if stream:
        return batches.streamed_batches(
            stream, change, classes=len(images.classes), smoothing=args.smoothing
        )
    made = batches.training_batches(
        images,
        change,
        weights=batches.sampling_weights(images, args.balance),
        batch_size=args.batch_size,
        steps=steps,
        smoothing=args.smoothing,
        seed=args.seed,
        rows=cluster.rows(args.batch_size),
    )
    if not len(neither):
        return made
    change, _ = augmentation.by_name(args.augment, args.size)
    return batches.with_doubt(made, images.pixels, neither, change)


def write_release(args: argparse.Namespace, run: Path, trained: tuple) -> None:
    """From the weights of the best epoch to the release folder; `trained` as `train` gives it."""
    from aihealth.data import prepared as data
    from aihealth.modeling import framing, graph
    from aihealth.publishing import card
    from aihealth.training import augmentation, checkpoint, finishing, starting_point

    model, splits, history, facts, change, unseen = trained
    side = framing.IMAGE_SIDE if args.localiser else args.size
    if splits["train"].pixels.shape[1] != side:
        # As serving decodes them: shrinking the larger ones of training once more blurs them, and
        # the distance fitted on those turned away one film in six with much local contrast.
        if [data.fingerprint(root) for root in args.data] != facts["fingerprints"]:
            raise UserError(
                f"--data changed while {run} was trained; go on with --resume when it is as it was"
            )
        splits.clear()  # Both sizes at once may not fit into memory.
        splits = data.load(args.data, side, leave_out=args.leave_out)
        found = starting_point.overlap(args.starts, splits["test"])
        splits["test"] = starting_point.left_over(splits["test"], found)
    if history:
        checkpoint.use_best(run, model)
    if args.localiser:
        model = framing.framed(model, framing.load_localiser(args.localiser), side)
        whole = "mixed" if args.augment == "framed" else args.augment
        change, _ = augmentation.by_name(whole, side, args.exchange)
    else:
        model = graph.in_single_precision(model)
    folder = run / "release"
    finishing.write_release(
        folder, model, splits, args.arch, args.data, history, facts, change, unseen
    )
    if not args.stream:
        parts = splits["train"], splits["validation"]
        starting_point.write_seen(folder, args.starts, parts)
    card.write(folder)
    print(
        f"\nThe release is in {folder}. Look at it, serve it, publish it:\n"
        f"  python -m aihealth predict --model {folder} FILES\n"
        f"  MODEL_ID={folder} python space/app.py\n"
        f"  python push_to_hub.py model --release {folder} --repo-id ORG/NAME --dry-run"
    )


def use_the_machine() -> None:
    """Half-precision arithmetic on a GPU; a CPU is faster without."""
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # Saving warns of metrics that were never compiled.
    gpus = tf.config.list_physical_devices("GPU")
    if keras.backend.backend() == "jax":
        import jax

        tf.config.set_visible_devices([], "GPU")  # TensorFlow feeds; the memory is JAX's.
        gpus = jax.default_backend() != "cpu"
    if gpus:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")


def check_output(run: Path, resume: bool, writes: bool = True) -> None:
    """Say now, not after an hour, that the output cannot be written."""
    if (run / "release").exists():
        raise UserError(f"--out {run} holds a release already; choose another folder")
    if (run / "checkpoint").exists() and not resume:
        raise UserError(f"--out {run} holds a checkpoint; add --resume or choose another folder")
    if not writes:
        return
    run.mkdir(parents=True, exist_ok=True)
    probe = run / ".write-test"
    probe.touch()
    probe.unlink()


def parse_arguments() -> argparse.Namespace:
    """Read the command line; what is not given comes from the architecture's recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--data",
        action="append",
        required=True,
        metavar="DIR_OR_REPO",
        help="prepared folder, or dataset repo id (ORG/DATA or ORG/DATA@REVISION); repeatable",
    )
    add("--out", required=True, metavar="DIR", help="folder of the run, such as runs/NAME")
    add(
        "--arch",
        default="compact",
        help="compact (default), baseline, or a keras.applications name such as MobileNetV2",
    )
    add(
        "--weights",
        action="append",
        metavar="imagenet|FILE|REPO",
        help="starting weights: imagenet, a .keras or .weights.h5 file, a checkpoint's "
        "average.npz, a release folder, or a model repo such as ORG/NAME@v1.0.0 (default: random); "
        "given several times, their mean",
    )
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--leave-out", metavar="SOURCE", help="train without this source and measure on all of it")
    add(
        "--left-out-answers",
        metavar="left_out.npz",
        help="of `python -m aihealth leave-out`: calibrate on it too, and show it in the card",
    )
    add(
        "--stream",
        action="store_true",
        help="read the training images as they are needed; --data are dataset repos or folders of "
        "Parquet files; memory stays flat however many images there are",
    )
    add("--hold", type=int, default=4000, metavar="IMAGES",
        help="with --stream: images of each split, at most, to validate, calibrate and test on "
        "(default: 4000)")  # fmt: skip
    add("--buffer", type=int, default=1000, metavar="IMAGES",
        help="with --stream: among so many the next one is drawn (default: 1000)")  # fmt: skip
    add("--save-every", type=int, default=1000, metavar="STEPS",
        help="checkpoints within an epoch, besides one after it (default: 1000)")  # fmt: skip
    add(
        "--localiser",
        metavar="RELEASE",
        help="release, or .weights.h5, of the localiser that finds the lungs (one is "
        "aihealth/modeling/localiser.weights.h5): the network sees their frame only, and "
        "--size is the frame's (default: the whole image)",
    )
    add(
        "--train-only",
        action="append",
        default=[],
        metavar="DIR",
        help="folder with folders of some of the classes, to train on and not to measure with; it "
        "is one more source; repeatable",
    )
    add(
        "--neither",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of images that no class is right for, such as other diseases: training asks "
        "for doubt there, and for films that are negative or turned; repeatable",
    )
    add("--seed", type=int, default=1337)
    add(
        "--freeze",
        type=int,
        default=0,
        metavar="BLOCKS",
        help="compact only: keep the stem and this many blocks as --weights has them",
    )
    add("--steps", type=int, help="steps an epoch (default: images / batch size)")
    compact, baseline = RECIPES["compact"], RECIPES["baseline"]
    told = ", ".join(f"{name} {compact[name]}/{baseline[name]}" for name in compact)
    recipe = parser.add_argument_group("recipe", f"defaults, compact/baseline: {told}")
    recipe.add_argument("--size", type=int, help="side of the input, pixels")
    recipe.add_argument("--epochs", type=int, help="0 with --weights: measure and release those")
    recipe.add_argument("--batch-size", type=int, help="images a step, an even number")
    recipe.add_argument("--learning-rate", type=float, help="highest, after the warm-up")
    recipe.add_argument("--weight-decay", type=float)
    recipe.add_argument("--augment",
        choices=("light", "medium", "heavy", "wide", "mixed", "framed", "original", "none"),
        help="light to wide: how far images are changed against shortcuts (docs/lab-notebook.md); "
        "mixed: half light, half wide; framed: the same with --localiser; original: as the "
        "original script did")  # fmt: skip
    recipe.add_argument("--exchange", type=float,
        help="probability, 0 to 1, that the lungs of a training image are put into the "
        "surroundings of another one")  # fmt: skip
    recipe.add_argument("--balance", type=float,
        help="0 draws images equally often, 1 the sources of each class; classes are balanced "
        "above 0")  # fmt: skip
    recipe.add_argument("--smoothing", type=float, help="label smoothing, 0 to 1")
    recipe.add_argument("--average", type=float, help="momentum of the weights' average, 0: none")
    recipe.add_argument("--patience", type=int,
        help="stop after this many epochs without a lower validation loss")  # fmt: skip
    args = parser.parse_args()
    if args.arch not in RECIPES and args.size is None:
        args.size = 224  # what the networks of keras.applications were made for
    for name, value in RECIPES.get(args.arch, RECIPES["compact"]).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.batch_size < 2 or args.batch_size % 2:
        raise UserError(f"--batch-size {args.batch_size}: an even number is needed")
    if not 0 <= args.exchange <= 1:
        raise UserError(f"--exchange {args.exchange}: a probability from 0 to 1 is needed")
    for name in ("leave_out", "localiser", "train_only", "neither"):
        if args.stream and getattr(args, name):
            option = "--" + name.replace("_", "-")
            raise UserError(f"{option} needs all images in memory: leave out --stream")
    if min(args.hold, args.buffer, args.save_every) < 1:
        raise UserError("--hold, --buffer and --save-every must be at least 1")
    if args.size < 32 or args.epochs < (0 if args.weights else 1):
        raise UserError("--size must be at least 32 and --epochs at least 1 (0 with --weights)")
    return args


if __name__ == "__main__":
    run_cli(main)
