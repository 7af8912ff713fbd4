"""`predict --engine ray`: two workers against one, and the memory of ten times as many files."""

import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.drawn import mixed_folder, png_file
from benchmarks.harness import (
    ROOT,
    Row,
    Settings,
    Table,
    alternate,
    environment,
    family,
    memory_of,
    rows,
)


def run(settings: Settings) -> list[Table]:
    """Each run starts Ray afresh; its start is not part of the rates."""
    written = _one_process(settings)
    try:
        import ray  # noqa: F401
    except ImportError:
        written.rows.append(Row("two workers", note='skipped: pip install "ray[data]"'))
        return [written]
    return [_scaling(settings), _memory(settings), written, _collecting(settings)]


def _scaling(settings: Settings) -> Table:
    from aihealth.data.archive import FILES
    from aihealth.inference import ray_engine

    count = 640 if settings.quick else 2000
    folder = mixed_folder(settings, count)
    warm = 4 * FILES  # The first parts pay for loading the model; after them all workers are at it.
    busy: list[float] = []
    spent: dict[int, list[tuple[float, float]]] = {1: [], 2: []}

    def rate(workers: int) -> float:
        busy.append(_busy())
        marks = []
        answers = ray_engine.answers(str(settings.model), None, [str(folder)], workers)
        for number, _ in enumerate(answers, 1):
            if number in (warm, count):
                marks.append((time.perf_counter(), *_processor_seconds()))
        wall, scoring, rest = (after - before for before, after in zip(*marks, strict=True))
        spent[workers].append((1000 * scoring / (count - warm), rest / wall))
        return (count - warm) / wall

    values = alternate(
        {"two workers": lambda: rate(2), "one worker": lambda: rate(1)},
        settings.rounds,
        warm_up=False,
    )
    one, two = (statistics.median(scoring for scoring, _ in spent[n]) for n in (1, 2))
    rest = statistics.median(rest for _, rest in spent[2])
    checks = {
        "share of the cores that others used before each run, median": statistics.median(busy),
        "ms of processor time an image, by one worker": one,
        "ms of processor time an image, by each of two": two,
        "cores that all else of Ray keeps busy": rest,
        # Other programs distort the rates on busy cores, but hardly what these are made of.
        "ratio to expect on two cores that nothing else uses": (2 - rest) * one / two,
    }
    checks = {key: round(value, 3) for key, value in checks.items()}
    table = rows(values, larger_is_better=True)
    return Table(f"{count} mixed files on Ray", "images/s", table, "x1.7", checks)


def _memory(settings: Settings) -> Table:
    """Driver, Ray's own processes and two workers, with the memory that they share."""
    few = 64 if settings.quick else 2000
    peaks = {}
    for count in (10 * few, few):
        folder = _same_files(settings, count)
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


def _one_process(settings: Settings) -> Table:
    """What is not divided among workers: finding the files and writing the rows."""
    import pickle

    from aihealth.answers import row
    from aihealth.classifier import Classifier
    from aihealth.data.archive import FILES, parts
    from aihealth.inference.writers import writer

    classifier = Classifier(settings.model)
    prediction = classifier.predict(png_file(settings))
    rounds = 50 if settings.quick else 2000
    part = pickle.dumps(
        [row(classifier, f"/archive/{i:09d}.png", prediction) for i in range(FILES)]
    )
    folder = _same_files(settings, 640 if settings.quick else 20000)

    def write() -> float:
        start = time.process_time()
        with writer("parquet", str(settings.work / "rows.parquet"), classifier) as table:
            for _ in range(rounds):
                for answer in pickle.loads(part):
                    table.row(answer)
            table.end()
        return rounds * FILES / (time.process_time() - start)

    def find() -> float:
        start = time.process_time()
        found = sum(len(pickle.dumps(part)) > 0 for part in parts([str(folder)]))
        return found * FILES / (time.process_time() - start)

    values = alternate({"answers written to Parquet": write, "files found": find}, settings.rounds)
    table = rows(values, larger_is_better=True)
    for line in table:
        line.ratio = None
    return Table("what one process does for all workers", "/s of processor time", table)


def _collecting(settings: Settings) -> Table:
    """What the process that started Ray can take: empty files cost the workers next to nothing."""
    from aihealth.data.archive import FILES
    from aihealth.inference import ray_engine

    count, warm = 6400 if settings.quick else 60000, 100 * FILES // 2
    folder = settings.work / f"empty-{count}"
    folder.mkdir(exist_ok=True)
    for index in range(count):
        (folder / f"{index:07d}.png").touch()

    def rate() -> float:
        answers = ray_engine.answers(str(settings.model), None, [str(folder)], 2)
        for _ in zip(range(warm), answers, strict=False):
            start = time.process_time()
        rest = sum(1 for _ in answers)
        return rest / (time.process_time() - start)

    values = alternate({"rows out of Ray": rate}, settings.rounds, warm_up=False)
    return Table("what the collecting process takes", "/s of processor time", rows(values))


def _same_files(settings: Settings, count: int) -> Path:
    """A folder with one film under many names."""
    folder = settings.work / f"same-{count}"
    folder.mkdir(exist_ok=True)
    film = png_file(settings)
    for index in range(count):
        if not (folder / f"{index:07d}.png").exists():
            os.link(film, folder / f"{index:07d}.png")
    return folder


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


def _processor_seconds() -> tuple[float, float]:
    """Of the workers, and of this process and all else that it started."""
    scoring = rest = 0.0
    for pid in family(os.getpid()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if command.startswith("ray::") and "_Worker" in command:
            scoring += used
        else:
            rest += used
    return scoring, rest


def _peak(command: list[str]) -> float:
    """Largest sum over a process and what it started, MB; shared pages count once."""
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE) as process:
        lines = threading.Thread(target=process.stderr.read)
        lines.start()
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(memory_of(pid) or 0.0 for pid in family(process.pid)))
            time.sleep(0.25)
        lines.join()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return peak
