"""Lungs put into other radiographs."""

import numpy as np
import pytest
from PIL import Image

from aihealth.errors import UserError
from data_prep import compose
from data_prep.__main__ import main

SIDE = compose.SIDE


def lungs_of(level, left=30):
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    noise = np.random.default_rng(0).integers(-8, 8, (140, 150))
    pixels[40:180, left : left + 150] = level + noise
    return pixels


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(1)
    radiograph = rng.integers(150, 200, (SIDE, SIDE)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[50:170, 40:190] = 255
    radiograph[mask > 0] //= 2
    for name, pixels in (
        ("radiographs/Normal/a.png", radiograph), ("radiographs/Normal/b.png", radiograph),
        ("masks/a.png", mask),
        ("lungs/Normal/x_1.png", lungs_of(60)), ("lungs/Pneumonia/x_2.png", lungs_of(160, 60)),
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path, radiograph, mask > 0


def call(root, out="out"):
    words = [
        part for name in ("lungs", "radiographs", "masks") for part in (f"--{name}", root / name)
    ]
    main(["compose", *map(str, words), "--out", str(root / out)])


def test_lungs_take_the_place_and_the_grey_levels_of_the_films_own(folders):
    root, radiograph, mask = folders
    call(root)
    made = np.asarray(Image.open(root / "out/Pneumonia/x_2.jpg"), float)
    assert (root / "out/Normal/x_1.jpg").exists()
    away = ~np.pad(mask, 6)[6:-6, 6:-6]
    assert np.abs(made - radiograph)[:40].mean() < 4 and away.any()
    inside = made[70:150, 60:170]
    assert abs(np.percentile(inside, 25) - np.percentile(radiograph[mask], 25)) < 8
    assert np.abs(inside - radiograph[70:150, 60:170]).mean() > 4


def test_it_is_the_same_each_time_and_replaces_nothing(folders):
    root, *_ = folders
    call(root, "one")
    call(root, "two")
    one, other = (root / name / "Normal/x_1.jpg" for name in ("one", "two"))
    assert one.read_bytes() == other.read_bytes()
    with pytest.raises(UserError, match="exists"):
        compose.compose(str(root / "lungs"), str(root / "radiographs"), str(root / "masks"),
                        str(root / "one"))  # fmt: skip


def test_films_without_outlines_and_no_lungs_are_said(folders):
    root, *_ = folders
    lungs, radiographs, masks = (str(root / name) for name in ("lungs", "radiographs", "masks"))
    with pytest.raises(UserError, match="outline"):
        compose.compose(lungs, radiographs, lungs, str(root / "out"))
    with pytest.raises(UserError, match="no class folder"):
        compose.compose(masks, radiographs, masks, str(root / "out"))
