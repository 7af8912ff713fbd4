"""Publish one release on a local Hub and load it as everybody would, each in an environment of
their own:

    python -m tests.loading.run                       # a small release made here
    python -m tests.loading.run --release release     # a trained one
    python -m tests.loading.run --only litert jax     # some of the environments

Prints a table of the largest differences from the Keras model; the exit status is 1 when a loader
fails or differs. Environments are kept under --environments and used again.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.helpers.programs import ROOT, run, works
from tests.loading.environments import ENVIRONMENTS, Environment, python_of

HERE = Path(__file__).parent
REPO_ID, TAG = "org/chest-model", "v1.0.0"


def main() -> None:
    """Publish, load everywhere, compare."""
    args = parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        from tests.hub_server import Hub

        hub = Hub(work / "hub").start()
        for name, value in hub.env(token=hub.token).items():
            os.environ[name] = value  # huggingface_hub is imported after this.
        release = Path(args.release) if args.release else small_release(work / "release")
        publish(release)
        expected = reference(release, work)
        print(f"the Keras model says {np.round(expected, 4).tolist()}", flush=True)
        failures = 0
        for environment in ENVIRONMENTS:
            if args.only and environment.name not in args.only:
                continue
            python = python_of(environment, Path(args.environments))
            failures += check(environment, python, hub, expected, work)
        hub.stop()
    sys.exit(1 if failures else 0)


def parse_args() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("tests.loading.run", None, __doc__, formatter_class=raw)
    parser.add_argument("--release", metavar="DIR", help="by default a small one made here")
    names = [environment.name for environment in ENVIRONMENTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--environments",
        metavar="DIR",
        default=os.environ.get(
            "AIHEALTH_LOADING_ENVS", str(Path(tempfile.gettempdir()) / "aihealth-loading-envs")
        ),
        help="where virtual environments are kept (%(default)s)",
    )
    return parser.parse_args()


def small_release(folder: Path) -> Path:
    """The default network with random weights, whose answers differ between the images."""
    from tests.helpers.releases import lively_model, write_release

    x = np.repeat(np.stack([drawn(index, 96) for index in range(9)])[..., None], 3, -1)
    return write_release(lively_model(x.astype("float32"), spread=0.1), folder)


def drawn(index: int, size: int) -> np.ndarray:
    """A drawn film, uint8 `(size, size)`."""
    from aihealth.data.layouts import CLASSES
    from aihealth.images import prepare
    from data_prep.radiographs import draw_radiograph

    film = draw_radiograph(np.random.default_rng(index), CLASSES[index % len(CLASSES)])
    return prepare(film, size)


def publish(release: Path) -> None:
    """Through the script, as a contributor does."""
    words = ["model", "--release", release, "--repo-id", REPO_ID, "--tag", TAG]
    works("push_to_hub.py", *words)


def reference(release: Path, work: Path) -> np.ndarray:
    """Draw images and answer them with the Keras model; their inputs are left in `work`."""
    from PIL import Image

    from aihealth.modeling.pretrained import from_pretrained_keras

    model = from_pretrained_keras(release)
    films = [drawn(index, model.input_shape[1]) for index in range(6)]
    (work / "images").mkdir()
    for index, film in enumerate(films):
        Image.fromarray(film).save(work / "images" / f"{index}.png")
    x = np.repeat(np.stack(films)[..., None], 3, -1).astype("float32")
    np.save(work / "inputs.npy", x)
    return model.predict(x, verbose=0)


def check(environment: Environment, python: Path, hub, expected: np.ndarray, work: Path) -> int:
    """Run the programs of one environment; prints a line each and returns how many failed."""
    variables = hub.env(
        token=hub.token,
        HF_HOME=str(work / f"home-{environment.name}"),
        TF_CPP_MIN_LOG_LEVEL="3",
        PYTHONDONTWRITEBYTECODE="1",
        **environment.variables,
    )
    failures = 0
    for program in environment.programs:
        # Only aihealth's own users have the package; the others have what pip gave them.
        path = {"PYTHONPATH": str(ROOT)} if program == "check_aihealth_keras.py" else {}
        words = [HERE / program, REPO_ID, TAG, work / "inputs.npy", work / "images"]
        done = run(*words, python=python, env=variables | path, cwd=work, timeout=600)
        if done.returncode:
            failures += 1
            print(f"FAILED  {environment.who}: {program}\n{done.stderr[-2000:]}", flush=True)
            continue
        line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWERS"))
        for name, given in json.loads(line.removeprefix("ANSWERS")).items():
            difference = float(np.abs(np.array(given) - expected).max())
            good = difference <= environment.tolerance
            failures += not good
            verdict = "ok    " if good else "DIFFERS"
            print(f"{verdict}  {environment.who}: {program}, {name}: {difference:.1e}", flush=True)
    for phrase in environment.card_blocks:
        failures += run_card_block(environment, python, phrase, variables, hub, work)
    return failures


def run_card_block(
    environment: Environment, python: Path, phrase: str, variables: dict, hub, work: Path
) -> int:
    """Run a code block of the published card as it stands; returns 1 when it fails."""
    from aihealth.publishing.card import code_blocks

    card = hub.read(REPO_ID, "README.md").decode()
    block = next(block for block in code_blocks(card) if phrase in block)
    path = {"PYTHONPATH": str(ROOT)} if "from aihealth import from_pre" in block else {}
    done = run("-c", block, python=python, env=variables | path, cwd=work, timeout=600)
    verdict = "FAILED" if done.returncode else "ok    "
    print(f"{verdict}  {environment.who}: card, {phrase!r}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:], flush=True)
    return int(bool(done.returncode))


if __name__ == "__main__":
    main()
