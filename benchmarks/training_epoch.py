"""Seconds of training per epoch: `compact` against the original's CNN, in one run, alternating.

    python benchmarks/training_epoch.py --data data/aihealth --json training_epoch.json

Both run as `train.py` runs them (input pipeline and augmentation included) for a few steps a
round; an epoch is extrapolated from the median round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras

import train
from aihealth import data, models, training
from aihealth.errors import run_cli


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="a prepared dataset")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6, help="steps a round")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    runs = {arch: prepare(arch, args) for arch in ("baseline", "compact")}
    seconds: dict[str, list[float]] = {arch: [] for arch in runs}
    for _ in range(args.rounds):
        for arch, (model, batches, images) in runs.items():
            started = time.perf_counter()
            for _ in range(args.steps):
                model.train_on_batch(*next(batches))
            per_image = (time.perf_counter() - started) / (args.steps * 32)
            seconds[arch].append(per_image * images)
    report = {
        arch: {
            "parameters": runs[arch][0].count_params(),
            "images": runs[arch][2],
            "seconds_per_epoch": round(statistics.median(values), 1),
            "spread": [round(min(values), 1), round(max(values), 1)],
        }
        for arch, values in seconds.items()
    }
    report["ratio"] = round(
        statistics.median(c / b for b, c in zip(*seconds.values(), strict=True)), 2
    )
    for arch in runs:
        row = report[arch]
        print(
            f"{arch:9} {row['parameters']:>11,} parameters  {row['seconds_per_epoch']:6.1f} s an "
            f"epoch of {row['images']} images ({row['spread'][0]} to {row['spread'][1]})"
        )
    print(f"compact / baseline, median of {args.rounds} rounds: {report['ratio']}")
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")


def prepare(arch: str, args: argparse.Namespace) -> tuple:
    """A compiled model, its endless batches after a warm-up, and the images of an epoch."""
    recipe = train.RECIPES[arch]
    augment, margin = train.augmentation(recipe["augment"], recipe["size"])
    images = data.load([args.data], recipe["size"], round(recipe["size"] * margin))["train"]
    model = models.build(arch, recipe["size"], len(images.classes))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    batches = iter(
        training.training_batches(
            images,
            augment,
            weights=training.sampling_weights(images, recipe["balance"]),
            batch_size=32,
            steps=range(10**9),
            smoothing=recipe["smoothing"],
            seed=0,
        )
    )
    for _ in range(2):
        model.train_on_batch(*next(batches))
    return model, batches, len(images)


if __name__ == "__main__":
    run_cli(main)
