"""The page in a real browser, against the real app as a process: what it says at every moment."""

import contextlib
import csv

import numpy as np
import pytest

from tests.helpers.browsing import (
    ANSWERED,
    FILE,
    drop,
    lit_choice,
    read,
    scale,
    shown_maps,
    upload,
    upload_many,
)
from tests.helpers.image_files import make_dicom
from tests.helpers.space_app import ACCEPT, RELEASE, film, png, space_with, zip_of

import texts  # isort: skip (tests.helpers.space_app sets the path)
from reliability import Reliability, precision  # isort: skip

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

WIDTHS = [1440, 768, 390]
FITS = "document.documentElement.scrollWidth <= innerWidth"


def test_an_upload_is_answered_with_three_probabilities(app, visit):
    page = visit(app)
    assert page.locator("#trust").is_visible(), "what to know comes before the first answer"
    assert "Not a medical device" in page.inner_text(".top")
    assert "Frontal chest radiographs only" in page.inner_text("#upload")
    read(page, png(film(1)))
    values = page.locator(".bars .value").all_inner_texts()
    assert len(values) == 3 and all(value.endswith("%") for value in values)
    assert page.locator("#panel").get_attribute("aria-live") == "polite"


def test_an_example_is_answered(app, visit):
    page = visit(app)
    page.locator("#examples button").first.click()
    page.locator(".answer .of", has_text="drawn-1-Normal.png").wait_for()
    page.locator("#examples button").nth(1).click()
    page.locator(".answer .of", has_text="drawn-2-Covid.png").wait_for()


def test_dicom_without_a_suffix_pasted_and_dropped_files_are_answered(app, visit):
    page = visit(app)
    read(page, make_dicom(film(2)), "IM000001")
    for kind in ("paste", "drop"):
        drop(page, kind, png(film(3, size=64)))
        page.locator(f"{ANSWERED} .of", has_text=f"{kind}.png").wait_for()
        assert page.locator("#film .base").get_attribute("width") == "64"


# === Two images in a row ===


# Each width, both schemes and both languages, and a slow network.
LOOKS = pytest.mark.parametrize(
    "look",
    [
        {"width": 1440},
        {"width": 1440, "slow": True},
        {"width": 768, "locale": "fr-FR", "scheme": "dark"},
        {"width": 390, "locale": "fr-FR", "height": 844},
        {"width": 390, "scheme": "dark", "height": 844, "slow": True},
    ],
    ids=lambda look: "-".join(map(str, look.values())),
)


def words(look):
    """The page's words in the language of a look."""
    return texts.table(look.get("locale", "en")[:2])


@LOOKS
def test_the_next_image_starts_from_the_first_state(app, visit, look):
    page, t = visit(app, **look), words(look)

    def labelled(key):
        return page.locator("#film").get_by_label(t[key], exact=True)

    def assert_the_answers_map_is_shown():
        (shown,) = shown_maps(page)
        name = page.locator(".bars .top .name").inner_text()
        assert t[f"class_{shown}"] == name == lit_choice(page)

    read(page, png(film(1, size=96)), "one.png")
    first = page.evaluate("document.querySelector('#film .base').toDataURL()")
    assert_the_answers_map_is_shown()
    page.locator("#film .choices label").first.click()
    labelled("zoom").fill("3")
    labelled("invert").check(force=True)
    labelled("brightness").fill("0.5")
    labelled("strength").fill("0.9")
    assert shown_maps(page) == [] and scale(page) == pytest.approx(3, rel=0.01)  # whole pixels
    read(page, png(film(1, size=96)), "two.png")
    assert_the_answers_map_is_shown()
    assert scale(page) == pytest.approx(1, rel=0.01) and not labelled("invert").is_checked()
    values = [labelled(key).input_value() for key in ("zoom", "brightness", "strength")]
    assert [float(value) for value in values] == [1, 0, 0.4]
    assert page.evaluate("document.querySelector('#film .base').toDataURL()") == first


