"""Kill commands at random moments, and see what is lost: nothing may be.

    python -m tests.kills prepare train push space --times 20 --seed 0

Each command is timed once, then started and killed (SIGKILL, so that nothing can be tidied up) at
a moment drawn from that time, again and again. What lies under the final names must then be whole,
old or new, or not there; the same command must succeed afterwards, and leave nothing half-written.
Prints a row for docs/reliability.md per command; ends with status 1 if anything was lost.
"""

import argparse
import contextlib
import hashlib
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from aihealth import Classifier
from benchmarks.load_space import ask
from data_prep.demo import make_demo
from tests.helpers.drawn import prepared_drawings
from tests.helpers.releases import copy_release, make_dataset, make_release
from tests.helpers.space_app import ROOT, SpaceApp, film, png
from tests.hub_server import Hub, bind, client_env

HEAD = "| command | kills | nothing there yet | whole, old or new | lost or half-written |\n" + (
    "|---|---|---|---|---|"
)


class Lost(AssertionError):
    """Something is half-written, or gone."""


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs="+", choices=COMMANDS)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(HEAD, flush=True)
    failed = False
    for command in args.commands:
        found = {"absent": 0, "whole": 0, "lost": 0}
        with tempfile.TemporaryDirectory(prefix="aihealth-kills-") as folder:
            outcomes = COMMANDS[command](Path(folder), random.Random(args.seed), args.times)
            for number, outcome in enumerate(outcomes):
                kind = "lost" if outcome not in found else outcome
                found[kind] += 1
                print(f"{command}, kill {number}: {outcome}", file=sys.stderr, flush=True)
        failed |= bool(found["lost"])
        counts = f"{found['absent']} | {found['whole']} | {found['lost']}"
        print(f"| {command} | {sum(found.values())} | {counts} |", flush=True)
    sys.exit(1 if failed else 0)


def killed(
    command: list[str],
    env: dict[str, str],
    rng: random.Random,
    seconds: list[float],
    writes: Path | None = None,
) -> bool:
    """Start a command and kill it, with the processes that it started, at a random moment.

    Args:
        command: as for `subprocess`.
        env: its environment.
        rng: draws the moment.
        seconds: one number, how long the command takes; set right when it ends before the moment.
        writes: a folder; the time counts from when something lies in it.

    Returns:
        Whether it was killed; False when it had ended.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, **quiet)
    while writes and not (writes.exists() and any(writes.iterdir())) and process.poll() is None:
        time.sleep(0.01)
    start = time.monotonic()
    try:
        process.wait(rng.uniform(0, seconds[0]))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return True
    seconds[0] = time.monotonic() - start
    return False


def succeed(command: list[str], env: dict[str, str]) -> float:
    """Run a command to its end; the seconds that it took."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Lost(f"it fails afterwards: {done.stderr.strip().splitlines()[-1:]}")
    return time.monotonic() - start


def digest(folder: Path) -> str | None:
    """Of all names and bytes in a folder; None where there is none."""
    if not folder.exists():
        return None
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)} {path.stat().st_size} ".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def judged(check: Callable[[], str]) -> str:
    """What `check` says, or what is lost."""
    try:
        return check()
    except Lost as error:
        return str(error)


def python(*words: object) -> list[str]:
    """A command line of this Python."""
    return [sys.executable, *map(str, words)]


def prepare(folder: Path, rng: random.Random, times: int) -> Iterator[str]:
    """`data_prep prepare` into a new folder, and every other time over another data set."""
    images, out = folder / "images", folder / "data" / "out"
    make_demo(images, 30, 0)
    wholes, commands = [], []
    for seed in (1, 2):
        commands.append(python("-m", "data_prep", "prepare", images, "--out", out, "--seed", seed))
        seconds = [succeed(commands[-1], os.environ)]
        wholes.append(digest(out))
        shutil.rmtree(out)
    for number in range(times):
        overwrites = number % 2 == 1
        command = commands[1] + ["--overwrite"] * overwrites
        ended = True
        while ended:
            shutil.rmtree(out, ignore_errors=True)
            if overwrites:
                succeed(commands[0], os.environ)
            ended = not killed(command, os.environ, rng, seconds)

        def check(overwrites: bool = overwrites, command: list[str] = command) -> str:
            after = digest(out)
            if after not in (wholes if overwrites else [None, wholes[1]]):
                raise Lost("the data set is neither the old one nor the new one")
            if after != wholes[1]:
                succeed(command, os.environ)
            if digest(out) != wholes[1]:
                raise Lost("another run does not give the same data set")
            if left := [path.name for path in out.parent.iterdir() if path != out]:
                raise Lost(f"left behind: {left}")
            return "absent" if after is None else "whole"

        yield judged(check)


