"""Where a release comes from: data, code, versions, machine."""

import datetime
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from aihealth import __version__
from aihealth.data import provenance as lineage
from aihealth.data.opening import without_path

PACKAGES = ("tensorflow", "keras", "datasets", "huggingface_hub", "numpy", "pillow")


def describe_run(
    model: keras.Model, data: Sequence[str], fingerprints: Sequence[str], **facts: Any
) -> dict[str, Any]:
    """Everything needed to say where a release came from.

    Args:
        model: the trained network.
        data: the datasets as `train.py --data` got them.
        fingerprints: of each dataset.
        facts: what else the run knows: seed, epochs, seconds, settings, starting weights (names of
            files; those of other releases bring along what their runs knew).
    """
    weights = facts.get("starting_weights") or []
    facts["starting_weights"] = [Path(name).name for name in weights]
    earlier = map(lineage.provenance_of, weights)
    runs, places = lineage.flatten([run for run in earlier if run])
    facts |= {lineage.PARENTS: places, lineage.EARLIER: runs}
    return {
        "date": datetime.date.today().isoformat(),
        "command": lineage.without_folders(shlex.join(["python", *sys.argv])),
        "git_commit": _git_commit(),
        "parameters": model.count_params(),
        "data": [
            {
                "name": without_path(root),
                "repo_id": None if os.path.isdir(root) else root.partition("@")[0],
                "fingerprint": digest,
            }
            for root, digest in zip(data, fingerprints, strict=True)
        ],
        "versions": {
            "python": platform.python_version(),
            "aihealth": __version__,
            **{name: version(name) for name in PACKAGES},
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