@LOOKS
def test_while_a_file_is_read_its_name_stands_where_the_old_answer_was(app, visit, look):
    page = visit(app, **look)
    read(page, png(film(1, size=96)), "one.png")
    seen = page.evaluate_handle("""() => { const seen = [];
        new MutationObserver(() => seen.push([document.querySelector('#panel').innerText,
            document.querySelector('#film .base').width]))
            .observe(document.querySelector('#panel'), {childList: true}); return seen; }""")
    read(page, png(film(2, size=96)), "two.png")
    (reading, width), *_ = seen.json_value()
    assert words(look)["reading_name"].format(name="two.png") in reading and width == 0
    assert "%" not in reading and "one.png" not in reading
    assert page.inner_text(".answer .of") == "two.png"


def test_an_answer_that_comes_late_is_not_shown_over_a_later_one(app, visit):
    page = visit(app)
    held = []
    page.route("**/call/show/*", lambda route: held.append(route))
    upload(page, png(film(1, size=64)), "first.png")
    page.wait_for_function("document.querySelector('#panel').innerText.includes('first.png')")
    while not held:
        page.wait_for_timeout(50)
    page.unroute("**/call/show/*")
    read(page, png(film(2, size=96)), "second.png")
    with contextlib.suppress(playwright.Error):  # The page has given it up.
        held[0].continue_()
    page.wait_for_timeout(500)
    assert page.inner_text(".answer .of") == "second.png"
    assert page.locator("#film .base").get_attribute("width") == "96"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("letter.png", b"hello", "not an image"),
        ("cut.png", png(film())[:500], "cut short"),
        ("many.zip", zip_of({"a.png": b""}), "Many images"),
        ("empty.png", b"", "empty"),
    ],
)
def test_a_refused_file_clears_the_old_answer_and_says_so_in_its_place(
    app, visit, name, content, reason
):
    page = visit(app)
    read(page, png(film(1)), "good.png")
    upload(page, content, name)
    page.wait_for_selector(".refusal")
    text = page.inner_text("#panel")
    assert name in text and reason in text and "good.png" not in text
    assert page.locator("#film .viewer").is_hidden() and page.locator(".bars").count() == 0
    read(page, png(film(1)), "next.png")
    assert page.locator(".refusal").count() == 0


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(app, visit):
    page = visit(app)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("""() => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(51 * 2 ** 20)], "big.png"));
        const input = document.querySelector("#upload input");
        input.files = data.files; input.dispatchEvent(new Event("change")); }""")
    page.wait_for_selector(".refusal")
    assert "big.png" in page.inner_text("#panel") and "50 MB" in page.inner_text("#panel")
    assert requests == []


def test_a_server_that_is_gone_is_said_in_the_panel(app, visit):
    page = visit(app)
    page.route("**/gradio_api/upload", lambda route: route.fulfill(status=200, body="not json"))
    upload(page, png(film(1)), "lost.png")
    page.wait_for_selector(".refusal")
    assert "could not be reached" in page.inner_text("#panel")
    page.unroute("**/gradio_api/upload")
    read(page, png(film(1)), "found.png")


# === What is said beside the verdict ===


def test_beside_each_verdict_stands_how_often_it_is_right_elsewhere(app, visit):
    page = visit(app)
    read(page, png(film(1)))
    label = page.locator(".bars .top .name").inner_text()
    share = precision(Reliability.of(RELEASE).unknown["answered"], label)
    assert f"{round(100 * share)} of 100 answers “{label}” were right" in page.inner_text(".honest")
    assert "Do not use it to decide anything about a person" in page.inner_text(".honest")
    inside = page.locator(".answer details p")
    assert not inside.first.is_visible(), "figures for experts wait in the details"


def test_what_is_no_chest_radiograph_is_said_with_why(tmp_path_factory, visit):
    with space_with(tmp_path_factory.mktemp("space"), **ACCEPT | {"ood_threshold": 0.0}) as app:
        page = visit(app)
        read(page, png(film(1)))
        assert "does not look like a chest radiograph" in page.inner_text(".answer")
        assert "Distance" not in page.inner_text(".answer")
        page.locator(".answer summary").click()
        assert "Distance from the training images" in page.inner_text(".answer details")
        assert page.locator(".bars").count() == page.locator(".layer").count() == 0


