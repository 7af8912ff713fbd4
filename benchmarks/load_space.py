"""Many visitors at once: failures, answer times and memory of the Space.

    python -m benchmarks.load_space --users 20 --seconds 120
    python -m benchmarks.load_space --users 20 --seconds 120 --malformed 0.33
    python -m benchmarks.load_space --users 20 --seconds 120 --malformed 0.33 --attacks DIR

Starts `space/app.py` as a process (or asks one that runs, with --url), and has each user, at an
address of their own, upload a drawn film and ask `/predict`, over and over. A share of them,
--malformed, upload what is no film instead: such a file succeeds when it is refused with a
sentence; one of the files in --attacks, when it is answered or refused. Prints one JSON object;
exits with 1 if any request failed.
"""

import argparse
import io
import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks.harness import OURS, Row, Settings, Table, memory_of
from tests.helpers.space_app import SpaceApp, film, png

CLASSES = ("Normal", "Covid", "Pneumonia")


def run(settings: Settings) -> list[Table]:
    """Twenty visitors for a minute, one in five sends no films; there is nothing to compare."""
    users, seconds = (2, 2.0) if settings.quick else (20, 60.0)
    args = argparse.Namespace(users=users, seconds=seconds, malformed=0.2, attacks=None)
    with (
        tempfile.TemporaryDirectory() as folder,
        SpaceApp(Path(folder), MODEL_ID=str(settings.model)) as app,
    ):
        report = measure(app.url, args, lambda: memory_of(app.process.pid, "VmRSS", "status"))
    row = Row(f"{OURS}, {users} visitors", report["p50_s"], note=f"p95 {report['p95_s']} s")
    return [Table("answers of the Space under load", "s", [row], "no failure", report)]


def main() -> None:
    """Read the command line, run, report."""
    args = parse_args()
    if args.url:
        report = measure(args.url, args, lambda: None)
    else:
        with tempfile.TemporaryDirectory() as folder, SpaceApp(Path(folder)) as app:
            report = measure(app.url, args, lambda: memory_of(app.process.pid, "VmRSS", "status"))
    print(json.dumps(report, indent=2))
    sys.exit(1 if report["failed"] else 0)


def measure(url, args, memory):
    """Let the users work; `memory` gives the server's MB, or None where it cannot be known."""
    attacks = [path.read_bytes() for path in files_of(args.attacks)]
    good = [png(film(seed, CLASSES[seed % 3], size)) for seed, size in enumerate((256, 512, 1024))]
    bad = [b"", b"no image", good[0][:900], png(np.zeros((4, 4), np.uint8))]
    for content in good:  # The first answers load libraries; memory is compared after them.
        ask(url, content)
    seconds, attacked, failures, lock = [], [], [], threading.Lock()
    before, end = memory(), time.monotonic() + args.seconds

    def user(number):
        choice = random.Random(number)
        malformed = number < args.malformed * args.users
        while time.monotonic() < end:
            content = choice.choice((attacks or bad) if malformed else good)
            # Bytes after the end make each upload a file of its own, as different visitors' are.
            unique = content + (choice.randbytes(8) if content in good else b"")
            start = time.monotonic()
            try:
                refused = ask(url, unique, f"9.9.9.{number}")
                as_it_should = refused == malformed or (malformed and bool(attacks))
                wrong = None if as_it_should else f"refused: {refused}"
            except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
                wrong = f"{type(error).__name__}: {error}"
            with lock:
                (attacked if malformed else seconds).append(time.monotonic() - start)
                if wrong:
                    failures.append(wrong)

    users = [threading.Thread(target=user, args=(number,)) for number in range(args.users)]
    for thread in users:
        thread.start()
    quarters = []
    for _ in range(4):
        time.sleep(args.seconds / 4)
        quarters.append(memory())
    for thread in users:
        thread.join()
    p50, p95 = (round(float(np.percentile(seconds, q)), 3) for q in (50, 95))
    return {
        "users": args.users,
        "seconds": args.seconds,
        "malformed": args.malformed,
        "cores": os.cpu_count(),
        "requests": len(seconds),
        "malformed_requests": len(attacked),
        "failed": len(failures),
        "failures": sorted(set(failures))[:5],
        "p50_s": p50,
        "p95_s": p95,
        "requests_per_s": round(len(seconds) / args.seconds, 1),
        "memory_mb": {"before": before, "quarters": quarters},
    }


def files_of(folder):
    """The files in a folder, at any depth; small ones, for a thousand uploads."""
    if not folder:
        return []
    found = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return [path for path in found if path.stat().st_size <= 4 * 2**20]


def ask(url, content, visitor=""):
    """Upload, ask `/predict`, wait; True when the file is refused with a sentence."""
    api = f"{url}/gradio_api"
    with httpx.Client(timeout=60, headers={"x-forwarded-for": visitor}) as client:
        files = {"files": ("film.png", io.BytesIO(content))}
        (path,) = client.post(f"{api}/upload", files=files).raise_for_status().json()
        data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        event = client.post(f"{api}/call/predict", json=data).raise_for_status().json()["event_id"]
        text = client.get(f"{api}/call/predict/{event}").raise_for_status().text
    kind, answer = text.strip().splitlines()[-2:]
    if kind == "event: error":
        if not json.loads(answer.removeprefix("data: ")):
            raise ValueError("an error without a sentence")
        return True
    (result,) = json.loads(answer.removeprefix("data: "))
    if abs(sum(result["probabilities"].values()) - 1) > 1e-3:
        raise ValueError("the probabilities do not sum to 1")
    return False


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument(
        "--malformed", type=float, default=0.0, help="share of users who send no films"
    )
    parser.add_argument("--attacks", help="folder of files that these send")
    parser.add_argument("--url", help="a running Space; by default one is started")
    return parser.parse_args()


if __name__ == "__main__":
    main()
