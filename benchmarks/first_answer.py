"""From the start of a process to its first answer with a heatmap."""

from benchmarks.drawn import original_model, png_file
from benchmarks.harness import ORIGINAL, OURS, Settings, Table, alternate, rows, run_process


def run(settings: Settings) -> list[Table]:
    """Start both over and over; the clock stops at the first line of their output."""
    film, old = png_file(settings), original_model(settings)
    commands = {
        OURS: ["-m", "benchmarks.ours", settings.model, film],
        f"{ORIGINAL}: TensorFlow, load_model, model.predict": [
            *("-m", "benchmarks.original", "answer", old, film)
        ],
    }
    processor: dict[str, list[float]] = {name: [] for name in commands}

    def measure(name: str) -> float:
        process = run_process(commands[name])
        processor[name].append(process.processor)
        return process.first

    turns = {name: (lambda name=name: measure(name)) for name in commands}
    return [
        Table(
            "first answer of a fresh process, PNG of 256 px",
            "s",
            rows(alternate(turns, settings.rounds)),
            "x30",
        ),
        Table("the same, processor time until its end", "s", rows(processor)),
    ]