# === Languages ===


ENGLISH_WORDS = r"\b(the|and|of|Hand|Heatmap|Drop|Choose|File|Upload|Pneumonia)\b"


@pytest.mark.parametrize(("locale", "query"), [("fr-FR", ""), ("en-US", "?lang=fr")])
def test_all_words_are_french(unsure_app, visit, locale, query):
    page = visit(unsure_app, locale=locale, query=query)
    read(page, png(film(1)))
    assert page.inner_text(".verdict") == "Incertain"
    assert page.title() == "AIHealth : radiographies du thorax"
    assert page.evaluate("document.documentElement.lang") == "fr"
    said = [page.inner_text("body")]
    upload_many(page, {"a.png": png(film(1)), "b.png": b"hello"})
    said.append(page.inner_text("#many"))
    found = page.evaluate(
        "([texts, words]) => texts.flatMap(t => t.match(new RegExp(words, 'g')) ?? [])",
        [said, ENGLISH_WORDS],
    )
    assert found == []
    clipped = page.evaluate("""() => [...document.querySelectorAll('#film .slider span')]
        .filter(x => x.scrollWidth > x.clientWidth + 1).map(x => x.innerText)""")
    assert clipped == []


def test_a_german_browser_gets_english_throughout(app, visit):
    page = visit(app, locale="de-DE")
    read(page, png(film(1)))
    assert page.title() == "AIHealth: chest radiographs"
    assert page.evaluate("[document.documentElement.lang, navigator.language]") == ["en", "en"]
    text = page.inner_text("body")
    assert "Most like" in text and not any(w in text for w in ("Datei", "oder", "hochladen"))


# === Sizes ===


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_the_page_fits_and_nothing_jumps(app, visit, width, scheme, locale):
    page = visit(app, width=width, height=844, locale=locale, scheme=scheme)
    for number in (0, 1):
        page.locator("#examples button").nth(number).click()
        page.locator(".answer .of", has_text=f"drawn-{number + 1}").wait_for()
    page.wait_for_timeout(300)
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
    page.get_by_role("tab").nth(2).click()
    assert page.evaluate(FITS)


def test_a_phone_says_choose_a_file_and_shows_the_answer(app, visit):
    page = visit(app, width=390, height=844, has_touch=True, is_mobile=True)
    assert page.locator("#upload .touch").is_visible()
    assert not page.locator("#upload .mouse").is_visible()
    page.locator("#examples button").first.tap()
    page.locator(".bars").wait_for()
    page.wait_for_function("""() => {
        const {top} = document.querySelector('.verdict').getBoundingClientRect();
        return top >= 0 && top < innerHeight;
    }""")


# === Many images ===


def test_many_images_give_a_sortable_table_and_a_csv(app, visit, tmp_path):
    page = visit(app)
    upload_many(
        page,
        {
            "b.png": png(film(1)),
            "broken.png": b"hello",
            "c.zip": zip_of({"in/a.png": png(film(2, "Covid")), "in/d": make_dicom(film(3))}),
        },
    )
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


@pytest.mark.parametrize("archived", [False, True])
def test_a_row_opens_radiograph_heatmap_and_verdict(app, visit, archived):
    page = visit(app)
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
    assert page.locator("#opened .layer:not([hidden])").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#opened").is_hidden()


def test_what_was_left_out_of_a_large_batch_is_counted_and_named(app, visit):
    page = visit(app)
    files = {f"{number:03}.png": b"x" for number in range(203)}
    upload_many(page, {"all.zip": zip_of(files)})
    assert page.locator(".batch tbody tr").count() == 200
    assert "3 images were left out" in page.inner_text(".left-out")
    page.locator(".left-out summary").click()
    assert page.locator(".left-out li").all_inner_texts() == ["200.png", "201.png", "202.png"]


# === Links, keys, what stays ===


