"""Take the pictures of the Space in this folder, with the release that the project ships.

    python docs/screenshots.py

Needs playwright and a Chromium. Every radiograph in the pictures is drawn.
"""
# ruff: noqa: E402  (the checkout is put on the path before it is imported)

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.helpers.space_app import SPACE, SpaceApp, film, png

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
COLOURS = 256  # a palette makes the pictures a third as large


def example(page: Page, number: int) -> None:
    """Click an example and wait for its answer."""
    page.locator("#examples button").nth(number).click()
    page.wait_for_selector("#panel .answer:not(.empty, .reading)")


def many(page: Page) -> None:
    """Send a batch with a broken file; drawn images are of no hospital that the model knows."""
    page.get_by_role("tab").nth(1).click()
    page.wait_for_selector("#upload-many input[type=file]", state="attached")
    drawn = sorted((SPACE / "examples").glob("*.png"))
    files = [(path.name, path.read_bytes()) for path in drawn]
    files += [("letter.png", b"no image")]
    files += [(f"ward-{seed}.png", png(film(seed, "Pneumonia"))) for seed in range(7, 27)]
    page.set_input_files(
        "#upload-many input[type=file]",
        [{"name": name, "mimeType": "", "buffer": data} for name, data in files],
    )
    page.wait_for_selector(".batch")


def teach(page: Page) -> None:
    """Teaching mode: the reader's answer is asked for before the model's is shown."""
    page.locator("#teach .toggle input").check(force=True)
    page.locator("#examples button").nth(1).click()
    page.wait_for_selector(".readings")


PICTURES = {
    "space-start": (1440, "light", lambda page: None),
    "space-answer": (1440, "light", lambda page: example(page, 2)),
    "space-answer-dark": (1440, "dark", lambda page: example(page, 2)),
    "space-not-sure": (1440, "light", lambda page: example(page, 1)),
    "space-not-chest": (1440, "light", lambda page: example(page, 3)),
    "space-many": (1440, "light", many),
    "space-teach": (1440, "light", teach),
    "space-phone": (390, "light", lambda page: example(page, 2)),
    "space-phone-dark": (390, "dark", lambda page: example(page, 0)),
}


def take(browser: Browser, app: SpaceApp) -> None:
    """Save each picture as a PNG of few colours."""
    for name, (width, scheme, act) in PICTURES.items():
        height = 1200 if width > 700 else 1700
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-US"
        )
        page.goto(app.url)
        page.wait_for_selector("[data-ready]", state="attached")
        act(page)
        page.wait_for_timeout(800)
        page.evaluate("window.scrollTo(0, 0)")
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture = picture.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE)
        picture.save(DOCS / f"{name}.png", optimize=True)
        page.close()


def main() -> None:
    """Start the Space and take them all."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as temporary:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with SpaceApp(Path(temporary)) as app:
            take(browser, app)
        browser.close()


if __name__ == "__main__":
    main()
