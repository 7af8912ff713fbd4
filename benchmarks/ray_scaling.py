"""`predict --engine ray`: two workers against one, and the memory of ten times as many files."""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.drawn import mixed_folder, png_file
from benchmarks.harness import ROOT, Row, Settings, Table, alternate, environment, rows


def run(settings: Settings) -> list[Table]:
    """Each run starts Ray afresh; its start is not part of the rates."""
    try:
        import ray  # noqa: F401
    except ImportError:
        skipped = Row("two workers", note='skipped: pip install "ray[data]"')
        return [Table("archive on Ray", "images/s", [skipped], "x1.7")]
    return [_scaling(settings), _memory(settings), _rows_written(settings)]


def _scaling(settings: Settings) -> Table:
    from aihealth.archive import FILES

    count = 640 if settings.quick else 2000
    folder = mixed_folder(settings, count)
    before: list[float] = []

    def rate(workers: int) -> float:
        from aihealth import ray_engine

        before.append(_busy())
        times = [
            time.perf_counter()
            for _ in ray_engine.rows(str(settings.model), None, [str(folder)], workers)
        ]
        # The first parts pay for loading the model; after them both workers are at it.
        warm = 4 * FILES
        return (count - warm) / (times[-1] - times[warm - 1])

    values = alternate(
        {"two workers": lambda: rate(2), "one worker": lambda: rate(1)},
        settings.rounds,
        warm_up=False,
    )
    share = round(statistics.median(before), 2)
    checks = {"share of the cores that others used before each run, median": share}
    table = rows(values, larger_is_better=True)
    return Table(f"{count} mixed files on Ray", "images/s", table, "x1.7", checks)


def _memory(settings: Settings) -> Table:
    """Driver, Ray's own processes and two workers, with the memory that they share."""
    few = 64 if settings.quick else 2000
    film = png_file(settings)
    peaks = {}
    for count in (10 * few, few):
        folder = settings.work / f"same-{count}"
        folder.mkdir(exist_ok=True)
        for index in range(count):
            if not (folder / f"{index:07d}.png").exists():
                os.link(film, folder / f"{index:07d}.png")
        command = [sys.executable, "-m", "aihealth", "predict", "--model", str(settings.model)]
        command += ["--data", str(folder), "--out", str(settings.work / "rows.parquet")]
        for engine in (["--engine", "ray", "--workers", "2"], ["--engine", "local"]):
            peaks[f"{engine[1]}, {count} files"] = _peak([*command, *engine])
    table = [
        Row(
            name,
            peak,
            ratio=peaks[f"{name.partition(',')[0]}, {few} files"] / peak,
            note="at most 10% more for ten times the files",
        )
        for name, peak in peaks.items()
    ]
    return Table("peak memory of all processes together", "MB", table)


def _rows_written(settings: Settings) -> Table:
    """What the one process that collects the rows can take, without any worker."""
    import pickle

    from aihealth.answers import Parquet, output, row
    from aihealth.archive import FILES
    from aihealth.classifier import Classifier

    classifier = Classifier(settings.model)
    prediction = classifier.predict(png_file(settings))
    parts = 50 if settings.quick else 2000
    part = pickle.dumps([row(f"/archive/{i:09d}.png", prediction, None) for i in range(FILES)])

    def rate() -> float:
        start = time.perf_counter()
        with output(str(settings.work / "rows.parquet"), "wb") as file:
            table = Parquet(file, classifier.classes, {})
            for _ in range(parts):
                for answer in pickle.loads(part):
                    table.row(answer)
            table.end()
            table.close()
        return parts * FILES / (time.perf_counter() - start)

    table = rows(alternate({"rows to Parquet": rate}, settings.rounds), larger_is_better=True)
    size = (settings.work / "rows.parquet").stat().st_size / (parts * FILES)
    checks = {"bytes a row, with the same answer in all": round(size, 2)}
    return Table("rows that the collecting process takes", "rows/s", table, checks=checks)


# === Processes of Linux ===


def _busy() -> float:
    """Share of all cores in use over the next second."""

    def ticks() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    before = ticks()
    time.sleep(1)
    total, idle = (b - a for a, b in zip(before, ticks(), strict=True))
    return 1 - idle / total


def _peak(command: list[str]) -> float:
    """Largest sum over a process and what it started, MB; shared pages count once."""
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE) as process:
        lines = threading.Thread(target=process.stderr.read)
        lines.start()
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional, _family(process.pid))))
            time.sleep(0.25)
        lines.join()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return peak


def _family(pid: int) -> Iterable[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:  # It ended in the meantime.
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def _proportional(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
