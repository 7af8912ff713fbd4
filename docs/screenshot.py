"""Take the README's picture of the Space, with the release that the project ships.

    python docs/screenshot.py

Needs playwright and a Chromium. The radiograph in the picture is drawn.
"""
# ruff: noqa: E402  (the checkout is put on the path before it is imported)

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.helpers import chromium
from tests.helpers.browsing import ANSWERED
from tests.helpers.space_app import SpaceApp

COLOURS = 256  # a palette makes the picture a third as large


def main() -> None:
    """Start the Space, click its third example, and save what it shows."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as temporary:
        browser = chromium.launch(driver)
        with SpaceApp(Path(temporary)) as app:
            page = browser.new_page(
                viewport={"width": 1440, "height": 1200}, color_scheme="light", locale="en-US"
            )
            page.goto(app.url)
            page.wait_for_selector("[data-ready]", state="attached")
            page.locator("#examples button").nth(2).click()
            page.wait_for_selector(ANSWERED)
            page.wait_for_timeout(800)
            page.evaluate("window.scrollTo(0, 0)")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    picture = picture.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE)
    picture.save(DOCS / "space-answer.png", optimize=True)


if __name__ == "__main__":
    main()