def test_a_link_opens_an_example(app, visit):
    page = visit(app, query="?example=Covid&lang=fr")
    page.locator(".answer .of", has_text="drawn-2-Covid.png").wait_for()
    page = visit(app, query="?example=nothing")
    page.wait_for_selector(".refusal")
    assert "no example of this name" in page.inner_text("#panel")


def test_the_api_tab_can_be_copied(app, visit):
    page = visit(app, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("tab", name="API").click()
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("from gradio_client")
    assert "What comes back" in page.inner_text(".api")


def test_the_page_works_from_the_keyboard(app, visit):
    page = visit(app)
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    page.locator(".bars").wait_for()
    page.get_by_label("Off", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert shown_maps(page) == ["Covid"]
    page.get_by_label("Zoom").focus()
    page.keyboard.press("End")
    assert scale(page) == pytest.approx(8)
    nameless = page.evaluate("""() => [...document.querySelectorAll('main input, main button')]
        .filter(x => x.offsetParent && !(x.labels?.length || x.ariaLabel || x.innerText.trim()))
        .map(x => x.outerHTML)""")
    assert nameless == []


def test_the_browser_keeps_nothing_of_a_visit(app, visit):
    page = visit(app, query="?teach=1")
    read_name = "Doe-Jane.png"
    sent = []
    page.on("request", lambda r: sent.append(r.post_data_buffer or b""))
    upload(page, png(film(1)), read_name)
    page.locator(".readings button").first.click()
    page.locator(".bars").wait_for()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "Doe" not in kept and "data:image" not in kept
    assert page.evaluate("indexedDB.databases().then(all => all.length)") == 0
    assert not any(b"Doe" in body for body in sent), "the name stays in the browser"


GRADIOS = "[role=tablist], .tab-wrapper, .tab-container, footer:not(.bottom)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_our_markup(app, visit, axe, scheme):
    page = visit(app, scheme=scheme)
    read(page, png(film(1)))
    states = [lambda: None, lambda: upload_many(page, {"a.png": png(film(1)), "b.png": b"x"})]
    states.append(lambda: page.get_by_role("tab").nth(2).click())
    page.evaluate(axe)
    for act in states:
        act()
        found = page.evaluate(
            "gradios => axe.run({exclude: gradios}).then(r => r.violations.flatMap(v =>"
            " v.nodes.map(n => v.id + ' ' + n.html.slice(0, 120))))",
            GRADIOS.split(", "),
        )
        assert found == []


def test_scripts_stay_small():
    from tests.helpers.space_app import SPACE

    sizes = {path.name: path.stat().st_size for path in SPACE.glob("*.js")}
    assert sum(sizes.values()) < 40_000


def test_stored_values_of_dicom_reach_the_browser(app, visit):
    """A narrow stored window clips the radiograph; the visitor widens it and asks again."""
    page = visit(app)
    deep = film(4).astype(np.uint16) * 16
    content = make_dicom(deep, BitsStored=12, HighBit=11, WindowCenter=1400, WindowWidth=1000)
    read(page, content, "narrow.dcm")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    stored = page.inner_text("#film .readout")
    assert [int(word) for word in stored.split()[1::2]] == pytest.approx([1000, 1400], abs=9)
    clipped = page.evaluate("document.querySelector('#film .base').toDataURL()")
    page.get_by_label("Window (contrast)").fill("-2")
    page.get_by_label("Level (brightness)").fill("-0.6")
    page.get_by_role("button", name="Ask again as shown").click()
    page.wait_for_selector(".again")
    assert "With the window as you set it" in page.inner_text(".again")
    assert page.evaluate("document.querySelector('#film .base').toDataURL()") != clipped
    assert page.locator("#film .readout").inner_text() != stored
    assert page.inner_text(".answer .of") == "narrow.dcm"


def test_the_input_can_take_the_same_file_twice(app, visit):
    page = visit(app)
    read(page, png(film(1)), "same.png")
    page.get_by_role("button", name="Remove this image").click()
    assert "No image yet" in page.inner_text("#panel")
    assert page.input_value(FILE) == ""
    read(page, png(film(1)), "same.png")
