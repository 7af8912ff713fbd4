"""The Space's pure parts: texts, pictures, batches, clean-up, colours."""

import base64
import csv
import dataclasses
import io
import os
import re
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth import Prediction, classifier, images
from aihealth.dicom import DicomImage
from aihealth.images import MAX_BYTES, ImageError
from aihealth.release import METRICS, ReleaseConfig, write_json
from tests.space_app import SPACE, film, png, zip_of
from tests.test_images import deep_png

import batch  # isort: skip (space/ is put on the path by tests.space_app)
import overlay  # isort: skip
import privacy  # isort: skip
import render  # isort: skip
import startup  # isort: skip
import texts  # isort: skip

CONFIG = ReleaseConfig(
    classes=["Covid", "Normal", "Pneumonia"],
    input_size=96,
    arch="compact",
    abstain_below=0.6,
    ood_threshold=2.0,
)
ANSWER = Prediction(
    label="Pneumonia",
    probabilities={"Covid": 0.025, "Normal": 0.003, "Pneumonia": 0.972},
    heatmaps=np.linspace(0, 1, 75, dtype=np.float32).reshape(3, 5, 5),
    is_chest_radiograph=True,
    ood_score=0.5,
    abstained=False,
    warning=None,
    pixels=np.full((40, 60), 90, np.uint8),
)
UNSURE = dataclasses.replace(ANSWER, label=None, abstained=True)
OTHER = dataclasses.replace(ANSWER, label=None, is_chest_radiograph=False, ood_score=5.0)


def one_answer(image):
    """A classifier that reads the image and always says the same."""
    return dataclasses.replace(ANSWER, pixels=images.decode(image))


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
        images.SEVERAL_FRAMES,
        DicomImage(ANSWER.pixels, 3, True).warning,
    ],
)
def test_sentences_of_the_package_are_known_in_french(sentence):
    assert texts.reason(sentence, "en") == sentence
    french = texts.reason(sentence, "fr")
    assert french != sentence and not re.search(r"\b(the|The|not|answer)\b", french)


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


# === Batches ===


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return name, str(path)


def rows_of(uploads):
    return [batch.read(one_answer, *item) for item in batch.contents(uploads)]


def test_files_and_archives_become_one_row_an_image(tmp_path):
    image = png(film(size=32))
    archive = zip_of({"a/1.png": image, "a/.hidden": b"", "__MACOSX/a/1.png": b"", "2": image})
    uploads = [write(tmp_path, "x.png", image), write(tmp_path, "y.zip", archive)]
    assert [row.name for row in rows_of(uploads)] == ["x.png", "a/1.png", "2"]
    assert batch.count_images(uploads) == 3


def test_a_broken_file_is_a_row_with_its_reason(tmp_path):
    good = png(film(size=32))
    uploads = [
        write(tmp_path, "text.png", b"hello"),
        write(tmp_path, "empty.png", b""),
        write(tmp_path, "cut.png", good[:200]),
        write(tmp_path, "good.png", good),
    ]
    rows = rows_of(uploads)
    assert [bool(row.error) for row in rows] == [True, True, True, False]
    assert rows[1].error == "the file is empty"


def test_rows_of_a_batch_keep_thumbnails_and_no_films(tmp_path):
    (row,) = rows_of([write(tmp_path, "x.png", png(film(size=512)))])
    assert row.prediction.pixels.shape == (96, 96) and row.prediction.heatmaps is None


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    bomb = zip_of({"bomb.png": b"\0" * (MAX_BYTES + 1)})
    assert len(bomb) < 100_000
    (row,) = rows_of([write(tmp_path, "bomb.zip", bomb)])
    assert row.error == "the file has more than 50 MB"


def test_an_archive_that_unpacks_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_UNPACKED", 3000)
    files = {f"{number}.bin": b"\0" * 1000 for number in range(20)}
    rows = rows_of([write(tmp_path, "big.zip", zip_of(files))])
    assert len(rows) == 5 and rows[-1].error == batch.TOO_LARGE


def test_more_images_than_allowed_end_with_a_row_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_IMAGES", 3)
    uploads = [write(tmp_path, f"{number}.png", b"") for number in range(9)]
    rows = rows_of(uploads)
    assert [row.error for row in rows][2:] == ["the file is empty", batch.TOO_MANY]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:60] + data[90:], "damaged"),
        (lambda data: data.replace(b"a.png", b"b.png", 1), "damaged"),
        (lambda data: zip_of({}), "no file in it"),
    ],
)
def test_damaged_archives_are_rows_too(tmp_path, damage, reason):
    data = damage(zip_of({"a.png": png(film(size=32))}))
    (row,) = rows_of([write(tmp_path, "z.zip", data)])
    assert reason in row.error


