"""The page in the browser against the Gradio page: the same images, in headless Chromium, in turn.

    python -m aihealth page --out PAGE
    python -m benchmarks.two_pages --page PAGE

Prints, for each page, the median over rounds of: bytes until the first answer, seconds from the
address to it, seconds of a next answer, and, once, seconds of a batch and the memory of the
browser's page after it. The server of the Gradio page runs on this machine too.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.harness import family, memory_of
from tests.helpers import browsing, engine, space_app

SIDE = 1024  # pixels of a drawing


def main() -> None:
    """Read the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, required=True, help="folder of the page")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--next", type=int, default=10, help="next answers a round (%(default)s)")
    parser.add_argument("--batch", type=int, default=200, help="images of the batch (%(default)s)")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    images = [space_app.png(space_app.film(seed, size=SIDE)) for seed in range(args.next + 1)]
    report: dict[str, dict[str, list[float]]] = {"static": {}, "gradio": {}}
    with (
        tempfile.TemporaryDirectory() as folder,
        engine.served(args.page) as static,
        space_app.SpaceApp(Path(folder)) as app,
        sync_playwright() as driver,
    ):
        urls = {"static": static, "gradio": app.url}
        for turn in range(args.rounds):
            for name, url in urls.items():
                batch = args.batch if turn == args.rounds - 1 else 0
                for key, value in visit(driver, url, images, batch).items():
                    report[name].setdefault(key, []).append(value)
    medians = {
        name: {key: round(statistics.median(values), 3) for key, values in found.items()}
        for name, found in report.items()
    }
    print(json.dumps(medians, indent=2))


def visit(driver, url: str, images: list[bytes], batch: int) -> dict[str, float]:
    """One visit with a browser of its own, which has kept nothing.

    Args:
        driver: Playwright's.
        url: of the page.
        images: bytes of files; the first answer is that of the first.
        batch: how many images are read together at the end, 0 for none.
    """
    running = driver.chromium.launch(executable_path="/usr/bin/chromium", args=engine.FLAGS)
    try:
        page = running.new_page(service_workers="block")
        page.set_default_timeout(300_000)
        sizes: list[int] = []
        page.on("requestfinished", lambda r: sizes.append(sum(_sizes(r))))
        start = time.perf_counter()
        page.goto(url)
        page.wait_for_selector("[data-ready]")
        browsing.read(page, images[0], "first.png")
        found = {"first answer, s": time.perf_counter() - start, "MB": sum(sizes) / 1e6}
        times = []
        for number, image in enumerate(images[1:]):
            start = time.perf_counter()
            browsing.read(page, image, f"next-{number}.png")
            times.append(time.perf_counter() - start)
        found["next answer, s"] = statistics.median(times)
        if batch:
            start = time.perf_counter()
            files = {f"{i}.png": images[i % len(images)] for i in range(batch)}
            browsing.upload_many(page, files)
            found["batch, s"] = time.perf_counter() - start
            found["memory after it, MB"] = _memory()
        return found
    finally:
        running.close()


def _sizes(request) -> tuple[int, int]:
    with contextlib.suppress(Exception):  # What the browser has not kept has no sizes.
        sizes = request.sizes()
        return sizes["responseBodySize"], sizes["responseHeadersSize"]
    return 0, 0


def _memory() -> float:
    """Proportional memory, MB, of the largest page process that this program's browser has."""
    found = [0.0]
    for pid in family(os.getpid()):
        with contextlib.suppress(OSError):
            if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(memory_of(pid) or 0.0)
    return max(found)


if __name__ == "__main__":
    main()
