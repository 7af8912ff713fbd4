"""The page that never uploads, in a real browser: what it says, sends, and withstands."""

import html
import json
import re
import time

import pytest
from PIL import Image

from aihealth import Classifier, release
from aihealth.classifier import UNLIKE
from aihealth.images import MAX_BYTES
from aihealth.publishing import static_page
from tests.helpers.browsing import ANSWERED, FILE, read, upload, upload_many
from tests.helpers.engine import served
from tests.helpers.image_files import encode, make_dicom
from tests.helpers.space_app import ACCEPT, RELEASE, film, png, zip_of
from tests.static.conftest import page_with

import render  # isort: skip (tests.helpers.space_app sets the path)
from reliability import Reliability  # isort: skip

pytestmark = pytest.mark.browser
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture
def another(site, tmp_path):
    """A page of this test alone; it may change its files."""
    with page_with(site, tmp_path / "site") as page:
        yield page


def until(page, condition):
    """Wait for something; Playwright's own way makes code out of text, which the page forbids."""
    deadline = time.monotonic() + 90
    while not page.evaluate(f"Promise.resolve({condition}).then(Boolean)"):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def words_of(text):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


# === Answers ===


@pytest.mark.parametrize(
    "settings", [{}, {"abstain_below": 1.0}, {"ood_threshold": 0.0}], ids=["sure", "unsure", "far"]
)
def test_an_answer_has_the_words_of_the_server(site, tmp_path, visit, settings):
    picture = png(film(1))
    with page_with(site, tmp_path / "site", **ACCEPT | settings) as own:
        classifier = Classifier(own.model)
        answer = classifier.predict(picture)
        for language in ("en", "fr"):
            expected = render.answer(answer, classifier.config, Reliability.of(RELEASE), language)
            page = visit(own, query=f"?lang={language}")
            read(page, picture)
            page.locator(".answer summary").click()
            said = page.evaluate("document.querySelector('#panel .answer').outerHTML")
            maps = page.locator("#film .layer").count()
            assert words_of(said).replace("radiograph.png ", "", 1) == words_of(expected)
            assert maps == (len(answer.probabilities) if answer.is_chest_radiograph else 0)


# === Nothing leaves ===


def test_no_image_leaves_while_images_are_read(another, visit):
    page = visit(another, service_workers="allow")
    until(page, "navigator.serviceWorker.controller")
    asked = []
    page.context.on("request", lambda request: asked.append(request))
    read(page, png(film(1)), "a.png")
    read(page, encode(Image.fromarray(film(2)), "JPEG"), "b.jpg")
    read(page, make_dicom(film(3)), "c.dcm")
    upload_many(page, {f"{i}.png": png(film(i)) for i in range(3)})
    for request in asked:  # a decoder's scripts, when they are needed first
        assert request.method == "GET" and request.post_data is None
        assert request.url.startswith((another.url + "engine/", another.url + "vendor/"))
        assert "?" not in request.url


@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('{}')",
        "new Image().src = '{}'",
        "navigator.sendBeacon('{}', 'x') || Promise.reject()",
        "import('{}')",
    ],
)
def test_the_policy_forbids_every_other_host(accepting, visit, attempt):
    page = visit(accepting, calm=False)  # The browser complains of what it keeps back.
    asked = []
    with served(accepting.folder) as elsewhere:
        page.on("request", lambda request: asked.append(request))
        page.evaluate(
            "document.addEventListener('securitypolicyviolation', () => (window.kept = 1))"
        )
        page.evaluate(f"Promise.resolve({attempt.format(elsewhere + 'main.js')}).catch(() => {{}})")
        until(page, "window.kept")
    away = [r for r in asked if r.url.startswith(elsewhere)]
    assert [r for r in away if r.response() is not None] == []


def test_the_page_works_when_its_server_is_gone(site, tmp_path, visit):
    with page_with(site, tmp_path / "site") as own:
        page = visit(own, service_workers="allow")
        until(page, "navigator.serviceWorker.controller")
    page.goto(own.url)
    page.wait_for_selector("[data-ready]")
    read(page, png(film(1)), "a.png")
    read(page, encode(Image.fromarray(film(2)), "JPEG"), "b.jpg")
    page.locator("#examples button").first.click()
    page.locator(f"{ANSWERED} .of", has_text="drawn-1-Normal.png").wait_for()


def test_another_version_of_the_page_is_used_once_the_old_one_is_closed(another, visit):
    model = "fetch('page.json').then((r) => r.json()).then((p) => p.model)"
    page = visit(another, service_workers="allow")
    until(page, "navigator.serviceWorker.controller")
    old = page.evaluate(model)
    facts = json.loads((another.folder / "page.json").read_text())
    release.write_json(another.folder / "page.json", facts | {"model": "another"})
    (another.folder / static_page.FILES).unlink()
    static_page._list(another.folder)
    page.reload()
    until(page, "navigator.serviceWorker.getRegistration().then((r) => r.waiting)")
    assert page.evaluate(model) == old, "half of another version came into this one"
    page.goto("about:blank")
    page.wait_for_timeout(1000)
    page.goto(another.url)
    until(page, f"{model}.then((name) => name === 'another')")
    until(page, "caches.keys().then((names) => names.length === 1)")


# === Many images ===


