"""Peak memory of `train.py --stream` on a dataset and on one of ten times as many images.

    python -m benchmarks.streaming_memory --json streaming_memory.json

Both are the same drawn films in Parquet, 1,200 of them and ten times as many (links to the same
files); each run is one epoch with everything that belongs to it, release included.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from aihealth.data.layouts import CLASSES
from data_prep.radiographs import draw_radiograph

ROOT = Path(__file__).resolve().parent.parent
SHARD = 50  # images


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=1200, help="of the smaller; more than what is read at a time"
    )
    parser.add_argument("--side", type=int, default=448, help="of the films, pixels")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory() as temporary:
        shards = draw(Path(temporary) / "drawn", args.images, args.side)
        for times in (1, 10):
            folder = lay_out(shards, Path(temporary) / f"{times}x", times)
            report[f"{times}x"] = {
                "images": args.images * times,
                "bytes": sum(path.stat().st_size for path in folder.glob("train-*")),
                "peak_mb": measure(folder),
            }
    report["ratio"] = round(report["10x"]["peak_mb"] / report["1x"]["peak_mb"], 3)
    print(json.dumps(report, indent=2))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")


def draw(folder: Path, images: int, side: int) -> list[Path]:
    """Shards of drawn films that compress as badly as real ones."""
    rng = np.random.default_rng(0)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(CLASSES)),
            "source": datasets.Value("string"),
            "group": datasets.Value("string"),
        }
    )
    folder.mkdir()
    made = []
    for start in range(0, images, SHARD):
        rows = []
        for number in range(start, start + SHARD):
            label = number % len(CLASSES)
            film = draw_radiograph(rng, CLASSES[label], size=side)
            film = np.clip(film + rng.normal(0, 6, film.shape), 0, 255).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(film).save(file, "PNG")
            image = {"bytes": file.getvalue(), "path": None}
            rows.append({"image": image, "label": label, "source": "drawn", "group": str(number)})
        path = folder / f"{start:06d}.parquet"
        datasets.Dataset.from_list(rows, features=features).to_parquet(path, batch_size=SHARD)
        made.append(path)
    return made


def lay_out(shards: list[Path], folder: Path, times: int) -> Path:
    """A dataset whose training split is the shards several times; returns its folder."""
    folder.mkdir()
    for split, files in (("train", shards * times), ("validation", shards), ("test", shards)):
        for index, file in enumerate(files):
            name = f"{split}-{index:05d}-of-{len(files):05d}.parquet"
            (folder / name).symlink_to(file)
    return folder


def measure(folder: Path) -> int:
    """Peak resident memory of one training run, MB."""
    command = [sys.executable, "train.py", "--data", str(folder), "--stream",
               "--out", str(folder / "run"), "--arch", "baseline", "--size", "64",
               "--augment", "none", "--epochs", "1", "--hold", "300",
               "--buffer", "200"]  # fmt: skip
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.Popen(command, cwd=ROOT, env=quiet, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(run.pid, 0)
    if status:
        sys.exit("the training failed; see above")
    return usage.ru_maxrss // 1024


if __name__ == "__main__":
    main()
