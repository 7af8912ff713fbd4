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
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from aihealth.data.cluster import Cluster
from aihealth.errors import Parser, refuse_renamed, run_cli
from aihealth.release import no_part_left
from aihealth.training import distribution
from aihealth.training.settings import RECIPE, Settings

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
        "background_swap": 0.5,
        "balance": 0.5,
        "smoothing": 0.1,
        "consistency": 0.0,
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
        "background_swap": 0.0,
        "balance": 0.0,
        "smoothing": 0.0,
        "consistency": 0.0,
        "average": 0.0,
        "patience": 10,
    },
}
APPLICATION_SIZE = 224  # pixels; what the networks of keras.applications were made for

RENAMED = {"--exchange": "--background-swap", "--left-out-answers": "--held-out-predictions"}


def main() -> None:
    """Load, build, train, release."""
    settings = parse_arguments()
    cluster = Cluster.from_environment()
    settings.check_output(writes=cluster.first)
    with distribution.joined(cluster), no_part_left(settings.out):
        # Keras starts its backend when it is imported, which must be after the others are met.
        from aihealth.training import loop

        run = loop.start(settings, cluster)
        loop.fit(run)
    import keras

    if keras.backend.backend() == "tensorflow":
        from aihealth.publishing import card
        from aihealth.training import building

        with no_part_left(settings.out):
            folder = building.build_release(run)
            card.write(folder)
        print(
            f"\nThe release is in {folder}. Look at it, serve it, publish it:\n"
            f"  python -m aihealth predict --model {folder} FILES\n"
            f"  MODEL_ID={folder} python space/app.py\n"
            f"  python push_to_hub.py model --release {folder} --repo-id ORG/NAME --dry-run"
        )
    elif cluster.first:
        distribution.go_on_with_tensorflow()


def parse_arguments() -> Settings:
    """Read the command line; what is not given comes from the architecture's recipe."""
    refuse_renamed(sys.argv[1:], RENAMED)
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    # fmt: off
    add("--data", action="append", required=True, metavar="DIR_OR_REPO",
        help="prepared folder, or dataset repo id (ORG/DATA or ORG/DATA@REVISION); repeatable")
    add("--out", required=True, type=Path, metavar="DIR",
        help="folder of the run, such as runs/NAME")
    add("--arch", default="compact",
        help="compact (default), baseline, or a keras.applications name such as MobileNetV2")
    add("--weights", action="append", metavar="imagenet|FILE|REPO",
        help="starting weights: imagenet, a .keras or .weights.h5 file, a checkpoint's "
        "average.npz, a release folder, or a model repo such as ORG/NAME@v1.0.0 (default: "
        "random); given several times, their mean")
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--leave-out", metavar="SOURCE",
        help="train without this source and measure on all of it; A+B leaves out two, A+B/CLASS "
        "also a class of another one that shares images with it")
    add("--held-out-predictions", metavar="held_out.npz",
        help="of `python -m aihealth leave-one-source-out`: calibrate on them too, and show them "
        "in the card")
    add("--stream", action="store_true",
        help="read the training images as they are needed; --data are dataset repos or folders of "
        "Parquet files; memory stays flat however many images there are")
    add("--hold", type=int, metavar="IMAGES",
        help="with --stream: images of each split, at most, to validate, calibrate and test on "
        "(default: 4000)")
    add("--buffer", type=int, metavar="IMAGES",
        help="with --stream: among so many the next one is drawn (default: 1000)")
    add("--save-every", type=int, metavar="STEPS",
        help="checkpoints within an epoch, besides one after it (default: 1000)")
    add("--train-only", action="append", metavar="[SOURCE=]DIR",
        help="folder with folders of some of the classes, to train on and not to measure with; it "
        "is one more source, or of one that there is; repeatable")
    add("--neither", action="append", metavar="[SOURCE=]DIR",
        help="folder of images that no class is right for, such as other diseases: training asks "
        "for doubt there, and for radiographs that are negative or turned; repeatable")
    add("--seed", type=int, help="of everything random; the same seed, the same weights "
        "(default: 1337)")
    add("--freeze", type=int, metavar="BLOCKS",
        help="compact only: keep the stem and this many blocks as --weights has them")
    add("--steps", type=int, help="steps an epoch (default: images / batch size)")
    told = ", ".join(f"{name} {' / '.join(str(r[name]) for r in RECIPES.values())}"
                     for name in RECIPE)
    recipe = parser.add_argument_group("recipe", f"defaults, {' / '.join(RECIPES)}: {told}")
    add = recipe.add_argument
    add("--size", type=int, help="side of the input, pixels")
    add("--epochs", type=int, help="0 with --weights: measure and release those")
    add("--batch-size", type=int, help="images a step, an even number")
    add("--learning-rate", type=float, help="highest, after the warm-up")
    add("--weight-decay", type=float)
    add("--augment", choices=("mixed", "light", "original", "none"),
        help="how images are changed against shortcuts: mixed, half a little and half very much; "
        "light, a little; original, as the original script did")
    add("--background-swap", type=float,
        help="probability, 0 to 1, that the lungs of a training image are put into the "
        "surroundings of another one")
    add("--balance", type=float,
        help="0 draws images equally often, 1 the sources of each class; classes are balanced "
        "above 0")
    add("--smoothing", type=float, help="label smoothing, 0 to 1")
    add("--consistency", type=float,
        help="above 0, each image is drawn half as often and changed in two ways, and two answers "
        "cost so much; 4 finds more healthy adults at new hospitals and less pneumonia")
    add("--average", type=float, help="momentum of the weights' average, 0: none")
    add("--patience", type=int, help="stop after this many epochs without a lower validation loss")
    # fmt: on
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    defaults = RECIPES.get(given["arch"]) or RECIPES["compact"] | {"size": APPLICATION_SIZE}
    return Settings(**defaults | given)


if __name__ == "__main__":
    run_cli(main)
