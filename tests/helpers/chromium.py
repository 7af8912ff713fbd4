"""The Chromium that tests, benchmarks and the README's picture use."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def installed():
    """The path of the machine's Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def launch(driver):
    """Start it, or the one that came with Playwright.

    Args:
        driver: Playwright's.
    """
    return driver.chromium.launch(executable_path=installed(), args=FLAGS)
