"""Peak memory of `train.py --stream` on a dataset and on one of ten times as many images.

    python -m benchmarks.streaming_memory --json streaming_memory.json

Both are the same drawn films in Parquet, 1,200 of them and ten times as many (links to the same
files); each run is one epoch with everything that belongs to it, release included.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.harness import run_process
from tests.helpers.shards import write_shards

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
        drawn = Path(temporary) / "drawn"
        drawn.mkdir()
        count = args.images // SHARD
        write_shards(drawn, args.images, count, size=args.side, rows_a_group=SHARD)
        shards = sorted(drawn.iterdir())
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
    words = ["train.py", "--data", folder, "--stream", "--out", folder / "run", "--hold", "300"]
    words += [
        "--buffer",
        "200",
        "--arch",
        "baseline",
        "--size",
        "64",
        "--augment",
        "none",
        "--epochs",
        "1",
    ]
    return round(run_process(words).peak)


if __name__ == "__main__":
    main()
