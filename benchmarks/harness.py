"""What all benchmarks share: alternating rounds, medians and spreads, processes, tables."""

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = "ours"
ORIGINAL = "original"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to run a benchmark.

    Attributes:
        work: folder for what is drawn, built and written; kept between runs when it is given.
        model: the release that is measured.
        rounds: how often the alternatives take turns.
        quick: tiny inputs that show that everything runs; figures mean nothing.
        images: the largest folder that `growth` works off.
    """

    work: Path
    model: Path
    rounds: int
    quick: bool
    images: int


@dataclasses.dataclass
class Row:
    """One line of a table.

    Attributes:
        name: what was measured.
        value: median, in `unit`.
        low: smallest of the rounds.
        high: largest of the rounds.
        ratio: how many times better than this row ours is; 1 for ours, None for a remark.
        note: what the reader should know.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    note: str = ""


@dataclasses.dataclass
class Table:
    """What one benchmark found.

    Attributes:
        title: what was compared, in words.
        unit: of the values; "s" and "MB" are better when small, "images/s" when large.
        rows: ours first.
        target: what the ratio should reach, as a sentence.
        checks: figures that ride along, such as the largest difference of probabilities.
    """

    title: str
    unit: str
    rows: list[Row]
    target: str = ""
    checks: dict[str, Any] = dataclasses.field(default_factory=dict)


def alternate(
    functions: Mapping[str, Callable[[], float]], rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Let functions take turns; each returns what it measured.

    The first turn is thrown away, but not where there is one round: that shows that all runs.
    """
    if warm_up and rounds > 1:
        for function in functions.values():
            function()
    values: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            values[name].append(function())
    return values


def rows(values: Mapping[str, Sequence[float]], *, larger_is_better: bool = False) -> list[Row]:
    """Medians and spreads; the ratio is the median over the rounds, against the first row."""
    ours = next(iter(values.values()))
    table = []
    for name, measured in values.items():
        pairs = zip(measured, ours, strict=True)
        ratio = statistics.median(b / a if larger_is_better else a / b for a, b in pairs)
        middle = statistics.median(measured)
        table.append(Row(name, middle, min(measured), max(measured), ratio))
    return table


def seconds(
    function: Callable[[], Any], repeats: int = 1, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of a call: the fastest of the repeats, as `timeit` advises; others were disturbed.

    With `time.process_time` as the clock those that processors worked, which a busy machine
    changes little.
    """
    measured = []
    for _ in range(repeats):
        start = clock()
        function()
        measured.append(clock() - start)
    return min(measured)


# === Processes ===


@dataclasses.dataclass(frozen=True)
class Finished:
    """A process that ended well.

    Attributes:
        first: seconds until its first line of output.
        whole: seconds until its end.
        processor: seconds that processors worked for it; a busy machine changes them little.
        peak: MB of memory.
        output: what it wrote to its standard output.
    """

    first: float
    whole: float
    processor: float
    peak: float
    output: str


def run_process(
    arguments: Sequence[str | Path], environ: Mapping[str, str] | None = None
) -> Finished:
    """Run Python with arguments in the checkout, and measure it.

    Raises:
        RuntimeError: it failed; the text has its last lines.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        peak: list[float] = []
        watcher = threading.Thread(target=_watch_memory, args=(process, peak))
        watcher.start()
        line = process.stdout.readline()
        first = time.perf_counter() - start
        output = line + process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        whole = time.perf_counter() - start
        watcher.join()
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{arguments}: {log.read()[-2000:]}")
    processor = usage.ru_utime + usage.ru_stime
    return Finished(first, whole, processor, max(peak, default=0.0), output)


def _watch_memory(process: subprocess.Popen, peak: list[float]) -> None:
    """Collect the peak of a process, MB, as long as it lives; Linux only.

    Not `getrusage`: its figure for a child starts from the memory of the parent.
    """
    while process.returncode is None:
        peak.append(memory_of(process.pid, "VmHWM", "status") or 0.0)
        time.sleep(0.02)


def memory_of(pid: int, field: str = "Pss", file: str = "smaps_rollup") -> float | None:
    """MB of a process; shared pages count once. None where it has ended, or off Linux."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        return next((int(x.split()[1]) / 1024 for x in lines if x.startswith(f"{field}:")), None)
    return None


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a measured process: a user's, with the bytecode of modules kept."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **(extra or {})}


# === Output ===


def show(name: str, table: Table) -> str:
    """A table for the terminal."""
    width = max(len(row.name) for row in table.rows)
    lines = [f"{name}: {table.title}" + (f" [{table.target}]" if table.target else "")]
    for row in table.rows:
        value = "" if row.value is None else f"{row.value:12.4g} {table.unit}"
        spread = "" if row.low is None else f" ({row.low:.4g} to {row.high:.4g})"
        ratio = "" if row.ratio is None else f"  x{row.ratio:.2f}"
        lines.append(f"  {row.name:{width}} {value}{spread}{ratio}  {row.note}".rstrip())
    lines += [f"  {key}: {value}" for key, value in table.checks.items()]
    return "\n".join(lines)


def check_same(ours: Any, reference: Any, limit: float = 1e-3) -> float:
    """Largest difference of two sets of probabilities.

    Raises:
        RuntimeError: it is above the limit, so the speed of one says nothing of the other.
    """
    import numpy as np

    difference = float(np.abs(np.asarray(ours) - np.asarray(reference)).max())
    if difference > limit:
        raise RuntimeError(f"the probabilities differ by {difference:.2g}, above {limit}")
    return difference
