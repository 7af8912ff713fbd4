"""A real browser for the tests of the page, and the real app as a process."""

import contextlib
import shutil
import subprocess

import pytest

from tests.helpers.space_app import ACCEPT, space_with

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# Sums what moves without the visitor's doing, as the browser measures it.
WATCH_SHIFTS = """window.shifts = 0; window.moved = []; new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
        window.shifts += entry.value;
        for (const {node, previousRect, currentRect} of entry.sources)
            window.moved.push(
                `${node?.id || node?.className} ${previousRect.top} ${currentRect.top}`);
    }
}).observe({type: "layout-shift", buffered: true});"""
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 60_000, "uploadThroughput": 30_000}


@pytest.fixture(scope="module")  # Playwright keeps an event loop running in this thread meanwhile.
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        try:
            running = driver.chromium.launch(executable_path=path, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"no Chromium to test with: {str(error).splitlines()[0]}")
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Open a page; at the end nothing may have been complained of or asked of another host."""
    with contextlib.ExitStack() as contexts:
        trouble = []

        def open_page(
            app,
            width=1440,
            height=900,
            locale="en-US",
            scheme="light",
            query="",
            slow=False,
            **more,
        ):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                locale=locale,
                color_scheme=scheme,
                accept_downloads=True,
                **more,
            )
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.add_init_script(WATCH_SHIFTS)
            page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on("request", lambda r: trouble.append(r.url) if is_foreign(r.url, app) else None)
            page.goto(f"{app.url}/{query}")
            page.wait_for_selector("#panel .card, .problem", state="attached")
            page.wait_for_selector("[data-ready], .problem", state="attached")
            if slow:
                context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
            return page

        yield open_page
        assert trouble == []


def is_foreign(url, app):
    return not url.startswith((app.url, "data:", "blob:"))


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """A Space that answers for whatever it is shown."""
    with space_with(tmp_path_factory.mktemp("space"), **ACCEPT) as running:
        yield running


@pytest.fixture(scope="session")
def unsure_app(tmp_path_factory):
    """A Space that is never sure."""
    with space_with(tmp_path_factory.mktemp("space"), **ACCEPT | {"abstain_below": 1.0}) as running:
        yield running


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """axe-core from npm; where npm or the registry is missing, the test is left out."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(
            ["npm", "pack", "axe-core@4.14.1", "--silent"],
            cwd=folder, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        pytest.skip("axe-core cannot be had from npm")
    subprocess.run(["tar", "xzf", "axe-core-4.14.1.tgz"], cwd=folder, check=True)
    return (folder / "package/axe.min.js").read_text()
