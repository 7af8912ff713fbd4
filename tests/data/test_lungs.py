"""The network that outlines lungs, and what training and the audit make of its outlines."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aihealth import images
from aihealth.data import lungs

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parents[2] / "space" / "examples").glob("drawn-*.png"))
    if "Hand" not in path.name
]


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda path: path.stem)
def drawing(request):
    return images.prepare(request.param.read_bytes(), 160)


def test_both_lungs_of_a_drawing_are_outlined(drawing):
    mask = lungs.outline(drawing)
    assert mask.shape == drawing.shape and mask.dtype == bool
    assert not np.array_equal(mask, lungs.usual(160))
    left, right = mask[:, :80].sum(), mask[:, 80:].sum()
    assert 0.5 < left / right < 2
    assert drawing[mask].mean() < drawing[~mask & lungs.usual(160)].mean()  # air is dark


def test_the_outline_goes_with_the_lungs(drawing):
    smaller = Image.fromarray(drawing).resize((120, 120), Image.Resampling.BOX)
    framed = np.full((160, 160), 100, np.uint8)
    framed[30:150, 10:130] = smaller
    left, top, right, bottom = lungs.box_of(lungs.outline(drawing))
    expected = [10 + 0.75 * left, 30 + 0.75 * top, 10 + 0.75 * right, 30 + 0.75 * bottom]
    assert np.allclose(lungs.box_of(lungs.outline(framed)), expected, atol=12)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_where_there_are_no_lungs_the_usual_place_is_taken(level):
    mask = lungs.outline(np.full((64, 64), level, np.uint8))
    assert np.array_equal(mask, lungs.usual(64))
    assert np.array_equal(mask, mask[:, ::-1])
    assert 0.35 < mask.mean() < 0.6
    assert not mask[:, 31:33].any()  # the spine


def test_a_mark_is_the_outline_and_changes_nothing_else(drawing):
    marked = lungs.mark_all(np.stack([drawing, drawing[:, ::-1]]))
    assert np.array_equal(marked >> 1, np.stack([drawing, drawing[:, ::-1]]) >> 1)
    assert np.array_equal(marked[0] & 1, lungs.outline(drawing))
    assert np.array_equal(marked[1], lungs.mark(drawing[:, ::-1]))


def test_a_box_holds_what_is_covered_and_no_more():
    mask = np.zeros((20, 30), bool)
    mask[3, 5] = mask[10, 7] = True
    assert lungs.box_of(mask) == (5, 3, 8, 11)
