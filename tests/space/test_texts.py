"""The words of the Space: both languages, and the package's own sentences."""

import ast
import re

# isort: off (tests.helpers.space_app puts space/ on the path)
import batch
import front
import numpy as np
import places
import pytest
import sentences
import texts
import words

from aihealth import (
    classifier,
    dicom,
    dicom_file,
    dicom_layout,
    dicom_window,
    images,
    limits,
    upright,
    wall,
)
from aihealth.images import ImageError
from tests.helpers.image_files import deep_png
from tests.helpers.space_answers import ANSWER
from tests.helpers.space_app import SPACE, film, png

# isort: on


def test_both_languages_say_the_same_things_with_the_same_blanks():
    for key, (english, french) in words.WORDS.items():
        blanks = [sorted(re.findall(r"{(\w+)}", text)) for text in (english, french)]
        assert blanks[0] == blanks[1], key


def test_every_text_is_used():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in SPACE.rglob("*.*")
        if path.suffix in (".py", ".js", ".html") and path.name != "words.py"
    )
    made = r"(source|class|origin)_\w+|(known|unknown)_(figure|block)"
    unused = {key for key in words.WORDS if not re.search(rf"[\"'>.]{key}\b", sources)}
    assert {key for key in unused if not re.fullmatch(made, key)} == set()


@pytest.mark.parametrize(
    ("value", "digits", "english", "french"),
    [
        (0.5, 0, "50%", "50 %"),
        (0.004, 0, "<1%", "<1 %"),
        (0.996, 0, ">99%", ">99 %"),
        (0, 0, "<1%", "<1 %"),
        (1, 0, ">99%", ">99 %"),
        (0.9518, 1, "95.2%", "95,2 %"),
    ],
)
def test_no_probability_looks_more_certain_than_it_is(value, digits, english, french):
    assert texts.percent(value, "en", digits) == english
    assert texts.percent(value, "fr", digits).replace("\u202f", " ") == french


@pytest.mark.parametrize(
    ("asked", "language"), [("fr", "fr"), ("fr-CH", "fr"), ("en", "en"), ("de", "en"), (None, "en")]
)
def test_other_languages_are_answered_in_english(asked, language):
    assert texts.of_language(asked) == language


@pytest.mark.parametrize(
    "raw", [[0.025, 0.003, 0.972], [1 / 3] * 3, [0.005, 0.005, 0.99], [1, 0, 0]]
)
def test_rounded_percentages_add_up_to_100(raw):
    shown = texts.percents(raw)
    assert sum(round(100 * share) for share in shown) == 100
    assert np.abs(np.subtract(shown, raw)).max() < 0.01


def sentences_of_the_package():
    """Every text that an `ImageError` is raised with, its blanks as "{}"."""
    folder = SPACE.parent
    for path in [*(folder / "aihealth").glob("*.py"), *SPACE.glob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(call, "func", None), "id", "")
            if name == "ImageError" and call.args:
                part = call.args[0]
                pieces = part.values if isinstance(part, ast.JoinedStr) else [part]
                if all(isinstance(it, (ast.Constant, ast.FormattedValue)) for it in pieces):
                    yield "".join(
                        it.value if isinstance(it, ast.Constant) else "{}" for it in pieces
                    )


def test_every_reason_of_the_package_is_in_the_table():
    """A sentence that changes in the package has to change in sentences.py too."""
    known = {re.sub(r"{\w+}", "{}", sentence) for sentence in sentences.SENTENCES}
    assert set(sentences_of_the_package()) - known - NOT_SHOWN == set()


NOT_SHOWN = {  # "50 MB" and the like are one blank
    "the file has more than {} MB",
    "no process to decode it in can be started: {}",
    "the image has more than {}",
    "{}: it ends before its image",
    # of arrays, addresses and text, which no visitor sends
    "{} is no image: a path, bytes, a PIL image or an array is needed",
    "an array of shape {} is not an image: (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) is needed",
    "the array goes from {} to {}; scale it to 0 to 255 or to 0 to 1",
    "the array has no values but 0 and 1, as a mask has; values from 0 to 255 are needed",
    "the array has values outside 0 to 255; scale it to 0 to 255, or to 0 to 1 as floating-point "
    "numbers",
    "the array has values that are not numbers",
    "the base64 text of the data: URL is damaged or cut short",
    "the data: URL is not in base64",
}


def why_refused(content):
    with pytest.raises(ImageError) as error:
        images.decode(content)
    return str(error.value)


@pytest.mark.parametrize(
    "sentence",
    [
        batch.TOO_MANY,
        batch.NESTED,
        batch.ZIP_ALONE,
        batch.TOO_LARGE,
        batch.TOO_MANY_ENTRIES,
        front.REMOVED,
        places.BUSY,
        limits.TOO_MUCH_MEMORY,
        limits.TOO_SLOW,
        wall.DIED,
        classifier.LATERAL,
        classifier.SMOOTHED,
        classifier.UNLIKE,
        classifier.Shift(25, 0.31, 0.21).warning,
        images.SEVERAL_FRAMES,
        images.IN_COLOUR,
        *map(upright.warning, upright.VERSIONS),
        dicom_window.HIDING,
        dicom_layout.NO_PHOTOMETRIC,
        dicom.INVERSE,
        dicom_file.CUT_SHORT,
        dicom.DicomImage(ANSWER.pixels, 3, True).warning,
        why_refused(b""),
        why_refused(b"hello"),
        why_refused(png(film(size=32))[:90]),
        why_refused(png(np.zeros((8, 8), np.uint8))),
        why_refused(deep_png(np.zeros((32, 32)), 2)),
    ],
)
def test_sentences_of_the_package_are_known_in_french(sentence):
    assert texts.reason(sentence, "en") == sentence
    french = texts.reason(sentence, "fr")
    assert french != sentence and not re.search(r"\b(the|The|not|answer)\b|\d\.\d", french)
    both = texts.reason(f"{sentence} {dicom_window.HIDING}", "fr")
    assert both == f"{french} {texts.reason(dicom_window.HIDING, 'fr')}"
