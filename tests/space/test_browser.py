"""The Space in a real browser, against the real app as a process."""

import contextlib
import csv
import shutil
import time

import pytest

from tests.helpers.image_files import make_dicom
from tests.helpers.space_app import ACCEPT, film, png, space_with, zip_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FILE = "#upload input[type=file]"
FILES = "#upload-many input[type=file]"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        try:
            running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"no Chromium to test with: {str(error).splitlines()[0]}")
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Open a page; at the end nothing may have been complained of or asked of another host."""
    with contextlib.ExitStack() as contexts:
        trouble = []

        def open_page(app, width=1440, height=900, locale="en-US", scheme="light"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                locale=locale,
                color_scheme=scheme,
                accept_downloads=True,
            )
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(15_000)
            page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on("request", lambda r: trouble.append(r.url) if is_foreign(r.url, app) else None)
            page.goto(app.url)
            page.wait_for_selector(f"{FILE}, .problem", state="attached")
            return page

        yield open_page
        assert trouble == []


def is_foreign(url, app):
    return not url.startswith((app.url, "data:", "blob:"))


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with space_with(tmp_path_factory.mktemp("space"), **ACCEPT) as running:
        yield running


def upload(page, data, name="film.png", selector=FILE):
    page.set_input_files(selector, {"name": name, "mimeType": "", "buffer": data})


def shown_overlay(page):
    return page.eval_on_selector_all(
        ".layer", "all => all.filter(x => !x.hidden).map(x => x.dataset.class)"
    )


def test_an_upload_is_answered_with_three_probabilities(app, visit):
    page = visit(app)
    assert page.locator("#trust").is_visible(), "what to know comes before the first answer"
    assert "Not a medical device" in page.inner_text(".top")
    upload(page, png(film(1)))
    page.wait_for_selector(".answer .verdict")
    values = page.locator(".bars .value").all_inner_texts()
    assert len(values) == 3 and all(value.endswith("%") for value in values)
    assert page.locator("#panel").get_attribute("aria-live") == "polite"
    upload(page, b"hello", "second.png")
    page.wait_for_selector(".refusal")
    assert "not an image" in page.inner_text(".refusal")


def test_an_example_is_answered_at_once(app, visit):
    page = visit(app)
    page.locator("#examples button").first.click()
    page.wait_for_selector(".answer")
    before = page.get_attribute(".base", "src")
    start = time.monotonic()
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("old => document.querySelector('.base').src !== old", arg=before)
    assert time.monotonic() - start < 3


def test_dicom_without_a_suffix_pasted_and_dropped_files_are_answered(app, visit):
    page = visit(app)
    upload(page, make_dicom(film(2)), "IM000001")
    page.wait_for_selector(".answer .bars")
    for kind in ("paste", "drop"):
        page.evaluate(
            """([kind, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "x.png", {type: "image/png"}));
                const event = kind === "paste"
                    ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
                    : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
                document.querySelector(".top").dispatchEvent(event);
            }""",
            [kind, list(png(film(3, size=64)))],
        )
        page.wait_for_selector(".base[width='64']")
        upload(page, png(film(4)))
        page.wait_for_selector(".base[width='256']")


def test_overlay_and_image_controls_work_without_asking_the_server(app, visit):
    page = visit(app)
    upload(page, png(film(1)))
    page.wait_for_selector(".viewer")
    page.wait_for_timeout(500)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    stage = page.locator(".stage")

    page.get_by_label("Covid", exact=True).check(force=True)
    assert shown_overlay(page) == ["Covid"]
    page.get_by_label("Off", exact=True).check(force=True)
    assert shown_overlay(page) == []
    page.get_by_label("Pneumonia", exact=True).check(force=True)
    page.get_by_label("Map strength").fill("0.8")
    opacity = "getComputedStyle(document.querySelector('.layer:not([hidden])')).opacity"
    assert page.evaluate(opacity) == "0.8"

    width = page.locator(".base").bounding_box()["width"]
    page.get_by_label("Zoom").fill("3")
    assert page.locator(".base").bounding_box()["width"] == pytest.approx(3 * width, rel=0.01)
    boxes = [
        page.locator(f".{name}").first.bounding_box() for name in ("base", "layer:not([hidden])")
    ]
    assert boxes[0] == boxes[1], "the map lies on the film"
    page.get_by_label("Invert").check(force=True)
    page.get_by_label("Brightness").fill("1.5")
    assert "invert(1) brightness(1.5)" in page.locator(".base").evaluate(
        "x => getComputedStyle(x).filter"
    )
    page.get_by_role("button", name="Reset view").click()
    assert "invert(0) brightness(1)" in page.locator(".base").evaluate(
        "x => getComputedStyle(x).filter"
    )
    assert stage.evaluate("x => x.scrollWidth <= x.clientWidth")
    assert [url for url in requests if not url.startswith("data:")] == []


def test_the_page_works_from_the_keyboard(app, visit):
    page = visit(app)
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".viewer")
    page.get_by_label("Off", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert shown_overlay(page) == ["Covid"]
    page.get_by_label("Zoom").focus()
    page.keyboard.press("End")
    assert page.locator(".stage").evaluate("x => x.scrollWidth > x.clientWidth")
    nameless = page.evaluate("""() => [...document.querySelectorAll('main input, main button')]
        .filter(x => x.offsetParent && !(x.labels?.length || x.ariaLabel || x.innerText.trim()))
        .map(x => x.outerHTML)""")
    assert nameless == []


def test_many_images_give_a_sortable_table_and_a_csv(app, visit, tmp_path):
    page = visit(app)
    page.get_by_role("tab", name="Many images").click()
    files = {
        "b.png": png(film(1)),
        "broken.png": b"hello",
        "c.zip": zip_of({"in/a.png": png(film(2, "Covid")), "in/d": make_dicom(film(3))}),
    }
    page.set_input_files(
        FILES, [{"name": n, "mimeType": "", "buffer": data} for n, data in files.items()]
    )
    page.wait_for_selector(".batch tbody tr")
    assert "3 answered" in page.inner_text(".batch") and "1 unreadable" in page.inner_text(".batch")
    assert page.locator(".batch tbody img").count() == 3

    def names():
        return page.locator("tbody .name").all_inner_texts()

    assert names() == ["b.png", "broken.png", "in/a.png", "in/d"]
    page.get_by_role("button", name="File", exact=True).click()
    page.get_by_role("button", name="File", exact=True).click()
    assert names() == ["in/d", "in/a.png", "broken.png", "b.png"]
    page.get_by_role("button", name="Covid").click()
    assert names()[0] == "broken.png"
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Covid")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    download.value.save_as(tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["b.png", "broken.png", "in/a.png", "in/d"]
    assert "not an image" in rows[1]["error"] and float(rows[0]["Covid"]) <= 1


def test_what_is_no_chest_radiograph_is_said_with_why(tmp_path_factory, visit):
    with space_with(tmp_path_factory.mktemp("space"), **ACCEPT | {"ood_threshold": -1.0}) as app:
        page = visit(app)
        upload(page, png(film(1)))
        page.wait_for_selector(".answer")
        assert "does not look like a chest radiograph" in page.inner_text(".answer")
        assert "distance from the training images" in page.inner_text(".answer")
        assert page.locator(".bars").count() == page.locator(".layer").count() == 0


def test_abstention_is_said_with_its_level(tmp_path_factory, visit):
    with space_with(tmp_path_factory.mktemp("space"), **ACCEPT | {"abstain_below": 1.01}) as app:
        page = visit(app, locale="fr-FR")
        upload(page, png(film(1)))
        page.wait_for_selector(".answer")
        assert page.inner_text(".verdict") == "Incertain"
        assert page.locator(".bars .value").count() == 3
        assert page.get_by_role("tab", name="Plusieurs images").is_visible()
        assert page.evaluate("document.documentElement.lang") == "fr"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_answer_first_and_scrolls_one_way_only(app, visit, scheme):
    page = visit(app, width=390, height=844, scheme=scheme)
    page.locator("#examples button").first.click()
    page.wait_for_selector(".viewer")
    page.wait_for_function("""() => {
        const {top} = document.querySelector('.verdict').getBoundingClientRect();
        return top >= 0 && top < innerHeight;
    }""")
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    tops = [page.locator(name).bounding_box()["y"] for name in ("#panel", "#film", "#trust")]
    assert tops == sorted(tops)
    ground = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 30, 34)")
    page.get_by_role("tab", name="Many images").click()
    upload(page, png(film(1)), "a-rather-long-name-of-a-file-from-a-phone.png", FILES)
    page.wait_for_selector(".batch tbody tr")
    assert page.evaluate(fits)
    page.get_by_role("tab", name="API").click()
    assert page.evaluate(fits)


def test_the_browser_keeps_nothing_of_a_visit(app, visit):
    page = visit(app)
    upload(page, png(film(1)), "Doe-Jane.png")
    page.wait_for_selector(".answer")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "Doe" not in kept and "data:image" not in kept
    assert page.evaluate("indexedDB.databases().then(all => all.length)") == 0
