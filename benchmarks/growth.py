"""How time and memory grow with the number of images: `data_prep prepare` and `predict`."""

import shutil
import time

from benchmarks.drawn import collection
from benchmarks.harness import Row, Settings, Table, run_process


def run(settings: Settings) -> list[Table]:
    """One run a size: the point is the slope, not the height."""
    tens = (1_000, 10_000, 100_000)
    counts = (60, 120) if settings.quick else [n for n in tens if n <= settings.images]
    found = {"prepare": [], "predict": [], "search for near-duplicates": []}
    for count in counts:
        folder = collection(settings, count)
        out = settings.work / "growth-prepared"
        shutil.rmtree(out, ignore_errors=True)
        prepare = run_process(["-m", "data_prep", "prepare", folder, "--out", out])
        shutil.rmtree(out)
        predict = run_process(
            ["-m", "aihealth", "predict", "--model", settings.model, folder, "--format", "csv"]
        )
        for name, process in (("prepare", prepare), ("predict", predict)):
            found[name].append((count, process.whole, process.peak))
        found["search for near-duplicates"].append((count, _search(folder), None))
    return [_table(name, points) for name, points in found.items()]


def _search(folder) -> float:
    """Processor seconds of the search alone, on the thumbnails of the collection."""
    from aihealth.data.duplicates import near_duplicates
    from aihealth.data.layouts import find_images
    from data_prep.inspection import thumbnails
    from data_prep.scan import scan_images

    images, _ = scan_images(find_images([str(folder)]).entries)
    pictures = thumbnails(images)
    del images
    start = time.process_time()
    near_duplicates(pictures)
    return time.process_time() - start


def _table(name: str, points: list[tuple[int, float, float | None]]) -> Table:
    """Microseconds an image, so that linear growth is a constant column."""
    first = points[0][1] / points[0][0]
    rows = []
    for count, seconds, peak in points:
        memory = "" if peak is None else f", {peak:.0f} MB at peak"
        note = f"{seconds:.1f} s{memory}"
        each = seconds / count
        rows.append(Row(f"{count} images", 1e6 * each, ratio=each / first, note=note))
    return Table(f"growth of {name}", "us an image", rows, "a constant")
