"""The Space's pure parts: texts, pictures, answers, colours."""

import base64
import dataclasses
import io
import re
import types

import numpy as np
import pytest
from PIL import Image

from aihealth import classifier, images
from aihealth.dicom import DicomImage
from aihealth.images import ImageError
from aihealth.release import METRICS, write_json
from tests.helpers.image_files import deep_png
from tests.helpers.space_answers import ANSWER, CONFIG, OTHER, UNSURE
from tests.helpers.space_app import SPACE, film, png

import batch  # isort: skip (space/ is put on the path by tests.space_app)
import overlay  # isort: skip
import render  # isort: skip
import startup  # isort: skip
import texts  # isort: skip

# === Texts ===


def test_both_languages_say_the_same_things_with_the_same_blanks():
    blanks = {
        language: {key: sorted(re.findall(r"{(\w+)}", text)) for key, text in table.items()}
        for language, table in texts.TEXTS.items()
    }
    assert blanks["fr"] == blanks["en"]


def test_every_text_is_used():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in [*SPACE.glob("*.py"), *SPACE.glob("templates/*.html")]
        if path.name != "texts.py"
    )
    dynamic = {"origin_cache", "origin_shipped"}
    unused = {key for key in texts.EN if f'"{key}"' not in sources and f"'{key}'" not in sources}
    assert unused == dynamic


@pytest.mark.parametrize(
    ("value", "english", "french"),
    [
        (0.5, "50%", "50 %"),
        (0.004, "<1%", "<1 %"),
        (0.996, ">99%", ">99 %"),
        (0, "<1%", "<1 %"),
        (1, ">99%", ">99 %"),
    ],
)
def test_no_probability_looks_more_certain_than_it_is(value, english, french):
    assert texts.percent(value, "en") == english
    assert texts.percent(value, "fr").replace("\u202f", " ") == french


def test_figures_keep_a_digit_and_the_languages_decimal_sign():
    assert texts.percent(0.9518, "en", 1) == "95.2%"
    assert texts.percent(0.9518, "fr", 1) == "95,2\u202f%"


@pytest.mark.parametrize(
    ("header", "language"),
    [("fr-CH,fr;q=0.9,en", "fr"), ("en-GB,fr;q=0.5", "en"), ("de,fr", "en"), ("", "en")],
)
def test_the_language_is_the_browsers_first(header, language):
    request = types.SimpleNamespace(headers={"accept-language": header})
    assert texts.language_of(request) == language


@pytest.mark.parametrize(
    "sentence",
    [
        batch.TOO_MANY,
        batch.TOO_LARGE,
        batch.TOO_MANY_ENTRIES,
        classifier.LATERAL,
        classifier.SMOOTHED,
        classifier.Shift(25, 0.31, 0.21).warning,
        images.SEVERAL_FRAMES,
        DicomImage(ANSWER.pixels, 3, True).warning,
    ],
)
def test_sentences_of_the_package_are_known_in_french(sentence):
    assert texts.reason(sentence, "en") == sentence
    french = texts.reason(sentence, "fr")
    assert french != sentence and not re.search(r"\b(the|The|not|answer)\b|\d\.\d", french)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        png(film(size=32))[:90],
        png(np.zeros((8, 8), np.uint8)),
        deep_png(np.zeros((32, 32)), 2),
    ],
)
def test_reasons_of_reading_are_known_in_french(content):
    with pytest.raises(ImageError) as error:
        images.decode(content)
    assert texts.reason(str(error.value), "fr") != str(error.value)


# === Pictures ===


def picture(url):
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def test_large_films_are_shrunk_and_small_ones_are_not_blown_up():
    assert picture(overlay.film_url(np.zeros((3000, 2000), np.uint8))).size == (853, 1280)
    assert picture(overlay.film_url(np.zeros((40, 60), np.uint8))).size == (60, 40)


def test_evidence_is_opaque_where_it_is_strong_and_invisible_where_there_is_none():
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[:, 3] = 1
    alpha = np.asarray(picture(overlay.map_url(heatmap)))[..., 3]
    assert alpha[:, -20:].min() == 255
    assert alpha[:, :20].max() == 0


