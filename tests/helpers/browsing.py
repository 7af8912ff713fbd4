"""What tests of the page do in a browser."""

FILE = "#upload input[type=file]"
FILES = "#upload-many input[type=file]"
ANSWERED = "#panel .answer:not(.empty, .reading)"


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


def shown_maps(page):
    """Classes whose heatmap is seen."""
    return page.eval_on_selector_all(
        "#film .layer", "all => all.filter(x => x.checkVisibility()).map(x => x.dataset.class)"
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


def place(page, film="#film"):
    """Left and top of the radiograph, pixels."""
    box = page.evaluate(
        "film => { const b = document.querySelector(film + ' .film').getBoundingClientRect();"
        " return [b.left, b.top]; }",
        film,
    )
    return tuple(box)


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
