"""The page that never uploads against the Gradio page, in headless Chromium, in turns.

    python -m benchmarks.browser_pages FOLDER [FOLDER ...]

The Gradio page's server runs on this machine too. Each visit has a browser of its own, which has
kept nothing. Prints one JSON object: of each figure the median over rounds, the lowest and the
highest. Other answers are those that differ in class, abstention, rejection, warning or refusal.
"""

import argparse
import contextlib
import csv
import gzip
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aihealth.publishing import static_page
from benchmarks.browser_parity import sample
from tests.helpers import browsing, chromium, engine, space_app

NEXT = 10  # answers, one after another, a visit


def report(manual: str, measure: Callable) -> None:
    """Read the command line, measure, print.

    Args:
        manual: the program's docstring.
        measure: takes Playwright's driver, the images and the number of rounds.
    """
    parser = argparse.ArgumentParser(description=manual.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of images")
    parser.add_argument("--images", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    paths = list(sample(args.folders, args.images))
    with sync_playwright() as driver:
        found = measure(driver, paths, args.rounds)
    found |= {"images": len(paths), "rounds": args.rounds, "load": os.getloadavg()}
    print(json.dumps(found, indent=2))


def measure(driver, paths: list[Path], rounds: int) -> dict:
    """Visit the pages in turn; in the last round each reads all images together."""
    found, rows = {"in the browser": [], "Gradio": []}, {}
    with tempfile.TemporaryDirectory() as folder, space_app.SpaceApp(Path(folder)) as app:
        site = static_page.write_page(str(space_app.RELEASE), f"{folder}/page")
        with engine.served(site) as static:
            places = dict(zip(found, [(static, site), (app.url, None)], strict=True))
            for turn in range(rounds):
                for name, (url, files) in places.items():
                    with visited(driver, url, files) as (page, traffic):
                        found[name].append(visit(page, url, traffic, paths))
                        if turn == rounds - 1:
                            more, rows[name] = batch(page, paths)
                            found[name][-1] |= more
    figures = {name: summary(visits) for name, visits in found.items()}
    return figures | {"they differ": differences(*rows.values())}


def visit(page, url: str, traffic, paths: list[Path]) -> dict[str, float]:
    """Open a page and show it images, one after another."""
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("[data-ready]")
    times = []
    for number, path in enumerate(paths[: NEXT + 1]):
        browsing.read(page, path.read_bytes(), f"{number}{path.suffix}")
        times.append(time.perf_counter() - start)
        if not number:
            found = traffic()
        start = time.perf_counter()
    return found | {"first answer, s": times[0], "next answer, s": statistics.median(times[1:])}


def batch(page, paths: list[Path]) -> tuple[dict[str, float], list[list[str]]]:
    """Show a page all images together: what it took, and the rows of its CSV."""
    files = {f"{number}{path.suffix}": path.read_bytes() for number, path in enumerate(paths)}
    start = time.perf_counter()
    browsing.upload_many(page, files)
    took = time.perf_counter() - start
    memory = engine.memory_mb(page)
    with page.expect_download() as download:
        page.locator("a.download").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    found = {f"{len(paths)} images together, s": took, "memory after them, MB": memory}
    return found, list(csv.reader(text.splitlines()))


def differences(ours: list[list[str]], theirs: list[list[str]]) -> dict[str, float]:
    """The largest difference of a probability in two CSV files, and how many rows say another."""
    assert ours[0] == theirs[0] and len(ours) == len(theirs)
    largest, others = 0.0, 0
    for row in zip(ours[1:], theirs[1:], strict=True):
        mine, its = (dict(zip(ours[0], cells, strict=True)) for cells in row)
        for name in list(mine):
            with contextlib.suppress(ValueError):
                gap = abs(float(mine[name]) - float(its[name]))
                largest = largest if name.startswith("ood") else max(largest, gap)
                del mine[name], its[name]
        others += mine != its
    return {"largest difference of a probability": largest, "other answers": others}


@contextlib.contextmanager
def visited(driver, url: str, site: Path | None):
    """An empty page of a browser of its own, and a function that tells what it has received.

    Args:
        driver: Playwright's.
        url: what will be visited.
        site: the folder that is served there, where one is: its server does not compress, so what
            a server that does would have sent is told too.
    """
    running = chromium.launch(driver)
    finished = []

    def traffic() -> dict[str, float]:
        found = {"received, MB": sum(map(_size, finished)) / 1e6}
        if site:
            asked = {request.url.removeprefix(url).partition("?")[0] for request in finished}
            files = [site / (name or "index.html") for name in asked]
            sizes = [len(gzip.compress(f.read_bytes(), 6)) for f in files if f.is_file()]
            found["compressed, MB"] = sum(sizes) / 1e6
        return found

    try:
        page = running.new_page(service_workers="block")
        page.set_default_timeout(600_000)
        page.on("requestfinished", lambda request: finished.append(request))
        yield page, traffic
    finally:
        running.close()


def _size(request) -> int:
    with contextlib.suppress(Exception):  # What the browser has not kept has no sizes.
        return sum(request.sizes()[f"response{part}Size"] for part in ("Body", "Headers"))
    return 0


def summary(visits: list[dict[str, float]]) -> dict[str, str]:
    """Of each figure: median, and lowest and highest where they are others."""
    found = {}
    for key in visits[-1]:
        values = [one[key] for one in visits if key in one]
        three = min(values), statistics.median(values), max(values)
        low, middle, high = (f"{value:.3g}" for value in three)
        found[key] = middle if low == high else f"{middle} ({low} to {high})"
    return found


if __name__ == "__main__":
    report(__doc__, measure)
