"""The page in a real browser, against the real app as a process: what it says at every moment."""

import contextlib

import numpy as np
import pytest

from tests.helpers.browsing import (
    lit_choice,
    read,
    scale,
    shown_maps,
    upload,
    upload_many,
)
from tests.helpers.space_app import RELEASE, SPACE, film, png, zip_of

import texts  # isort: skip (tests.helpers.space_app sets the path)
from reliability import Reliability, precision  # isort: skip

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser


def test_an_upload_is_answered_with_three_probabilities(app, visit):
    page = visit(app)
    assert page.locator("#trust").is_visible(), "what to know comes before the first answer"
    assert "Not a medical device" in page.inner_text(".top")
    assert "Frontal chest radiographs only" in page.inner_text("#upload")
    read(page, png(film(1)))
    values = page.locator(".bars .value").all_inner_texts()
    assert len(values) == 3 and all(value.endswith("%") for value in values)
    assert page.locator("#panel").get_attribute("aria-live") == "polite"


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
    labelled("strength").fill("0.9")
    page.locator("#film .choices label").first.click()
    assert not labelled("strength").is_visible()  # Without a heatmap it does nothing.
    labelled("zoom").fill("3")
    labelled("invert").check(force=True)
    labelled("brightness").fill("0.5")
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


def test_what_is_no_chest_radiograph_is_said_with_why(unsure_app, visit):
    page = visit(unsure_app)
    read(page, png(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)))
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


@pytest.mark.parametrize(
    ("locale", "scheme", "query", "ground"),
    [
        ("en-US", "light", "", "rgb(244, 247, 248)"),
        ("fr-FR", "dark", "", "rgb(14, 20, 23)"),
        ("fr-FR", "dark", "?__theme=light&lang=en", "rgb(244, 247, 248)"),
    ],
)
def test_the_header_is_there_before_gradio(app, visit, locale, scheme, query, ground):
    page = visit(app, locale=locale, scheme=scheme, calm=False)
    page.route("**/assets/*.js", lambda route: route.abort())
    page.goto(f"{app.url}/{query}")
    language = "fr" if locale == "fr-FR" and not query else "en"
    seen = [it.inner_text() for it in page.locator(".top h1").all() if it.is_visible()]
    assert seen == [texts.say("title", language)]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    assert page.locator("#upload").count() == 0, "Gradio was to be missing"


# === A phone ===


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


def test_what_was_left_out_of_a_large_batch_is_counted_and_named(app, visit):
    page = visit(app)
    files = {f"{number:03}.png": b"x" for number in range(203)}
    upload_many(page, {"all.zip": zip_of(files)})
    assert page.locator(".batch tbody tr").count() == 200
    assert "Images left out (3): not read" in page.inner_text(".left-out")
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


def test_scripts_stay_small():
    assert sum(path.stat().st_size for path in SPACE.glob("*.js")) < 40_000


def test_the_input_can_take_the_same_file_twice(app, visit):
    page = visit(app)
    for _ in range(2):
        read(page, png(film(1)), "same.png")
        page.get_by_role("button", name="Remove this image").click()
        assert "No image yet" in page.inner_text("#panel")
        assert page.input_value("#upload input") == ""
