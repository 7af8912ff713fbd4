"""Runs cases in a process of their own, so that a crash is a finding and not the end."""

import collections
import dataclasses
import subprocess
import sys
import threading
import time

from tests.fuzz.cases import ANSWERED, CONTAINED, REFUSED

SECONDS = 30.0  # of one case; far more than it may take, for machines that are busy


@dataclasses.dataclass
class Report:
    """What came of the cases of a target.

    Attributes:
        target: what was mutated.
        outcomes: how many cases ended in which way.
        failures: "number: what happened", of those that ended in none that may be.
        slowest: seconds, and the case.
    """

    target: str
    outcomes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failures: list[str] = dataclasses.field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)

    def line(self) -> str:
        """One row of a table."""
        good = (ANSWERED, REFUSED, CONTAINED)
        kinds = ("traceback", "hang", "crash")
        counts = [self.outcomes[kind] for kind in (*good, *kinds)]
        numbers = " | ".join(map(str, (self.outcomes.total(), *counts)))
        return f"| {self.target} | {numbers} | {self.slowest[0]:.1f}, case {self.slowest[1]} |"


HEAD = (
    "| mutated | inputs | answered | refused | decoder died, contained | tracebacks | hangs | "
    "crashes | slowest, s |\n|---|---|---|---|---|---|---|---|---|"
)


def run(seed: int, target: str, first: int, stop: int, until: float = float("inf")) -> Report:
    """Run the cases from `first` to `stop`, or until a moment of `time.monotonic`."""
    report, number = Report(target), first
    while number < stop and time.monotonic() < until:
        number = _run_some(report, seed, number, stop, until)
    return report


def _run_some(report: Report, seed: int, number: int, stop: int, until: float) -> int:
    """Run cases in one process, until it ends; the number of the next case."""
    command = [sys.executable, "-m", "tests.fuzz", "--cases", report.target]
    command += [str(seed), str(number), str(stop)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    hung = False

    def stop_it() -> None:
        nonlocal hung
        hung = True
        process.kill()

    started = watch = None
    with process:
        while True:
            watch = threading.Timer(SECONDS + 60 * (started is None), stop_it)
            watch.start()
            line = process.stdout.readline()
            watch.cancel()
            if not line:
                break
            kind, seconds, text = line.rstrip("\n").split("\t")
            started = True
            if kind == "ready":
                continue
            report.outcomes[kind] += 1
            report.slowest = max(report.slowest, (float(seconds), number))
            if kind == "traceback":
                report.failures.append(f"{number}: {text}")
            number += 1
            if time.monotonic() > until:
                process.kill()
                return stop
    if number < stop:  # It ended in the middle of a case.
        kind = "hang" if hung else "crash"
        report.outcomes[kind] += 1
        report.failures.append(f"{number}: {kind} (status {process.returncode})")
        number += 1
    return number


def serve(target: str, seed: int, first: int, stop: int) -> None:
    """The other process: run cases and print a line for each."""
    from tests.fuzz.cases import Cases

    cases = Cases(seed, target)
    print("ready\t0\t", flush=True)
    for number in range(first, stop):
        start = time.monotonic()
        try:
            kind, text = cases.run(number), ""
        except Exception as error:
            kind, text = "traceback", f"{type(error).__name__}: {error}".replace("\n", " ")
        seconds = time.monotonic() - start
        print(f"{kind}\t{seconds:.3f}\t{text[:200].encode('unicode_escape').decode()}", flush=True)
