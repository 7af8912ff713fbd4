"""The page that never uploads, in a real browser: what it says, sends, and withstands."""

import csv
import html
import io
import json
import re
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth import Classifier, release
from aihealth.publishing import static_page
from tests.helpers.browsing import ANSWERED, FILE, read, upload, upload_many
from tests.helpers.engine import served
from tests.helpers.image_files import encode, make_dicom
from tests.helpers.space_app import ACCEPT, film, png, zip_of
from tests.space import conftest

import batch  # isort: skip (tests.helpers.space_app sets the path)
import render  # isort: skip
from reliability import Reliability  # isort: skip

pytestmark = pytest.mark.browser
browser, axe = conftest.browser, conftest.axe
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FITS = "document.documentElement.scrollWidth <= innerWidth"
FOLDER = "#many input[webkitdirectory]"


class Page:
    """The page on 127.0.0.1, with other thresholds, so that the kind of its answers is known."""

    def __init__(self, site: Path, folder: Path, browser, **settings):
        shutil.copytree(site, folder)
        if settings:
            config = release.read_json(folder / "model" / release.CONFIG)
            release.write_json(folder / "model" / release.CONFIG, config | settings)
        self.folder, self._browser = folder, browser
        self.classifier = Classifier(folder / "model", name="release")
        self.trouble, self.asked = [], []

    def _hear(self, message):
        # Where a test wants no service worker, Playwright says so on the console.
        if message.type in ("error", "warning") and "by Playwright" not in message.text:
            self.trouble.append(message.text)

    def visit(self, url, workers="block", **how):
        """Open the page. `asked` has every request that it makes, `trouble` its complaints."""
        context = self._browser.new_context(
            **{"locale": "en-US", "service_workers": workers, "accept_downloads": True} | how
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        context.on("request", lambda request: self.asked.append(request))
        page.goto(url)
        page.wait_for_selector("[data-ready]")
        return page


@pytest.fixture(scope="module")
def accepting(site, tmp_path_factory, browser):
    """A page that answers for whatever it is shown."""
    page = Page(site, tmp_path_factory.mktemp("accept") / "site", browser, **ACCEPT)
    with served(page.folder) as page.url:
        yield page


@pytest.fixture
def visit(accepting):
    """Open the page; nothing may have been complained of, and only its own host been asked."""
    accepting.trouble.clear(), accepting.asked.clear()
    opened = []

    def open_page(**how):
        opened.append(accepting.visit(accepting.url, **how))
        return opened[-1]

    yield open_page
    for page in opened:
        page.context.close()
    assert accepting.trouble == []
    foreign = [r.url for r in accepting.asked if not r.url.startswith((accepting.url, "blob:"))]
    assert foreign == []


def until(page, condition):
    """Wait for something; Playwright's own way makes code out of text, which the page forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(f"Promise.resolve({condition}).then(Boolean)"):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def words_of(text):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


# === Answers ===


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize(
    "settings", [{}, {"abstain_below": 1.0}, {"ood_threshold": 0.0}], ids=["sure", "unsure", "far"]
)
def test_an_answer_has_the_words_of_the_server(
    site,
    tmp_path,
    browser,
    language,
    settings,
):
    own = Page(site, tmp_path / "site", browser, **ACCEPT | settings)
    picture = png(film(1))
    answer = own.classifier.predict(picture)
    expected = render.answer(
        answer, own.classifier.config, Reliability.of(release_of(site)), language
    )
    with served(own.folder) as url:
        page = own.visit(url, locale="fr-FR" if language == "fr" else "en-US")
        read(page, picture)
        page.locator(".answer summary").click()
        said = page.evaluate("document.querySelector('#panel .answer').outerHTML")
        maps = page.locator("#film .layer").count()
        page.context.close()
    assert words_of(said).replace("radiograph.png ", "", 1) == words_of(expected)
    assert maps == (len(answer.probabilities) if answer.is_chest_radiograph else 0)
    assert own.trouble == []


def release_of(site):
    """The release whose figures the page tells."""
    from tests.helpers.space_app import RELEASE

    return RELEASE


def test_an_example_a_pasted_file_and_a_dicom_file_are_answered(visit):
    page = visit()
    page.locator("#examples button").first.click()
    page.locator(f"{ANSWERED} .of", has_text="drawn-1-Normal.png").wait_for()
    read(page, make_dicom(film(2)), "IM000001")
    assert page.locator("#film .base").get_attribute("width") == "256"


def test_the_viewer_has_the_stored_values_of_dicom_and_asks_again_without_a_server(visit):
    page = visit()
    deep = film(4).astype(np.uint16) * 16
    content = make_dicom(deep, BitsStored=12, HighBit=11, WindowCenter=1400, WindowWidth=1000)
    read(page, content, "narrow.dcm")
    until(page, "document.querySelector('#film .readout').textContent")
    stored = page.inner_text("#film .readout")
    assert [int(word) for word in stored.split()[1::2]] == pytest.approx([1000, 1400], abs=9)
    page.get_by_role("slider", name="Window (contrast)").fill("-2")
    page.get_by_role("button", name="Ask again as shown").click()
    page.wait_for_selector(".again")
    assert "With the window as you set it" in page.inner_text(".again")


# === Nothing leaves ===


def test_no_image_leaves_while_images_are_read(site, tmp_path, browser):
    own = Page(site, tmp_path / "site", browser)
    with served(own.folder) as url:
        page = own.visit(url, workers="allow")
        until(page, "navigator.serviceWorker.controller")
        own.asked.clear()
        read(page, png(film(1)), "a.png")
        read(page, encode(Image.fromarray(film(2)), "JPEG"), "b.jpg")
        read(page, make_dicom(film(3)), "c.dcm")
        upload_many(page, {f"{i}.png": png(film(i)) for i in range(3)})
        page.context.close()
    for request in own.asked:  # a decoder's scripts, when they are needed first
        assert request.method == "GET" and request.post_data is None
        assert request.url.startswith((url + "engine/", url + "vendor/"))
        assert "?" not in request.url
    assert own.trouble == []


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
    page = visit()
    with served(accepting.folder) as elsewhere:
        page.evaluate(
            "document.addEventListener('securitypolicyviolation', () => (window.kept = 1))"
        )
        page.evaluate(f"Promise.resolve({attempt.format(elsewhere + 'main.js')}).catch(() => {{}})")
        until(page, "window.kept")
    asked = [r for r in accepting.asked if r.url.startswith(elsewhere)]
    assert not [r for r in asked if r.response() is not None]
    accepting.trouble.clear()  # The browser complains of what it kept back.
    accepting.asked[:] = [r for r in accepting.asked if r not in asked]


def test_the_page_works_when_its_server_is_gone(site, tmp_path, browser):
    own = Page(site, tmp_path / "site", browser)
    with served(own.folder) as url:
        page = own.visit(url, workers="allow")
        until(page, "navigator.serviceWorker.controller")
    page.goto(url)
    page.wait_for_selector("[data-ready]")
    for name, data in {
        "a.png": png(film(1)),
        "b.jpg": encode(Image.fromarray(film(2)), "JPEG"),
    }.items():
        read(page, data, name)
    page.locator("#examples button").first.click()
    page.locator(f"{ANSWERED} .of", has_text="drawn-1-Normal.png").wait_for()
    page.context.close()
    assert own.trouble == []


def test_another_version_of_the_page_is_used_once_the_old_one_is_closed(site, tmp_path, browser):
    own = Page(site, tmp_path / "site", browser)
    model = "fetch('page.json').then((r) => r.json()).then((p) => p.model)"
    with served(own.folder) as url:
        page = own.visit(url, workers="allow")
        until(page, "navigator.serviceWorker.controller")
        old = page.evaluate(model)
        facts = json.loads((own.folder / "page.json").read_text())
        release.write_json(own.folder / "page.json", facts | {"model": "another"})
        (own.folder / static_page.FILES).unlink()
        static_page._list(own.folder)
        page.reload()
        until(page, "navigator.serviceWorker.getRegistration().then((r) => r.waiting)")
        assert page.evaluate(model) == old, "half of another version came into this one"
        page.goto("about:blank")
        page.wait_for_timeout(1000)
        page.goto(url)
        until(page, f"{model}.then((name) => name === 'another')")
        until(page, "caches.keys().then((names) => names.length === 1)")
        page.context.close()


# === Many images ===


def test_the_csv_is_that_of_the_command_line(accepting, visit, tmp_path):
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
    page = visit()
    upload_many(page, files)
    with page.expect_download() as download:
        page.locator("a.download").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    paths = []
    for number, (name, data) in enumerate(files.items()):
        path = tmp_path / str(number)
        path.write_bytes(data)
        paths.append((name, str(path)))
    classifier = accepting.classifier
    rows = [batch.read(classifier.predict, *item) for item in batch.contents(paths)]
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


def test_two_hundred_images_run_with_a_progress_line_and_a_page_that_moves(visit):
    page = visit()
    page.evaluate("""() => { window.longest = 0; let last = performance.now();
        const tick = () => { const now = performance.now();
            window.longest = Math.max(window.longest, now - last); last = now;
            requestAnimationFrame(tick); };
        tick();
        window.lines = new Set();
        new MutationObserver(() => window.lines.add(document.querySelector('#table').innerText))
            .observe(document.querySelector('#table'), {childList: true}); }""")
    page.set_default_timeout(180_000)  # the machine may be busy
    picture = png(film(1, size=64))
    upload_many(page, {f"{i:03}.png": picture for i in range(201)})
    assert page.locator("#table tbody tr").count() == 200
    assert "1 images were left out" in page.inner_text(".left-out summary")
    lines = page.evaluate("[...window.lines]")
    assert len([line for line in lines if re.search(r"Reading image \d+ of 200", line)]) >= 3
    assert page.evaluate("window.longest") < 3000  # milliseconds; reading them all takes more


def test_a_row_is_opened_and_a_folder_is_read(visit, tmp_path):
    (tmp_path / "scans").mkdir()
    for name, data in {"a.png": png(film(1)), ".DS_Store": b"x"}.items():
        (tmp_path / "scans" / name).write_bytes(data)
    page = visit()
    page.get_by_role("tab").nth(1).click()
    page.set_input_files(FOLDER, str(tmp_path / "scans"))
    page.wait_for_selector("#table .batch")
    assert page.locator("#table tbody .name").all_inner_texts() == ["scans/a.png"]
    page.locator("#table .file").click()
    page.wait_for_selector("#opened .answer .value")
    assert page.locator("#opened .layer").count() == 3
    page.locator("#opened form button").click()
    page.wait_for_selector("#opened", state="hidden")


# === Bad input ===


def test_a_file_of_two_gigabytes_is_refused_before_it_is_read(visit, tmp_path):
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    page = visit()
    page.set_input_files(FILE, str(path))
    page.wait_for_selector(".refusal")
    assert "more than 50 MB" in page.inner_text("#panel")
    page.get_by_role("tab").nth(1).click()
    page.set_input_files("#upload-many input", str(path))
    page.wait_for_selector("#table .batch")
    assert "the file has 2048 MB; the limit is 50 MB" in page.inner_text("#table")


def test_a_zip_bomb_is_a_row_with_its_sentence_and_the_page_goes_on(visit):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.png", "w") as file:
            for _ in range(400):
                file.write(bytes(2**20))
        archive.writestr("good.png", png(film(1)))
    damaged = bytearray(zip_of({"x.png": bytes(range(256)) * 40}))
    damaged[60] ^= 1
    page = visit()
    upload_many(page, {"bomb.zip": buffer.getvalue(), "damaged.zip": bytes(damaged)})
    notes = page.locator("#table .note").all_inner_texts()
    assert notes == [
        "the file has more than 50 MB",
        "",
        "the file is damaged inside the ZIP archive",
    ]


def test_a_file_that_holds_the_worker_up_is_given_up_and_the_next_is_answered(visit):
    page = visit(locale="fr-FR")

    def slow(route):
        hang = "if (bytes[0] === 0x21) for (;;) ;\n  "
        source = route.fetch().text().replace("if (isDicom", f"{hang}if (isDicom", 1)
        assert hang in source
        route.fulfill(body=source, content_type="text/javascript")

    page.context.route("**/engine/decode.js", slow)
    page.reload()
    page.wait_for_selector("[data-ready]")
    upload(page, b"!" * 1000, "slow.png")
    page.wait_for_selector(".refusal")
    assert "l’image demande plus de 10 s" in page.inner_text("#panel")
    read(page, png(film(1)), "next.png")


@pytest.mark.parametrize("name", ["model.tflite", "aihealth.json", "ood.npz"])
def test_a_broken_model_is_said_and_what_is_chosen_is_refused(
    site,
    tmp_path,
    browser,
    name,
):
    own = Page(site, tmp_path / "site", browser)
    path = own.folder / "model" / name
    path.write_bytes(path.read_bytes()[:100])
    with served(own.folder) as url:
        page = own.visit(url)
        page.wait_for_selector("#panel .refusal")
        assert "the model of this page is damaged" in page.inner_text("#panel")
        upload(page, png(film(1)), "a.png")
        page.locator("#panel .of", has_text="a.png").wait_for()
        page.locator("#panel", has_text="the model of this page is damaged").wait_for()
        page.context.close()


def test_a_browser_without_webassembly_says_so(accepting, visit):
    page = visit()
    script = (accepting.folder / "engine/worker.js").read_text()
    page.context.route(
        "**/engine/worker.js",
        lambda route: route.fulfill(
            body=f"delete self.WebAssembly;\n{script}", content_type="text/javascript"
        ),
    )
    page.reload()
    page.wait_for_selector("#panel .refusal")
    assert "this browser cannot run the model" in page.inner_text("#panel")


# === Looks ===


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_fits_and_follows_the_scheme_of_the_system(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert "never leave this computer" in page.inner_text(".top")
    assert "Not a medical device" in page.inner_text(".top")
    page.locator("#examples button").first.click()
    page.wait_for_selector(f"{ANSWERED} .value")
    assert page.evaluate(FITS)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) > 128) == (scheme == "light")
    upload_many(page, {"a.png": png(film(1)), "b.png": b"x"})
    assert page.evaluate(FITS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, axe, scheme):
    page = visit(color_scheme=scheme, bypass_csp=True)
    page.evaluate(axe)
    states = [
        lambda: None,
        lambda: read(page, png(film(1))),
        lambda: upload_many(page, {"a.png": png(film(1)), "b.png": b"x"}),
    ]
    for act in states:
        act()
        assert page.evaluate("axe.run().then((r) => r.violations.map((v) => v.id))") == []


def test_scripts_stay_small(site):
    listed = json.loads((site / "files.json").read_text())["files"]
    own = [name for name in listed if name.endswith(".js") and not name.startswith("vendor/")]
    assert sum((site / name).stat().st_size for name in own) < 200_000
