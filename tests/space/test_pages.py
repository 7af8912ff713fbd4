"""What both pages do alike, the one that asks a server and the one that never uploads."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from aihealth import Classifier
from tests.helpers.browsing import (
    ANSWERED,
    FITS,
    drop,
    read,
    shown_maps,
    upload_many,
)
from tests.helpers.image_files import make_dicom
from tests.helpers.space_app import film, png, zip_of

import batch  # isort: skip (tests.helpers.space_app sets the path)

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser


@pytest.fixture(params=["app", "accepting"], ids=["gradio", "static"])
def either(request):
    """A page that answers for whatever it is shown."""
    return request.getfixturevalue(request.param)


def test_examples_dicom_without_a_suffix_pasted_and_dropped_files_are_answered(either, visit):
    page = visit(either)
    for number, name in enumerate(("drawn-1-Normal.png", "drawn-2-Covid.png")):
        page.locator("#examples button").nth(number).click()
        page.locator(f"{ANSWERED} .of", has_text=name).wait_for()
    read(page, make_dicom(film(2)), "IM000001")
    assert page.locator("#film .base").get_attribute("width") == "256"
    for kind in ("paste", "drop"):
        drop(page, kind, png(film(3, size=64)))
        page.locator(f"{ANSWERED} .of", has_text=f"{kind}.png").wait_for()
        assert page.locator("#film .base").get_attribute("width") == "64"


def test_stored_values_of_dicom_reach_the_viewer_and_are_asked_about_again(either, visit):
    """A narrow stored window clips the radiograph; the visitor widens it and asks again."""
    page = visit(either)
    deep = film(4).astype(np.uint16) * 16
    content = make_dicom(deep, BitsStored=12, HighBit=11, WindowCenter=1400, WindowWidth=1000)
    read(page, content, "narrow.dcm")
    readout = page.locator("#film .readout", has_text="W")
    stored = readout.inner_text()
    assert [int(word) for word in stored.split()[1::2]] == pytest.approx([1000, 1400], abs=9)
    clipped = page.evaluate("document.querySelector('#film .base').toDataURL()")
    page.get_by_role("slider", name="Window (contrast)").fill("-2")
    page.get_by_role("slider", name="Level (brightness)").fill("-0.6")
    page.get_by_role("button", name="Ask again as shown").click()
    page.wait_for_selector(".again")
    assert "With the window as you set it" in page.inner_text(".again")
    assert page.evaluate("document.querySelector('#film .base').toDataURL()") != clipped
    assert readout.inner_text() != stored
    assert page.inner_text(".answer .of") == "narrow.dcm"


# === Many images ===


def test_many_images_give_the_csv_of_the_command_line(either, visit, tmp_path):
    page = visit(either)
    inside = {f"in/{i}.png": png(film(i)) for i in range(20)}
    files = {
        "=cmd().png": png(film(30)),
        'a "b", c.png': png(film(31)),
        "letter.png": b"hello",
        "empty.png": b"",
        "more.zip": zip_of(inside | {"__MACOSX/x.png": b"x"}),
        "nested.zip": zip_of({"inner.zip": zip_of({"a.png": b"x"})}),
        "nothing.zip": zip_of({}),
    }
    upload_many(page, files)
    with page.expect_download() as download:
        page.locator("a.download").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    for number, data in enumerate(files.values()):
        (tmp_path / str(number)).write_bytes(data)
    uploads = [(name, str(tmp_path / str(number))) for number, name in enumerate(files)]
    classifier = Classifier(either.model, name="release")
    with batch.items(uploads) as images:
        rows = list(batch.rows(classifier.predict, images))
    shift = classifier.shift(row.prediction for row in rows if row.prediction).warning
    expected = batch.to_csv(rows, classifier, shift)
    ours, theirs = ([*csv.reader(io.StringIO(one))] for one in (text, expected))
    assert text.count("\r") == 0 and len(ours) == len(theirs) == 27
    for mine, its in zip(ours, theirs, strict=True):
        for own, other in zip(mine, its, strict=True):
            if re.fullmatch(r"\d+\.\d{4,6}", other):
                assert float(own) == pytest.approx(float(other), abs=2e-4)
                assert len(own) == len(other)
            else:
                assert own == other
    assert page.locator("#table tbody tr").count() == 26


def test_the_table_is_sorted_by_what_is_pressed(either, visit):
    page = visit(either)
    archive = zip_of({"in/a.png": png(film(2, "Covid")), "in/d": make_dicom(film(3))})
    upload_many(page, {"b.png": png(film(1)), "broken.png": b"hello", "c.zip": archive})
    assert "3 answered" in page.inner_text(".batch") and "1 unreadable" in page.inner_text(".batch")
    assert page.locator(".batch tbody :is(img, canvas)").count() == 3

    def names():
        return page.locator("tbody .name").all_inner_texts()

    assert names() == ["b.png", "broken.png", "in/a.png", "in/d"]
    page.get_by_role("button", name="File", exact=True).click()
    page.get_by_role("button", name="File", exact=True).click()
    assert names() == ["in/d", "in/a.png", "broken.png", "b.png"]
    page.get_by_role("button", name="Covid").click()
    assert names()[0] == "broken.png"
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Covid")


@pytest.mark.parametrize("archived", [False, True])
def test_a_row_opens_radiograph_heatmap_and_verdict(either, visit, archived):
    page = visit(either)
    name = "ward-3/a-name-that-is-much-longer-than-a-row-is-wide-0001.png"
    image = png(film(1, size=128))
    files = {"a.zip": zip_of({name: image})} if archived else {name.split("/")[1]: image}
    upload_many(page, files)
    shown = page.locator("tbody .name").inner_text()
    assert "…" in shown and shown.endswith("wide-0001.png"), "cut in the middle"
    answer = page.locator("tbody td").first.inner_text()
    page.locator("tbody .file").click()
    page.locator("#opened .bars").wait_for()
    assert answer in page.inner_text("#opened .verdict")
    assert page.locator("#opened .base").get_attribute("width") == "128"
    assert len(shown_maps(page, "#opened")) == 1
    shown = page.locator("#opened .buttons button").all()
    assert [it.inner_text() for it in shown if it.is_visible()] == [
        "Reset view",
        "Ask again as shown",
        "Save as PNG",
    ]
    page.keyboard.press("Escape")
    assert page.locator("#opened").is_hidden()


# === Looks ===


@pytest.mark.parametrize(
    ("width", "scheme", "locale"),  # each pair of two of them
    [
        (1440, "light", "en-US"),
        (1440, "dark", "fr-FR"),
        (768, "light", "fr-FR"),
        (768, "dark", "en-US"),
        (390, "light", "en-US"),
        (390, "dark", "fr-FR"),
    ],
)
def test_the_page_fits_and_nothing_jumps(either, visit, width, scheme, locale):
    page = visit(either, width=width, height=844, locale=locale, scheme=scheme)
    for number in (0, 1):
        page.locator("#examples button").nth(number).click()
        page.locator(f"{ANSWERED} .of", has_text=f"drawn-{number + 1}").wait_for()
    page.locator("#film .readout", has_text="W").wait_for()
    assert page.evaluate(FITS)
    assert page.evaluate("window.shifts") < 0.01, page.evaluate("window.moved")
    boxes = [page.locator(name).bounding_box() for name in ("#panel", "#film", "#trust")]
    if width <= 768:
        assert all(box["width"] > 0.85 * width for box in boxes), "one column"
        assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    sliders = page.locator("#film input[type=range]")
    assert min(box.bounding_box()["width"] for box in sliders.all()) >= 160
    ground = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 30, 34)")
    upload_many(page, {"a-rather-long-name-of-a-file-that-comes-from-a-phone.png": png(film(1))})
    assert page.evaluate(FITS)
    for part in page.locator("#upload-many, #table .card, #table .download").all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.locator("#table .name").bounding_box()["width"] > 70, "not a letter a line"
    for tab in page.get_by_role("tab").all()[2:]:
        tab.click()
        assert page.evaluate(FITS)
        button, text = (
            page.locator(f".code {name}").last.bounding_box() for name in ("button", "pre")
        )
        assert width > 860 or button["y"] + button["height"] <= text["y"], "no text is hidden"


GRADIOS = "[role=tablist].tab-container, .tab-wrapper, .tab-container, footer:not(.bottom)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_our_markup(either, visit, axe, scheme):
    page = visit(either, scheme=scheme, bypass_csp=True)
    read(page, png(film(1)))
    states = [lambda: None, lambda: upload_many(page, {"a.png": png(film(1)), "b.png": b"x"})]
    states += [tab.click for tab in page.get_by_role("tab").all()[2:]]
    page.evaluate(axe)
    for act in states:
        act()
        found = page.evaluate(
            "gradios => axe.run({exclude: gradios}).then(r => r.violations.flatMap(v =>"
            " v.nodes.map(n => v.id + ' ' + n.html.slice(0, 120))))",
            GRADIOS.split(", "),
        )
        assert found == []
