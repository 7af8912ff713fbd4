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
`release/`: file for file what the model repo on the Hub will hold. Publish it with

    python push_to_hub.py model --release runs/compact/release --repo-id ORG/NAME
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from aihealth.errors import UserError, run_cli

# What each architecture is trained with, unless an option says otherwise. `baseline` is the
# original script's recipe; docs/ablation.md says what of `compact` was measured and what was not.
RECIPES = {
    "compact": {
        "size": 160,
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "augment": "heavy",
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
        "balance": 0.0,
        "smoothing": 0.0,
        "average": 0.0,
        "patience": 10,
    },
}
WARM_UP = 40  # steps


def main() -> None:
    """Load, build, train, release."""
    args = parse_arguments()
    run = Path(args.out)
    check_output(run, args.resume)

    import keras

    from aihealth import data, export, finishing, leave_out, models, training

    answers = args.left_out_answers
    unseen = leave_out.Answers.load(answers) if answers else None

    keras.utils.set_random_seed(args.seed)
    use_the_machine()
    started = time.time()

    # === Data ===
    augment, margin = augmentation(args.augment, args.size)
    splits = data.load(args.data, args.size, round(args.size * margin), leave_out=args.leave_out)
    train, validation = splits["train"], splits["validation"]
    print(
        f"{len(train)} images to train on, {len(validation)} to validate, {len(splits['test'])} "
        f"to test; {', '.join(train.classes)}; from {', '.join(sorted(set(train.sources)))}"
    )

    # === Model ===
    steps_per_epoch = args.steps or max(1, len(train) // args.batch_size)
    settings = {
        name: getattr(args, name) for name in ("arch", "seed", "freeze", *RECIPES["compact"])
    }
    settings |= {"images": len(train), "steps": steps_per_epoch}
    average = training.WeightAverage(args.average)
    if args.resume:
        model, progress = training.restore(run, average, settings)
        print(f"resuming after epoch {progress.epoch} of {args.epochs}")
    else:
        model = models.build(args.arch, args.size, len(train.classes), args.weights)
        models.freeze(model, args.freeze)
        if args.arch not in models.ARCHITECTURES:
            export.to_tf_keras(model)  # An architecture that cannot be released is refused now.
        model.compile(
            optimizer=optimizer(args, args.epochs * steps_per_epoch),
            loss="categorical_crossentropy",
            metrics=["accuracy"],
        )
        progress = training.Progress(settings=settings)
    print(f"{args.arch}: {model.count_params():,} parameters, input {args.size} px")

    # === Training ===
    checkpoint = training.Checkpoint(run, average, progress, args.patience)
    model.fit(
        training.training_batches(
            train,
            augment,
            weights=training.sampling_weights(train, args.balance),
            batch_size=args.batch_size,
            steps=range(progress.epoch * steps_per_epoch, args.epochs * steps_per_epoch),
            smoothing=args.smoothing,
            seed=args.seed,
        ),
        initial_epoch=progress.epoch,
        epochs=args.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=training.evaluation_batches(validation, args.batch_size),
        callbacks=[average, checkpoint],
        shuffle=False,  # the draws are random already
        verbose="auto" if os.isatty(1) else 2,
    )
    checkpoint.use_best()

    # === Release ===
    facts = {
        "seed": args.seed,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": progress.seconds,
        "settings": settings,
        "starting_weights": args.weights,
        "seconds_in_this_process": round(time.time() - started),
    }
    folder = run / "release"
    finishing.write_release(
        folder, model, splits, args.arch, args.data, progress.history, facts, augment, unseen
    )
    print(
        f"\nThe release is in {folder}. Look at it, serve it, publish it:\n"
        f"  python -m aihealth predict --model {folder} FILES\n"
        f"  MODEL_ID={folder} python space/app.py\n"
        f"  python push_to_hub.py model --release {folder} --repo-id ORG/NAME --dry-run"
    )


def augmentation(name: str, size: int) -> tuple[Callable, float]:
    """What happens to training images, and how much larger than `size` they are read for it."""
    from aihealth import augment, training

    if name == "original":
        return training.original_augmentation, 1.0
    strength = getattr(augment, name.upper())
    # Crops of images that are a quarter larger keep their detail.
    return functools.partial(augment.augment, size=size, strength=strength), 1.25


def optimizer(args: argparse.Namespace, steps: int) -> object:
    """AdamW under a cosine with a short warm-up; for the baseline the original's plain Adam."""
    import keras

    if args.arch == "baseline":
        return keras.optimizers.Adam(args.learning_rate)
    schedule = keras.optimizers.schedules.CosineDecay(
        args.learning_rate / 20,
        max(1, steps - WARM_UP),
        alpha=0.01,
        warmup_target=args.learning_rate,
        warmup_steps=WARM_UP,
    )
    return keras.optimizers.AdamW(schedule, weight_decay=args.weight_decay, global_clipnorm=2.0)


def use_the_machine() -> None:
    """Half-precision arithmetic on a GPU; a CPU is faster without."""
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # Saving warns of metrics that were never compiled.
    if tf.config.list_physical_devices("GPU"):
        keras.mixed_precision.set_global_policy("mixed_bfloat16")


def check_output(run: Path, resume: bool) -> None:
    """Say now, not after an hour, that the output cannot be written."""
    if (run / "release").exists():
        raise UserError(f"--out {run} holds a release already; choose another folder")
    if (run / "checkpoint").exists() and not resume:
        raise UserError(f"--out {run} holds a checkpoint; add --resume or choose another folder")
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
        metavar="imagenet|FILE",
        help="starting weights: imagenet, a .keras or .weights.h5 file (default: random)",
    )
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--leave-out", metavar="SOURCE", help="train without this source and measure on all of it")
    add(
        "--left-out-answers",
        metavar="left_out.npz",
        help="of `python -m aihealth leave-out`: calibrate on it too, and show it in the card",
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
    recipe = parser.add_argument_group("recipe", "defaults depend on --arch, see RECIPES")
    recipe.add_argument("--size", type=int, help="side of the input, pixels")
    recipe.add_argument("--epochs", type=int)
    recipe.add_argument("--batch-size", type=int, help="even")
    recipe.add_argument("--learning-rate", type=float, help="highest, after the warm-up")
    recipe.add_argument("--weight-decay", type=float)
    recipe.add_argument("--augment", choices=("heavy", "medium", "light", "original"))
    recipe.add_argument("--balance", type=float,
        help="0 draws images equally often, 1 pairs of class and source; classes are balanced "
        "above 0")  # fmt: skip
    recipe.add_argument("--smoothing", type=float, help="label smoothing, 0 to 1")
    recipe.add_argument("--average", type=float, help="momentum of the weights' average, 0: none")
    recipe.add_argument("--patience", type=int,
        help="stop after this many epochs without a lower validation loss")  # fmt: skip
    args = parser.parse_args()
    for name, value in RECIPES.get(args.arch, RECIPES["compact"]).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.arch not in RECIPES and "--size" not in os.sys.argv:
        args.size = 224  # what the networks of keras.applications were made for
    if args.batch_size < 2 or args.batch_size % 2:
        raise UserError(f"--batch-size {args.batch_size}: an even number is needed")
    if args.size < 32 or args.epochs < 1:
        raise UserError("--size must be at least 32 and --epochs at least 1")
    return args


if __name__ == "__main__":
    run_cli(main)