@pytest.mark.parametrize("way", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_entry_costs_no_other_its_answer(tmp_path, way):
    image = png(film(size=32))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", way) as archive:
        archive.writestr("bad.png", image)
        archive.writestr("good.png", image)
    data = bytearray(buffer.getvalue())
    data[60:260] = bytes(byte ^ 0xFF for byte in data[60:260])
    uploads = [write(tmp_path, "z.zip", bytes(data)), write(tmp_path, "last.png", image)]
    assert [(row.name, row.error) for row in rows_of(uploads)] == [
        ("bad.png", "the file is damaged inside the ZIP archive"),
        ("good.png", None),
        ("last.png", None),
    ]


def test_an_archive_of_very_many_entries_is_not_opened(tmp_path, monkeypatch):
    data = zip_of({f"{number}.png": b"" for number in range(21)})
    fewer = data.replace((21).to_bytes(2, "little") * 2, (1).to_bytes(2, "little") * 2)
    assert fewer != data  # The number that an archive gives says nothing.
    upload, image = write(tmp_path, "many.zip", fewer), png(film(size=32))
    monkeypatch.setattr(batch, "MAX_ENTRIES", 21)
    assert batch.count_images([upload]) == 21
    monkeypatch.setattr(batch, "MAX_ENTRIES", 20)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("opened"))
    uploads = [upload, write(tmp_path, "last.png", image)]
    assert batch.count_images(uploads) == 2
    assert [row.error for row in rows_of(uploads)] == [batch.TOO_MANY_ENTRIES, None]


def test_a_locked_entry_says_that_it_is_locked(tmp_path):
    data = bytearray(zip_of({"a.png": b"123"}))
    data[6] |= 1  # the flag in the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    (row,) = rows_of([write(tmp_path, "z.zip", bytes(data))])
    assert row.error == "the file is locked with a password"


def test_csv_has_a_line_an_image_and_no_formulas():
    rows = [batch.Row("=cmd|x.png", ANSWER), batch.Row("b.png", error="the file is empty")]
    lines = list(csv.DictReader(io.StringIO(batch.to_csv(rows, CONFIG.classes))))
    assert [line["file"] for line in lines] == ["'=cmd|x.png", "b.png"]
    assert lines[0]["label"] == "Pneumonia" and lines[0]["Pneumonia"] == "0.9720"
    assert lines[1]["Covid"] == "" and lines[1]["error"] == "the file is empty"


def test_the_table_counts_each_kind_of_answer():
    rows = [
        batch.Row("a", ANSWER),
        batch.Row("b", UNSURE),
        batch.Row("c", OTHER),
        batch.Row("d", error="damaged"),
    ]
    html = render.table(rows, CONFIG.classes, "en")
    assert "1 answered, 1 not sure, 1 no chest radiograph, 1 unreadable" in html


def test_errors_of_reading_are_passed_on():
    assert batch.read(one_answer, "x", ImageError("why")) == batch.Row("x", error="why")


# === Clean-up ===


def test_old_uploads_go_and_young_ones_stay(tmp_path):
    old, young = tmp_path / "hash1" / "old.png", tmp_path / "hash2" / "young.png"
    for path in (old, young):
        path.parent.mkdir()
    old.write_bytes(b"1")
    os.utime(old, (time.time() + 1e6,) * 2)  # a client's clock must not save it
    time.sleep(0.3)
    young.write_bytes(b"1")
    privacy.sweep(tmp_path, 0.2)
    assert not old.exists() and young.exists()
    time.sleep(0.3)
    privacy.sweep(tmp_path, 0.2)
    privacy.sweep(tmp_path, -1)
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_spaces_go_at_the_next_start_and_those_of_live_ones_stay(
    tmp_path, monkeypatch
):
    code = (
        "import privacy; f = privacy.use_private_folder(); (f / 'film').touch(); print(f); input()"
    )
    spaces = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=SPACE,
            env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    killed, live, ended = (Path(space.stdout.readline().strip()) for space in spaces)
    other = tmp_path / "aihealth-of-something-else"
    other.mkdir()
    spaces[0].kill()
    spaces[0].wait()
    spaces[2].communicate("\n")
    assert killed.exists() and not ended.exists()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    mine = privacy.use_private_folder()
    privacy.remove_left_behind(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([live, other, mine])
    assert (live / "film").exists()
    spaces[1].communicate("\n")
    assert not live.exists()


def test_answers_of_visitors_who_left_are_forgotten():
    import gradio as gr
    from gradio.state_holder import StateHolder

    sessions = StateHolder()
    with gr.Blocks(analytics_enabled=False) as page:
        shown = gr.HTML()
    sessions.set_blocks(page)
    sessions["gone"]._update_value_in_config(shown._id, "the film of a visitor")
    time.sleep(0.3)
    assert "gone" in sessions and sessions["here"]
    privacy.forget(sessions, 0.2)
    assert "here" in sessions and "gone" not in sessions
    assert list(sessions.time_last_used) == ["here"]


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


def test_zip_entries_are_never_written_to_the_disk(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpacked")

    monkeypatch.setattr(zipfile.ZipFile, "extract", refuse)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", refuse)
    archive = zip_of({"../../evil.png": png(film(size=32))})
    (row,) = rows_of([write(tmp_path, "z.zip", archive)])
    assert row.prediction is not None and list(tmp_path.iterdir()) == [tmp_path / "z.zip"]
