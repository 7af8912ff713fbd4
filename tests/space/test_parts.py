"""The Space's pure parts: pictures, answers, colours."""

import base64
import dataclasses
import io
import re
import types

# isort: off (tests.helpers.space_app puts space/ on the path)
import adapter
import batch
import numpy as np
import pictures
import pytest
import reliability
import render
import startup
from PIL import Image

from aihealth.release import METRICS, write_json
from tests.helpers.space_answers import ANSWER, CONFIG, OTHER, UNSURE
from tests.helpers.space_app import SPACE, film, png

# isort: on

# === Pictures ===


def picture(url):
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def test_large_films_are_shrunk_and_small_ones_are_not_blown_up():
    assert picture(pictures.film_url(np.zeros((3000, 2000), np.uint8))).size == (853, 1280)
    assert picture(pictures.film_url(np.zeros((40, 60), np.uint8))).size == (60, 40)


@pytest.mark.parametrize("monochrome1", [False, True])
def test_stored_values_are_packed_with_the_window_that_the_model_saw(monochrome1):
    stored = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    seen = ((stored.astype(float) - 1000) / 2000 * 255).clip(0, 255).round().astype(np.uint8)
    pixels = 255 - seen if monochrome1 else seen
    packed = pictures.fit(stored, pixels)
    rgb = np.asarray(picture(packed["deep"])).astype(int)
    values = rgb[..., 0] * 256 + rgb[..., 1]
    low, high = packed["window"]
    drawn = ((values - low) / (high - low) * 255).clip(0, 255)
    assert np.abs(drawn - pixels).max() <= 2
    from_, to = packed["unit"]
    assert np.abs(from_ + values / 65535 * (to - from_) - stored).max() < 1


def test_pixels_that_no_window_explains_have_no_stored_values():
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    curve = (255 * (stored / 4095.0) ** 3).round().astype(np.uint8)
    assert pictures.fit(stored, curve) is None
    assert pictures.fit(stored, np.zeros((64, 64), np.uint8)) is None


def test_files_that_are_no_dicom_have_no_stored_values():
    assert pictures.stored(png(film(size=32)), film(size=32)) is None


# === Answers ===


BLOCK = {
    "n": 100,
    "accuracy": 0.61,
    "balanced_accuracy": 0.6,
    "abstained": 0.33,
    "answered": {
        "accuracy": 0.67,
        "confusion": {
            "classes": ["Covid", "Normal", "Pneumonia"],
            "counts": [[30, 5, 6], [5, 30, 8], [5, 5, 14]],
        },
    },
}
MEASURED = reliability.Reliability(unknown=BLOCK)
NOT_MEASURED = reliability.Reliability()


def test_an_answer_names_its_class_and_shows_all_three_probabilities():
    html = render.answer(ANSWER, CONFIG, MEASURED, "en")
    assert "Most like</small> Pneumonia" in html
    assert [*re.findall(r'class="value">([^<]+)', html)] == ["3%", "&lt;1%", "97%"]


def test_beside_the_verdict_stands_how_often_such_an_answer_is_right_elsewhere():
    html = render.answer(ANSWER, CONFIG, MEASURED, "en")
    assert "had not seen, 50 of 100 answers “Pneumonia” were right" in html  # 14 of 28
    unsure = render.answer(UNSURE, CONFIG, MEASURED, "en")
    assert "not sure of 33 in 100 radiographs, and 67 of 100 answers were right" in unsure
    assert "was not measured" in render.answer(ANSWER, CONFIG, NOT_MEASURED, "en")


def test_figures_for_experts_stand_in_the_details():
    for prediction in (ANSWER, UNSURE, OTHER):
        outside, inside = render.answer(prediction, CONFIG, MEASURED, "en").split("<details")
        assert "up to 2.00 counts as a chest radiograph" in inside
        assert "Distance" not in outside and "60.0%" not in outside


def test_what_is_no_chest_radiograph_gets_no_probabilities_and_no_map():
    html = render.answer(OTHER, CONFIG, MEASURED, "en")
    assert "does not look like a chest radiograph" in html and "training images 5.00" in html
    assert 'class="value"' not in html and "%" not in html
    assert render.picture(OTHER, "en", "m")["maps"]["of"] == {}


def test_an_answer_in_french():
    html = render.answer(ANSWER, CONFIG, MEASURED, "fr")
    assert "Ressemble le plus à</small> Pneumonie" in html and "97\u202f%" in html


def test_the_viewer_is_offered_each_class_and_starts_with_the_one_that_is_answered():
    shown = render.picture(ANSWER, "fr", "org/model c0ffee1")
    assert list(shown["maps"]["of"]) == CONFIG.classes and shown["maps"]["side"] == (5, 5)
    grid = np.frombuffer(base64.b64decode(shown["maps"]["of"]["Pneumonia"]), np.uint8)
    assert grid.size == 25 and grid[-1] == 255
    assert shown["top"] == "Pneumonia" and shown["mapShown"]
    assert shown["names"]["Pneumonia"] == "Pneumonie"
    assert not render.picture(UNSURE, "en", "m")["mapShown"]


def test_a_network_without_maps_has_a_viewer_without_them():
    shown = render.picture(dataclasses.replace(ANSWER, heatmaps=None), "en", "m")
    assert shown["maps"]["of"] == {}


def test_long_names_keep_their_beginning_and_their_end():
    name = "ward-3/" + "x" * 60 + "-0001.png"
    short = render.middle_cut(name)
    assert len(short) == 40 and short.startswith("ward-3/") and short.endswith("-0001.png")
    assert render.middle_cut("a.png") == "a.png"


