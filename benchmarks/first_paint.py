"""From the request of the page until a phone shows something of it, with nothing in its cache."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import OURS, ROOT, Settings, Table, alternate, rows
from benchmarks.space_start import EMPTY, running
from tests.helpers import chromium

# The page with Gradio's own upload and image, before the viewer.
BEFORE = "7444469~1"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
# What Lighthouse takes for a phone: a slow processor, 150 ms to the server, 1.6 Mbit/s.
SLOW_PROCESSOR = {"rate": 4}
SLOW_NETWORK = {
    "offline": False, "latency": 150, "downloadThroughput": 204_800, "uploadThroughput": 93_750,
}  # fmt: skip


def run(settings: Settings) -> list[Table]:
    """Load both pages over and over: at full speed, and as on a slow phone."""
    from playwright.sync_api import sync_playwright

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = {"MODEL_ID": str(settings.model)}
        pages = {OURS: stack.enter_context(running(["space/app.py"], model))}
        if _unpack(BEFORE, folder):
            own = {"MODEL_ID": str(folder / "release"), "PYTHONPATH": str(folder)}
            pages["the page before its own viewer"] = stack.enter_context(
                running([str(folder / "space" / "app.py")], own)
            )
        pages["an empty Gradio page"] = stack.enter_context(running(["-c", EMPTY], {}))
        driver = stack.enter_context(sync_playwright())
        browser = chromium.launch(driver)
        stack.callback(browser.close)
        return [
            _table(title, pages, browser, slow, settings.rounds)
            for title, slow in (("at full speed", False), ("slow processor and network", True))
        ]


def _table(title: str, pages: dict[str, str], browser: Any, slow: bool, rounds: int) -> Table:
    loads = {name: (lambda url=url: first_paint(browser, url, slow)) for name, url in pages.items()}
    return Table(f"first paint on a phone, {title}", "ms", rows(alternate(loads, rounds)), "x1")


def first_paint(browser: Any, url: str, slow: bool) -> float:
    """Milliseconds until the first content is painted (`first-contentful-paint`)."""
    context = browser.new_context(**PHONE)
    try:
        page = context.new_page()
        tools = context.new_cdp_session(page)
        tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
        if slow:
            tools.send("Emulation.setCPUThrottlingRate", SLOW_PROCESSOR)
            tools.send("Network.emulateNetworkConditions", SLOW_NETWORK)
        page.goto(url, wait_until="commit")
        return page.evaluate(_PAINT)
    finally:
        context.close()


_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries())
        if (name === "first-contentful-paint") done(startTime);
}).observe({ type: "paint", buffered: true }))"""


def _unpack(commit: str, folder: Path) -> bool:
    """Put the files of a commit into a folder; False where this is no checkout that has it."""
    command = ["git", "-C", str(ROOT), "archive", commit]
    found = subprocess.run(command, capture_output=True)
    if found.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True
