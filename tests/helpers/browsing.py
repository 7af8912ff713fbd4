"""What tests of both pages do in a browser, and the fixtures that start one."""

import subprocess

import pytest

from tests.helpers import chromium

FILE = "#upload input[type=file]"
FILES = "#upload-many input[type=file]"
ANSWERED = "#panel .answer:not(.empty, .reading)"

FITS = "document.documentElement.scrollWidth <= innerWidth"
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
FAST = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}

# === Fixtures ===


@pytest.fixture(scope="module")  # Playwright keeps an event loop running in this thread meanwhile.
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        try:
            running = chromium.launch(driver)
        except playwright.Error as error:
            pytest.skip(f"no Chromium to test with: {str(error).splitlines()[0]}")
        yield running
        running.close()


class Window:
    """A window of the browser, where one test after the other opens a page: its cache stays."""

    def __init__(self, browser, slow=False, **kind):
        self.context = browser.new_context(accept_downloads=True, **kind)
        self.page = self.context.new_page()
        self.page.add_init_script(WATCH_SHIFTS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.trouble, self.asked = [], []
        self._tools = self.context.new_cdp_session(self.page) if slow else None

    def _hear(self, message):
        # Playwright keeps a service worker away and says so, Chromium where a test reads a canvas.
        expected = any(cause in message.text for cause in ("by Playwright", "willReadFrequently"))
        if message.type in ("error", "warning") and not expected:
            self.trouble.append(message.text)

    def open(self, url, width, height, scheme):
        """Load a page; nothing is left of what a test did with the one before."""
        self._speed(FAST)
        self.page.unroute_all()
        self.context.unroute_all()
        self.page.goto("about:blank")
        self.page.set_default_timeout(90_000)  # the machine may be busy
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(media="screen", color_scheme=scheme)
        self.trouble.clear(), self.asked.clear()
        self.page.goto(url)
        self.page.wait_for_selector("[data-ready], .problem", state="attached")
        self._speed(SLOW)
        return self.page

    def _speed(self, network):
        if self._tools:
            self._tools.send("Network.emulateNetworkConditions", network)

    def assert_calm(self, url):
        """Nothing was complained of or asked of another host."""
        assert self.trouble == []
        assert [it for it in self.asked if not it.startswith((url, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def windows(browser):
    """A window for each kind of visitor."""
    opened = {}

    def window(**kind):
        name = str(sorted(kind.items()))
        if name not in opened:
            opened[name] = Window(browser, **kind)
        return opened[name]

    yield window
    for one in opened.values():
        one.context.close()


@pytest.fixture
def visit(windows):
    """Open a page; at the end nothing may have been complained of or asked of another host."""
    used = []

    def open_page(
        page, width=1440, height=900, scheme="light", query="", locale="en-US", calm=True, **kind
    ):
        window = windows(**{"locale": locale, "service_workers": "block"} | kind)
        url = page.url.rstrip("/")
        if calm:
            used.append((window, url))
        return window.open(f"{url}/{query}", width, height, scheme)

    yield open_page
    for window, url in used:
        window.assert_calm(url)


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


# === What visitors do and see ===


def upload(page, data, name="radiograph.png", selector=FILE):
    """Choose a file, without waiting for the answer."""
    page.set_input_files(selector, {"name": name, "mimeType": "", "buffer": data})


def read(page, data, name="radiograph.png"):
    """Choose a file and wait for its answer."""
    upload(page, data, name)
    page.locator(f"{ANSWERED} .of", has_text=name).wait_for()


def upload_many(page, files):
    """Open the tab of many images and choose these; wait for the table."""
    page.get_by_role("tab").nth(1).click()
    page.wait_for_selector(FILES, state="attached")
    chosen = [{"name": n, "mimeType": "", "buffer": data} for n, data in files.items()]
    page.set_input_files(FILES, chosen)
    page.wait_for_selector("#table .batch")


def drop(page, kind, data):
    """Paste or drop a file on the page's heading."""
    page.evaluate(
        """([kind, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], kind + ".png", {type: "image/png"}));
            const event = kind === "paste"
                ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
                : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
            document.querySelector(".top").dispatchEvent(event);
        }""",
        [kind, list(data)],
    )


def shown_maps(page, film="#film"):
    """Classes whose heatmap is seen."""
    return page.eval_on_selector_all(
        f"{film} .layer", "all => all.filter(x => x.checkVisibility()).map(x => x.dataset.class)"
    )


def lit_choice(page):
    """The choice of heatmap that is marked."""
    return page.locator("#film .choices label:has(:checked)").inner_text()


def scale(page, film="#film"):
    """How much larger than fitting the radiograph is seen."""
    return page.evaluate(
        """film => document.querySelector(film + ' .film').getBoundingClientRect().width /
            document.querySelector(film + ' .film').offsetWidth""",
        film,
    )


def place(page):
    """Left and top of the radiograph, pixels."""
    box = page.locator("#film .film").bounding_box()
    return box["x"], box["y"]


def grey(page, x=0.5, y=0.5):
    """Grey level of a place of the radiograph as it is seen, 0..255."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    return page.evaluate(
        """([x, y]) => { const c = document.querySelector('#film .base');
            return c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data[0]; }""",
        [x, y],
    )


def drag(page, start, end, button="left"):
    """Drag over the viewer's stage; places are shares of its width and height."""
    page.locator("#film .stage").scroll_into_view_if_needed()
    box = page.locator("#film .stage").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down(button=button)
    page.mouse.move(*points[1], steps=4)
    page.mouse.up(button=button)