def test_many_images_have_a_progress_line_and_a_page_that_moves(accepting, visit):
    page = visit(accepting)
    page.evaluate("""() => { window.longest = 0; window.first = performance.now();
        let last = window.first;
        const tick = () => { const now = performance.now();
            window.longest = Math.max(window.longest, now - last); last = now;
            requestAnimationFrame(tick); };
        tick();
        window.lines = new Set();
        new MutationObserver(() => window.lines.add(document.querySelector('#table').innerText))
            .observe(document.querySelector('#table'), {childList: true}); }""")
    picture = png(film(1, size=64))
    upload_many(page, {f"{i:03}.png": picture if i < 40 else b"x" for i in range(201)})
    assert page.locator("#table tbody tr").count() == 200
    assert "Images left out (1): not read" in page.inner_text(".left-out summary")
    lines = page.evaluate("[...window.lines]")
    assert len([line for line in lines if re.search(r"Reading image \d+ of 200", line)]) >= 3
    assert page.evaluate("window.longest") < page.evaluate("performance.now() - first") / 3


def test_a_folder_is_read_without_what_systems_put_into_it(accepting, visit, tmp_path):
    (tmp_path / "scans").mkdir()
    for name, data in {"a.png": png(film(1)), ".DS_Store": b"x"}.items():
        (tmp_path / "scans" / name).write_bytes(data)
    page = visit(accepting)
    page.get_by_role("tab").nth(1).click()
    page.set_input_files("#many input[webkitdirectory]", str(tmp_path / "scans"))
    page.wait_for_selector("#table .batch")
    assert page.locator("#table tbody .name").all_inner_texts() == ["scans/a.png"]
    page.locator("#table .file").click()
    page.wait_for_selector("#opened .answer .value")
    assert page.locator("#opened .layer").count() == 3
    page.locator("#opened form button").click()
    page.wait_for_selector("#opened", state="hidden")


# === Bad input ===


def test_a_file_of_two_gigabytes_is_refused_before_it_is_read(accepting, visit, tmp_path):
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    page = visit(accepting)
    page.set_input_files(FILE, str(path))
    page.wait_for_selector(".refusal")
    assert "more than 50 MB" in page.inner_text("#panel")
    page.get_by_role("tab").nth(1).click()
    page.set_input_files("#upload-many input", str(path))
    page.wait_for_selector("#table .batch")
    assert "the file has 2048 MB; the limit is 50 MB" in page.inner_text("#table")


def test_a_zip_bomb_is_a_row_with_its_sentence_and_the_page_goes_on(accepting, visit):
    bomb = zip_of({"bomb.png": bytes(MAX_BYTES + 1), "good.png": png(film(1))})
    damaged = bytearray(zip_of({"x.png": bytes(range(256)) * 40}))
    damaged[60] ^= 1
    page = visit(accepting)
    upload_many(page, {"bomb.zip": bomb, "damaged.zip": bytes(damaged)})
    large, good, broken = page.locator("#table .note").all_inner_texts()
    assert large == "the file has more than 50 MB"
    assert good in ("", UNLIKE)  # It is a drawing.
    assert broken == "the file is damaged inside the ZIP archive"


def change(page, script, old, new):
    """Have a page with another script."""
    path = page.folder / script
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))


def test_a_file_that_holds_the_worker_up_is_given_up_and_the_next_is_answered(another, visit):
    change(
        another,
        "engine/decode.js",
        "if (isDicom",
        "if (bytes[0] === 0x21) for (;;) ;\n  if (isDicom",
    )
    change(another, "asking.js", "SECONDS = 10", "SECONDS = 2")
    page = visit(another, locale="fr-FR")
    upload(page, b"!" * 1000, "slow.png")
    page.wait_for_selector(".refusal")
    assert "l’image demande plus de 2 s" in page.inner_text("#panel")
    read(page, png(film(1)), "next.png")


def test_the_network_has_run_once_before_the_first_file(another, visit):
    change(
        another, "engine/network.js", "async run(levels) {", "async run(levels) { fetch('/ran');"
    )
    page = visit(another, calm=False)
    with page.expect_request("**/ran"):
        page.reload()
    page.locator("#panel .empty").wait_for()


def test_a_slow_network_is_waited_for_and_said(another, visit):
    change(another, "asking.js", "SECONDS = 10", "SECONDS = 1")
    change(another, "page.js", "STILL = 5000", "STILL = 500")
    slow = "  async look(picture) {\n    await new Promise((done) => setTimeout(done, 3000));"
    change(another, "engine/classifier.js", "  async look(picture) {", slow)
    page = visit(another)
    upload(page, png(film(1)), "honest.png")
    page.locator("#panel .reading", has_text="Still reading honest.png").wait_for()
    page.locator("#panel .bars").wait_for()
    assert page.inner_text("#panel .of") == "honest.png"


@pytest.mark.parametrize("name", ["model.tflite", "aihealth.json", "ood.npz"])
def test_a_broken_model_is_said_and_what_is_chosen_is_refused(another, visit, name):
    path = another.model / name
    path.write_bytes(path.read_bytes()[:100])
    page = visit(another)
    page.wait_for_selector("#panel .refusal")
    assert "the model of this page is damaged" in page.inner_text("#panel")
    upload(page, png(film(1)), "a.png")
    page.locator("#panel .of", has_text="a.png").wait_for()
    page.locator("#panel", has_text="the model of this page is damaged").wait_for()


def test_a_browser_without_webassembly_says_so(another, visit):
    change(another, "engine/worker.js", "", "delete self.WebAssembly;\n")
    page = visit(another)
    page.wait_for_selector("#panel .refusal")
    assert "this browser cannot run the model" in page.inner_text("#panel")


def test_the_page_says_first_what_it_is_and_is_not(accepting, visit):
    top = visit(accepting).inner_text(".top")
    assert "never leave this computer" in top and "Not a medical device" in top


def test_scripts_stay_small(site):
    listed = json.loads((site / "files.json").read_text())["files"]
    own = [name for name in listed if name.endswith(".js") and not name.startswith("vendor/")]
    assert sum((site / name).stat().st_size for name in own) < 200_000
