"""From the start of a process to its first answer with a heatmap."""

from benchmarks.drawn import original_model, png_file
from benchmarks.harness import ORIGINAL, OURS, Settings, Table, alternate, rows, run_process


def run(settings: Settings) -> list[Table]:
    """Start both over and over; the clock stops at the first line of their output."""
    film, old = png_file(settings), original_model(settings)
    ours = ["-m", "benchmarks.ours", settings.model, film]
    theirs = ["-m", "benchmarks.original", "answer", old, film]
    values = alternate(
        {
            OURS: lambda: run_process(ours).first,
            f"{ORIGINAL}: TensorFlow, load_model, model.predict": lambda: run_process(theirs).first,
        },
        settings.rounds,
    )
    return [Table("first answer of a fresh process, PNG of 256 px", "s", rows(values), "x30")]
