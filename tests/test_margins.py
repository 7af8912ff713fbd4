"""Plain margins: found, left out of the answer, and empty in the heatmaps."""

import numpy as np
import pytest

from aihealth import margins
from aihealth.classifier import Classifier
from data_prep.radiographs import draw_radiograph
from tests.helpers.space_app import RELEASE

RAMP = np.tile(np.arange(100, dtype=np.uint8), (120, 1))  # each column is plain
WHOLE = (slice(0, 120), slice(0, 100))
NOISE = np.random.default_rng(0).integers(0, 256, (120, 100), np.uint8)


def framed(pixels, *widths, levels=(128,)):
    """`pixels` with margins of `widths`, one inside the other."""
    for width, level in zip(widths, levels * len(widths), strict=False):
        pixels = np.pad(pixels, width, constant_values=level)
    return pixels


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_margin_is_found(level):
    pixels = framed(NOISE, ((7, 0), (3, 21)), levels=(level,))
    assert margins.content(pixels) == (slice(7, 127), slice(3, 103))


def test_margins_within_margins_are_found():
    pixels = framed(NOISE, ((5, 5), (0, 0)), ((0, 0), (9, 2)), levels=(255, 0))
    assert margins.content(pixels) == (slice(5, 125), slice(9, 109))


def test_what_differs_a_little_is_plain_and_what_differs_more_is_not():
    for spread, found in ((margins.PLAIN, 10), (margins.PLAIN + 1, 0)):
        pixels = framed(NOISE, ((10, 0), (0, 0)))
        pixels[:10, 50] += np.uint8(spread)
        assert margins.content(pixels)[0] == slice(found, 130)


@pytest.mark.parametrize("pixels", [NOISE, np.zeros_like(NOISE), RAMP])
def test_an_image_without_margins_or_without_content_is_left_whole(pixels):
    assert margins.content(pixels) == WHOLE


@pytest.mark.parametrize("side", [10, 20])  # smaller than an image may be, and than a quarter
def test_a_small_picture_on_a_page_is_left_in_it(side):
    page = framed(NOISE[:side, :side], ((3, 57 - side), (3, 47 - side)))
    if side == 20:
        page = framed(page, ((0, 60), (0, 50)))
    assert margins.content(page) == tuple(slice(0, length) for length in page.shape)


def test_heatmaps_are_put_back_where_they_belong():
    maps = np.zeros((2, 10, 10), np.float32)
    maps[1, 0, 9] = 1  # above, at the right
    box = (slice(30, 90), slice(0, 50))
    found = margins.put_back(maps, box, (120, 100))
    assert found.shape == (2, margins.SIDE, margins.SIDE) and not found[0].any()
    row, column = np.add(np.unravel_index(found[1].argmax(), found[1].shape), 0.5) / margins.SIDE
    assert 30 <= row * 120 < 42 and 40 <= column * 100 < 50
    assert not found[:, : 30 * margins.SIDE // 120].any() and not found[:, :, 14:].any()
    assert margins.put_back(maps, WHOLE, (120, 100)) is maps


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_answer_does_not_depend_on_a_border(level):
    classifier = Classifier(RELEASE, num_threads=1)
    pixels = draw_radiograph(np.random.default_rng(5), "Pneumonia", size=300)
    pixels = pixels[margins.content(pixels)]
    bordered = framed(pixels, 45, levels=(level,))
    plain, other = classifier.predict(pixels), classifier.predict(bordered)
    assert other.probabilities == plain.probabilities and other.label == plain.label
    assert (other.ood_score, other.warning) == (plain.ood_score, plain.warning)
    assert np.array_equal(other.pixels, bordered)
    edge = margins.SIDE * 45 // len(bordered)
    assert not other.heatmaps[:, :edge].any() and not other.heatmaps[:, :, -edge:].any()
    assert other.heatmaps.max() == 1


def test_a_negative_with_a_border_is_set_right():
    classifier = Classifier(RELEASE, num_threads=1)
    pixels = draw_radiograph(np.random.default_rng(5), "Normal", size=300)
    plain, other = (classifier.predict(x) for x in (255 - pixels, framed(255 - pixels, 45)))
    assert "negative" in plain.warning and other.warning == plain.warning
    assert other.probabilities == pytest.approx(plain.probabilities, abs=0.02)
