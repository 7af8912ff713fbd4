"""Measure ours against what people would otherwise use, and print tables.

    python -m benchmarks                        # everything, hours
    python -m benchmarks first_answer growth    # these
    python -m benchmarks --quick                # does everything run? a few minutes

All alternatives are built here and measured in the same run, in turns; ratios say how many times
better ours is, and are medians over the rounds. torchvision is used where it is installed; where
not, the row says so. Films are drawings.
"""

import argparse
import dataclasses
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aihealth.release import write_json
from benchmarks.harness import ROOT, Settings, environment, show

NAMES = (
    "first_answer",
    "next_answers",
    "throughput",
    "serving_cost",
    "space_start",
    "first_paint",
    "load_space",
    "training_step",
    "growth",
    "wall",
)


def main() -> None:
    """Run each benchmark in a process of its own, so that none warms another up."""
    args = parse_arguments()
    if len(args.names) == 1:
        measure(args.names[0], args)
        return
    failed = [
        name
        for name in args.names or NAMES
        if subprocess.run(
            [sys.executable, "-m", "benchmarks", name, *options(args)], cwd=ROOT, env=environment()
        ).returncode
    ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def measure(name: str, args: argparse.Namespace) -> None:
    """Run one benchmark here; print its tables and write them to its JSON file."""
    started = time.time()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        settings = Settings(
            work=work.resolve(),
            model=Path(args.model).resolve(),
            rounds=args.rounds or (1 if args.quick else 7),
            quick=args.quick,
            images=args.images,
        )
        tables = importlib.import_module(f"benchmarks.{name}").run(settings)
    for table in tables:
        print(show(name, table), flush=True)
    if args.json:
        Path(args.json).mkdir(parents=True, exist_ok=True)
        facts = {
            "benchmark": name,
            "quick": args.quick,
            "rounds": settings.rounds,
            "seconds": round(time.time() - started, 1),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg(),
            "machine": platform.platform(),
            "python": platform.python_version(),
            "tables": [dataclasses.asdict(table) for table in tables],
        }
        write_json(Path(args.json) / f"{name}.json", facts)


def options(args: argparse.Namespace) -> list[str]:
    """The options again, for a process of one benchmark."""
    names = ("work", "model", "rounds", "images", "json")
    given = [f"--{name}={getattr(args, name)}" for name in names]
    return [text for text in given if not text.endswith("=None")] + ["--quick"] * args.quick


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    add("--model", default=str(ROOT / "release"), metavar="DIR", help="the release to measure")
    add("--rounds", type=int, help="turns of each alternative (default: 7)")
    add("--work", metavar="DIR", help="keep what is drawn and built here between runs")
    add("--json", metavar="DIR", help="write NAME.json for each benchmark here")
    add("--images", type=int, default=100_000, help="largest folder for growth (default: 100000)")
    add("--quick", action="store_true", help="tiny inputs; the figures mean nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