def train(folder: Path, rng: random.Random, times: int) -> Iterator[str]:
    """`train.py`, gone on with by `--resume` where there is something to go on with."""
    data, out = prepared_drawings(folder, 36), folder / "run"
    command = python(
        *("train.py", "--data", data, "--out", out, "--size", 32, "--epochs", 3, "--steps", 5),
        *("--augment", "light", "--batch-size", 16, "--arch", "baseline"),  # quick to trace
    )
    seconds = [math.inf]
    for _ in range(times):
        ended = True
        while ended:
            shutil.rmtree(out, ignore_errors=True)
            ended = not killed(command, os.environ, rng, seconds, writes=out)

        def check() -> str:
            release = out / "release"
            saved = any((out / f"checkpoint{end}").exists() for end in ("", ".old"))
            if not release.exists():
                succeed(command + ["--resume"] * saved, os.environ)
            Classifier(release).predict(film())
            if left := [str(path) for path in out.rglob("*.part*")]:
                raise Lost(f"left behind: {left}")
            return "whole" if saved else "absent"

        yield judged(check)


def push(folder: Path, rng: random.Random, times: int) -> Iterator[str]:
    """`push_to_hub.py model` onto a version that is there already."""
    first = make_release(folder / "first" / "release")
    second = copy_release(first, folder / "second", arch="other")
    data = make_dataset(folder / "data", per_class=12)
    hub = Hub(folder / "hub", bind(0), folder / "home").start()
    try:
        env = {**os.environ, **client_env(hub.endpoint, folder / "home"), "HF_TOKEN": hub.token}

        def command(release: Path, repo: str) -> list[str]:
            words = ("--release", release, "--repo-id", repo, "--regression-data", data)
            return python("push_to_hub.py", "model", *words)

        picture = folder / "film.png"
        picture.write_bytes(encode_film(rng))
        seconds = [succeed(command(first, "org/kill"), env)]
        number = 0
        while number < times:
            release, other = (first, second) if number % 2 else (second, first)
            before = hub.commits("org/kill")[0].sha
            if not killed(command(release, "org/kill"), env, rng, seconds):
                succeed(command(other, "org/kill"), env)
                continue
            number += 1

            def check(release: Path = release, before: str = before) -> str:
                shas = [commit.sha for commit in hub.commits("org/kill")]
                if before not in shas[:2]:
                    raise Lost("the version before is gone, or there is more than one new one")
                cache = {"HF_HOME": str(folder / f"home-{shas[0]}")}
                ask = python("-m", "aihealth", "predict", "--model", "org/kill", picture)
                succeed(ask, env | cache)
                succeed(command(release, "org/kill"), env)
                return "whole"

            yield judged(check)
    finally:
        hub.stop()


def space(folder: Path, rng: random.Random, times: int) -> Iterator[str]:
    """The Space, while three visitors ask; the one after it must clean up behind it and answer."""
    content = encode_film(rng)

    def visit(url: str) -> None:
        with contextlib.suppress(httpx.HTTPError, ValueError, LookupError):
            while True:
                ask(url, content)

    for number in range(times + 1):
        with SpaceApp(folder) as app:

            def check(app: SpaceApp = app) -> str:
                if app.files():
                    raise Lost("uploads of the one before are still there")
                try:
                    refused = ask(app.url, content)
                except (httpx.HTTPError, ValueError, LookupError) as error:
                    status, log = app.process.poll(), app.log.read_text()[-500:]
                    raise Lost(f"no answer: {error!r}; status {status}, log {log!r}") from error
                if refused:
                    raise Lost("it refuses a radiograph")
                return "whole"

            if number:
                yield judged(check)
            visitors = [threading.Thread(target=visit, args=(app.url,)) for _ in range(3)]
            for visitor in visitors:
                visitor.start()
            time.sleep(rng.uniform(0, 5))
            app.process.kill()
            for visitor in visitors:
                visitor.join()


def encode_film(rng: random.Random) -> bytes:
    """A drawn radiograph as PNG."""
    return png(film(rng.randrange(100)))


COMMANDS: dict[str, Callable[[Path, random.Random, int], Iterator[str]]] = {
    "prepare": prepare,
    "train": train,
    "push": push,
    "space": space,
}

if __name__ == "__main__":
    main()
