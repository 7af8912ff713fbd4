"""The viewer in a real browser: pointer, keys, window, export, and teaching with it."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browsing import drag, grey, lit_choice, place, read, scale, shown_maps
from tests.helpers.image_files import make_dicom
from tests.helpers.space_app import film, png, zip_of

pytestmark = pytest.mark.browser

STAGE = "#film .stage"


@pytest.fixture
def page(app, visit):
    page = visit(app)
    read(page, png(film(1)))
    return page


def test_overlay_and_image_controls_work_without_asking_the_server(page):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_label("Covid", exact=True).check(force=True)
    assert shown_maps(page) == ["Covid"]
    page.get_by_label("Off", exact=True).check(force=True)
    assert shown_maps(page) == []
    page.get_by_label("Pneumonia", exact=True).check(force=True)
    page.get_by_label("Heatmap strength").fill("0.8")
    opacity = "getComputedStyle(document.querySelector('.layer:not([hidden])')).opacity"
    assert page.evaluate(opacity) == "0.8"
    page.get_by_label("Zoom").fill("3")
    boxes = [
        page.locator(f"#film .{name}").first.bounding_box()
        for name in ("base", "layer:not([hidden])")
    ]
    assert boxes[0] == boxes[1], "the heatmap lies on the radiograph"
    before = grey(page)
    page.get_by_label("Invert").check(force=True)
    assert grey(page) == 255 - before
    page.get_by_role("button", name="Reset view").click()
    assert grey(page) == before and scale(page) == pytest.approx(1)
    assert requests == []


def test_the_wheel_zooms_at_the_pointer(page):
    page.locator(STAGE).scroll_into_view_if_needed()
    box, scrolled = page.locator(STAGE).bounding_box(), page.evaluate("scrollY")
    x, y = box["x"] + 0.7 * box["width"], box["y"] + 0.4 * box["height"]
    page.mouse.move(x, y)
    left, top = place(page)
    under = (x - left, y - top)
    for _ in range(4):
        page.mouse.wheel(0, -100)
    page.wait_for_function("document.querySelector('#film .stage.zoomed')")
    page.wait_for_timeout(200)
    factor, (left, top) = scale(page), place(page)
    assert factor > 2
    assert (x - left, y - top) == pytest.approx([factor * value for value in under], abs=2)
    assert page.evaluate("scrollY") == scrolled, "the page stays where it is"


def test_dragging_sets_window_and_level_and_a_double_click_resets(page):
    before = grey(page)
    drag(page, (0.3, 0.5), (0.3, 0.8))
    assert grey(page) < before, "down raises the level, which darkens"
    level = float(page.get_by_label("Level (brightness)").input_value())
    drag(page, (0.3, 0.5), (0.6, 0.5))
    assert float(page.get_by_label("Window (contrast)").input_value()) < 0 and level < 0
    assert scale(page) == 1
    page.locator(STAGE).dblclick()
    assert grey(page) == before


@pytest.mark.parametrize("button", ["right", "middle"])
def test_another_button_moves_the_image(page, button):
    page.get_by_label("Zoom").fill("3")
    before, shade = place(page), grey(page)
    drag(page, (0.5, 0.5), (0.6, 0.6), button)
    after = place(page)
    assert after[0] > before[0] and after[1] > before[1] and grey(page) == shade


def test_two_fingers_move_and_zoom(app, visit):
    page = visit(app, width=390, height=844, has_touch=True, is_mobile=True)
    read(page, png(film(1)))
    page.locator(STAGE).scroll_into_view_if_needed()
    box = page.locator(STAGE).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, spread in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90)):
        points = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert scale(page) > 1.5


def test_keys_zoom_invert_reset_and_hide_the_heatmap(page):
    page.locator(STAGE).focus()
    shade, maps = grey(page), shown_maps(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert scale(page) > 1.5
    page.keyboard.press("-")
    assert 1 < scale(page) < 1.5
    page.keyboard.press("0")
    assert scale(page) == 1
    page.keyboard.press("i")
    assert grey(page) == 255 - shade
    page.keyboard.press("r")
    assert grey(page) == shade
    page.keyboard.down("h")
    assert shown_maps(page) == []
    page.keyboard.up("h")
    assert shown_maps(page) == maps


def test_keys_belong_to_the_viewer_alone(page):
    page.mouse.move(5, 5)
    page.locator("#examples button").first.focus()
    page.keyboard.press("i")
    assert not page.get_by_label("Invert").is_checked()


def test_not_sure_shows_no_heatmap_until_it_is_asked_for(unsure_app, visit):
    page = visit(unsure_app)
    read(page, png(film(1)))
    assert "Not sure" in page.inner_text(".verdict")
    assert shown_maps(page) == [] and lit_choice(page) == "Off"
    assert page.locator("#film .legend").is_hidden()
    page.get_by_label("Covid", exact=True).check(force=True)
    assert shown_maps(page) == ["Covid"] and page.locator("#film .legend").is_visible()
    read(page, png(film(2)), "next.png")
    assert shown_maps(page) == [] and lit_choice(page) == "Off"


def test_an_image_can_be_removed(page):
    page.get_by_role("button", name="Remove this image").click()
    assert page.locator("#film .viewer").is_hidden()
    assert "No image yet" in page.inner_text("#panel")
    assert page.evaluate("document.querySelector('#film .base').width") == 0


def test_the_window_reaches_what_eight_bits_lose(app, visit):
    page = visit(app)
    steps = np.tile(np.linspace(0, 4095, 256).astype(np.uint16), (256, 1))
    content = make_dicom(steps, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=1024)
    read(page, content, "a.dcm")
    assert [grey(page, x) for x in (0.1, 0.9)] == [0, 255]
    page.get_by_label("Window (contrast)").fill("-2")
    page.get_by_label("Level (brightness)").fill("0.5")
    bright = [grey(page, x) for x in (0.2, 0.25, 0.3)]
    assert bright == sorted(set(bright)), "places that were all black are told apart"


def test_everything_that_is_seen_goes_into_one_png(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "aihealth.png"
    picture = Image.open(download.value.path()).convert("RGB")
    assert picture.width == 900 and picture.height > 900
    pixels = np.asarray(picture).astype(int)
    coloured = np.ptp(pixels[:900], axis=-1).max() > 60
    text = (pixels[900:] < 100).any()
    assert coloured and text, "the heatmap and the words are in it"


def test_print_keeps_bars_and_leaves_out_what_is_pressed(page):
    page.emulate_media(media="print")
    assert page.locator(".bars .track").first.is_visible()
    adjust = "getComputedStyle(document.querySelector('.bars .track span')).printColorAdjust"
    assert page.evaluate(adjust) == "exact"
    for gone in ("#upload", "#examples", "#film .controls.image"):
        assert page.locator(gone).is_hidden()
    stage, panel = (page.locator(name).bounding_box() for name in ("#film .stage", "#panel"))
    assert stage["y"] + stage["height"] + 10 < panel["y"], "they do not touch"


def test_print_is_dark_ink_on_white_whatever_the_screen(app, visit):
    page = visit(app, scheme="dark")
    read(page, png(film(1)))
    colour = "getComputedStyle(document.querySelector('#panel .card')).backgroundColor"
    assert page.evaluate(colour) == "rgb(22, 30, 34)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(colour) == "rgb(255, 255, 255)"


# === Teaching ===


def test_read_first_then_the_model_is_revealed(app, visit):
    page = visit(app, query="?teach=1")
    page.set_input_files(
        "#upload input[type=file]",
        {"name": "a.png", "mimeType": "", "buffer": png(film(1))},
    )
    page.locator(".readings").wait_for()
    assert "%" not in page.inner_text("#panel") and shown_maps(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("#panel .card").bounding_box()["height"] < 300, "the radiograph is near"
    page.set_viewport_size({"width": 1440, "height": 900})
    assert page.locator("#film .overlay").is_hidden()
    page.get_by_role("button", name="Pneumonia").last.click()
    assert "Your reading: Pneumonia" in page.inner_text(".again")
    assert page.locator(".bars .value").count() == 3 and len(shown_maps(page)) == 1
    page.locator("#teach .toggle input").uncheck(force=True)
    read(page, png(film(2)), "plain.png")
    assert page.locator(".readings").count() == 0


def test_a_folder_is_read_in_full_and_compared_by_class(app, visit):
    page = visit(app, query="?teach=1")
    names = [f"set/{label}/{n}.png" for label in ("Covid", "Normal", "Pneumonia") for n in (1, 2)]
    files = {name: png(film(i, name.split("/")[1])) for i, name in enumerate(names)}
    files |= {"set/Other/9.png": png(film(9)), "set/Covid/broken.png": b"x"}
    page.set_input_files(
        "#lesson input[accept]",
        {"name": "set.zip", "mimeType": "", "buffer": zip_of(files)},
    )
    for number in range(6):
        page.get_by_role("heading", name=f"Image {number + 1} of").wait_for()
        assert not any(label in page.inner_text("#panel h2") for label in ("Covid", "Normal"))
        page.locator(".readings button").nth(0).click()
    page.locator(".lesson").wait_for()
    rows = [row.split() for row in page.locator(".lesson tr").all_inner_texts()]
    figures = {row[0]: row[1:] for row in rows[1:]}
    assert [figures[name][:2] for name in ("Covid", "Normal", "Pneumonia", "Together")] == [
        ["2", "2"],
        ["2", "0"],
        ["2", "0"],
        ["6", "2"],
    ]
    assert "not readable: 2." in page.inner_text(".lesson")


def test_two_images_stand_side_by_side_and_zoom_together(page):
    page.get_by_role("button", name="Keep beside").click()
    page.locator("#beside .viewer").wait_for()
    read(page, png(film(2)), "second.png")
    page.locator("#film").get_by_label("Zoom").fill("3")
    assert scale(page, "#beside") == pytest.approx(3)
    page.locator("#beside").get_by_label("Zoom").fill("2")
    assert scale(page) == pytest.approx(2)
    boxes = [page.locator(f"{name} .stage").bounding_box() for name in ("#film", "#beside")]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=2) and boxes[0]["x"] < boxes[1]["x"]
    page.locator("#beside").get_by_role("button", name="Remove this image").click()
    assert page.locator("#beside .viewer").is_hidden()


def test_covering_a_part_shows_what_becomes_of_the_answer(page):
    page.get_by_label("Cover a part").check(force=True)
    before = [grey(page, x) for x in (0.42, 0.5, 0.58)]
    drag(page, (0.4, 0.3), (0.6, 0.7))
    page.wait_for_selector(".again")
    assert "With a part covered" in page.inner_text(".again") and "→" in page.inner_text(".again")
    assert len({grey(page, x) for x in (0.42, 0.5, 0.58)}) == 1
    page.get_by_role("button", name="Reset view").click()
    assert [grey(page, x) for x in (0.42, 0.5, 0.58)] == before
