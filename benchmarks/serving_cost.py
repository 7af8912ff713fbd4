"""What serving takes: memory at its peak, and bytes to download."""

from aihealth import release
from benchmarks.drawn import mixed_folder, original_model
from benchmarks.harness import ORIGINAL, OURS, Row, Settings, Table, alternate, rows, run_process


def run(settings: Settings) -> list[Table]:
    """Answer for a few films of each format and ask the system for the peak."""
    old = original_model(settings)
    films = sorted(mixed_folder(settings, 6 if settings.quick else 30).iterdir())
    pictures = [film for film in films if film.suffix != ".dcm"]
    commands = {
        OURS: ["-m", "benchmarks.ours", settings.model, *pictures],
        "ours, DICOM too": ["-m", "benchmarks.ours", settings.model, *films],
        ORIGINAL: ["-m", "benchmarks.original", "answer", old, *pictures],
    }
    peaks = {
        name: (lambda command=command: run_process(command).peak)
        for name, command in commands.items()
    }
    values = alternate(peaks, settings.rounds, warm_up=False)
    sizes = [(settings.model / name).stat().st_size / 1e6 for name in release.SERVING_FILES]
    size, old_size = sum(sizes), old.stat().st_size / 1e6
    return [
        Table("memory at peak, serving without a page", "MB", rows(values), "at most 120 MB"),
        Table(
            "download of a serving client",
            "MB",
            [Row(OURS, size, ratio=1.0), Row(ORIGINAL, old_size, ratio=old_size / size)],
            "at most 4 MB",
        ),
    ]