def test_colours_of_the_map_grow_lighter_with_the_evidence():
    ramp = np.repeat(np.linspace(0, 1, 224, dtype=np.float32)[None], 224, axis=0)
    luma = np.asarray(picture(overlay.map_url(ramp)).convert("RGB").convert("L"))[100].astype(int)
    assert (np.diff(luma) >= -1).all() and luma[-1] - luma[0] > 120


# === Answers ===


def test_an_answer_names_its_class_and_shows_all_three_probabilities():
    html = render.answer(ANSWER, CONFIG, "en")
    assert "Most like</small> Pneumonia" in html
    assert [*re.findall(r'class="value">([^<]+)', html)] == ["2%", "&lt;1%", "97%"]


def test_not_sure_says_which_level_was_not_reached():
    html = render.answer(UNSURE, CONFIG, "en")
    assert "Not sure" in html and "reaches 60.0%" in html and "Most like" not in html


def test_what_is_no_chest_radiograph_gets_no_probabilities_and_no_map():
    html = render.answer(OTHER, CONFIG, "en")
    assert "does not look like a chest radiograph" in html and "is 5.00; up to 2.00" in html
    assert 'class="value"' not in html and "%" not in html
    assert "layer" not in render.viewer(OTHER, "en")


def test_an_answer_in_french():
    html = render.answer(UNSURE, CONFIG, "fr")
    assert "Incertain" in html and "60,0\u202f%" in html


def test_the_viewer_offers_each_class_and_starts_with_the_most_probable():
    html = render.viewer(ANSWER, "en")
    assert re.findall(r'data-class="(\w+)"[^>]*alt=""[^>]*?( hidden)?>', html) == [
        ("Covid", " hidden"),
        ("Normal", " hidden"),
        ("Pneumonia", ""),
    ]


def test_a_network_without_maps_has_a_viewer_without_them():
    html = render.viewer(dataclasses.replace(ANSWER, heatmaps=None), "en")
    assert "Evidence map" not in html and "Brightness" in html


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
    assert render.figures(block, "en") == (
        "accuracy 95.2% (93.9% to 96.3%), balanced accuracy 95.1% (1047 images)"
    )
    assert render.figures(None, "en") is None


def test_what_to_know_first_is_complete(tmp_path):
    block = {"n": 60, "accuracy": 0.9, "balanced_accuracy": 0.9, "dataset": "ours, test split"}
    unseen = {"n": 99, "accuracy": 0.6, "balanced_accuracy": 0.5, "dataset": "nih, left out"}
    write_json(tmp_path / METRICS, {"test": block, "left_out_nih": unseen, "calibration": {}})
    config = dataclasses.replace(CONFIG, sources=["bimcv", "rsna"], version="1.2.0")
    loaded = types.SimpleNamespace(config=config, folder=tmp_path, revision="c0ffee1" + "0" * 33)
    html = render.trust(startup.Served(loaded, "org/model", "hub"), "en")
    for fact in (
        "org/model 1.2.0",
        "<code>c0ffee1</code>",
        f"/org/model/blob/{loaded.revision}/README.md",
        "bimcv, rsna",
        "accuracy 90.0%",
        "nih, left out: accuracy 60.0%, balanced accuracy 50.0% (99 images)",
        "Must not be used",
    ):
        assert fact in html


def test_a_model_of_drawn_pictures_says_so():
    config = dataclasses.replace(CONFIG, drawn_data=True)
    loaded = types.SimpleNamespace(config=config, folder=SPACE, revision=None)
    assert "drawn pictures" in render.trust(startup.Served(loaded, "demo", "folder"), "en")
    assert "trained on drawn pictures" in render.page_part("header", "en", drawn=True)
    assert "drawn" not in render.page_part("header", "en", drawn=False)


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
    css = (SPACE / "style.css").read_text()
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
    for path in [*SPACE.glob("*.css"), *SPACE.glob("*.js"), *SPACE.glob("templates/*.html")]:
        assert not re.search(r"(src|url\(|href=\")\s*[\"'(]?https?:", path.read_text()), path