def test_names_and_reasons_are_escaped():
    rows = [batch.Row("<img src=x onerror=alert(1)>.png", error="<b>bad</b>")]
    html = render.table(rows, CONFIG.classes, "en") + render.refusal("<script>", "en")
    assert "<img src=x" not in html and "<b>bad" not in html and "<script>" not in html


def test_figures_come_with_their_intervals():
    block = {
        "n": 1047,
        "accuracy": 0.952,
        "balanced_accuracy": 0.951,
        "intervals": {"accuracy": [0.939, 0.963], "balanced_accuracy": None},
    }
    assert reliability.figures(block, "Test images", "en") == (
        "Test images: accuracy 95.2% (93.9% to 96.3%), balanced accuracy 95.1% (1047 images)"
    )


def test_what_to_know_first_is_complete(tmp_path):
    block = {"n": 60, "accuracy": 0.9, "balanced_accuracy": 0.9, "recall": {}, "per_class": {}}
    write_json(tmp_path / METRICS, {"test": block, "left_out": block | BLOCK, "calibration": {}})
    config = dataclasses.replace(CONFIG, sources=["bimcv", "hospital-7"], version="1.2.0")
    loaded = types.SimpleNamespace(config=config, folder=tmp_path, revision="c0ffee1" + "0" * 33)
    known = reliability.Reliability.of(tmp_path)
    html = render.trust(startup.Served(loaded, "org/model", "hub", reliability=known), "en")
    plain, details = html.split("<details")
    for fact in (
        "BIMCV, Valencia (Spain); hospital-7",
        "90 of 100 test images called right",
        "61 of 100 images called right",
        "Must not be used",
    ):
        assert fact in plain
    assert "accuracy" not in plain and "org/model" not in plain
    for fact in (
        "org/model 1.2.0",
        "<code>c0ffee1</code>",
        f"/org/model/blob/{loaded.revision}/README.md",
        "balanced accuracy 60.0% (100 images)",
    ):
        assert fact in details


def test_a_release_without_figures_says_that_nothing_was_measured():
    html = render.trust(
        startup.Served(types.SimpleNamespace(config=CONFIG, revision=None), "x", "folder"),
        "en",
    )
    assert "not measured; expect it to be clearly worse" in html


def test_a_model_of_drawn_pictures_says_so():
    config = dataclasses.replace(CONFIG, drawn_data=True)
    loaded = types.SimpleNamespace(config=config, folder=SPACE, revision=None)
    assert "drawn pictures" in render.trust(startup.Served(loaded, "demo", "folder"), "en")
    assert "trained on drawn pictures" in render.header(startup.Served(loaded, "demo", "x"), "en")
    loaded = types.SimpleNamespace(config=CONFIG)
    assert "drawn" not in render.header(startup.Served(loaded, "demo", "x"), "en")


# === Start-up settings ===


README = """---
title: x
models:
- org/from-readme
preload_from_hub:
- org/from-readme model.tflite,aihealth.json {sha}
---
"""


def test_the_environment_wins_over_the_readme(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(README.format(sha="a" * 40))
    from_env = startup.wanted({"MODEL_ID": "org/env", "MODEL_REVISION": "v2"}, readme)
    assert from_env == startup.Wanted("org/env", "v2")
    assert startup.wanted({}, readme) == startup.Wanted("org/from-readme", "a" * 40)


def test_without_a_model_id_the_shipped_release_is_meant(tmp_path):
    assert startup.wanted({}, tmp_path / "none.md") is None
    assert startup.wanted({}, SPACE / "README.md") is None


# === Looks ===


def colours(scope):
    css = (SPACE / "top.css").read_text()
    block = re.search(re.escape(scope) + r" \{(.*?)\}", css, re.S).group(1)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def contrast(first, second):
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scope", [":root", ".dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "paper"),
        ("ink", "card"),
        ("ink", "tint"),
        ("soft", "paper"),
        ("soft", "card"),
        ("accent", "card"),
        ("accent", "paper"),
        ("accent-ink", "accent"),
        ("warn", "warn-tint"),
    ],
)
def test_text_has_contrast_aa(scope, text, ground):
    table = colours(scope)
    assert contrast(table[text], table[ground]) >= 4.5


def test_the_page_asks_no_other_host_for_anything():
    for path in [p for kind in ("css", "js", "html") for p in SPACE.rglob(f"*.{kind}")]:
        assert not re.search(r"(src|url\(|href=\")\s*[\"'(]?https?:", path.read_text()), path


# === What is used of Gradio beyond its documented interface ===


def test_lists_of_files_are_described_without_references():
    import gradio as gr

    files = gr.File(file_count="multiple", render=False)
    assert "$ref" in str(files.api_info()), "Gradio mended it: describe_in_full can go"
    adapter.describe_in_full(files)
    described = files.api_info()
    assert "$ref" not in str(described) and "$defs" not in described
    assert described["items"]["properties"]["path"]


def test_answers_of_visitors_who_left_are_forgotten():
    import time

    import gradio as gr
    from gradio.state_holder import StateHolder

    with gr.Blocks(analytics_enabled=False) as page:
        shown = gr.HTML()
    adapter.forget(page, 0)  # before the launch
    page.state_holder = StateHolder()
    page.state_holder.set_blocks(page)
    page.state_holder["gone"]._update_value_in_config(shown._id, "the radiograph of a visitor")
    time.sleep(0.3)
    assert "gone" in page.state_holder and page.state_holder["here"]
    adapter.forget(page, 0.2)
    assert "here" in page.state_holder and "gone" not in page.state_holder
    assert list(page.state_holder.time_last_used) == ["here"]
