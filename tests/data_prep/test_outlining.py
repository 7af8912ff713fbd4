"""Training the network that outlines lungs."""

import numpy as np
import pytest
from PIL import Image

from aihealth.data import lungs
from aihealth.errors import UserError
from data_prep import outlining
from data_prep.__main__ import main

SIDE = 96


def dark_ovals(rng):
    """A drawing of two dark lungs somewhere, and their outline."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    middle, height = rng.uniform(0.4, 0.6), rng.uniform(0.25, 0.38)
    mask = np.zeros((SIDE, SIDE), bool)
    for across in (middle - 0.2, middle + 0.2):
        mask |= ((x - across) / 0.14) ** 2 + ((y - 0.5) / height) ** 2 < 1
    return np.where(mask, 60, 170) + rng.normal(0, 8, mask.shape), mask


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("outlined"), np.random.default_rng(3)
    for name in ("films", "masks"):
        (root / name).mkdir()
    for number in range(30):
        picture, mask = dark_ovals(rng)
        Image.fromarray(np.uint8(np.clip(picture, 0, 255))).save(root / f"films/{number}.jpg")
        Image.fromarray(np.uint8(255 * mask)).save(root / f"masks/{number}.png")
    return root


def test_a_network_learns_to_outline(folders, monkeypatch):
    out = folders / "lungs.tflite"
    dice = outlining.train(str(folders / "films"), str(folders / "masks"), str(out), steps=60)
    assert 0.75 < dice <= 1
    # The file is what training and the audit use.
    monkeypatch.setattr(lungs, "NETWORK", out)
    lungs._network.cache_clear()
    monkeypatch.setattr(lungs, "_thread", type(lungs._thread)())
    picture, mask = dark_ovals(np.random.default_rng(4))
    found = lungs.outline(np.uint8(np.clip(picture, 0, 255)))
    lungs._network.cache_clear()
    assert (found & mask).sum() / (found | mask).sum() > 0.6


def test_opacities_lie_in_the_lungs_only():
    rng = np.random.default_rng(0)
    picture, mask = dark_ovals(rng)
    x = np.repeat(picture[None, ..., None], 8, 0).astype(np.float32)
    inside = np.repeat(mask[None, ..., None], 8, 0).astype(np.float32)
    out = outlining.opacities(x, inside, outlining.Dice([1, 2])).numpy()
    assert np.array_equal(out[:, ~mask], x[:, ~mask])
    assert np.abs(out[:, mask] - x[:, mask]).mean() > 3


def test_too_few_outlines_and_a_folder_as_a_file_are_said(folders, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for number in range(3):
        (few / f"{number}.png").write_bytes((folders / f"masks/{number}.png").read_bytes())
    with pytest.raises(UserError, match=f"outlines 3 .* {outlining.LEAST} are needed"):
        outlining.train(str(folders / "films"), str(few), str(tmp_path / "out.tflite"))
    assert not (tmp_path / "out.tflite").exists()
    options = ["--radiographs", str(folders / "films"), "--masks", str(folders / "masks")]
    with pytest.raises(UserError, match="is a folder"):
        main(["lungs", *options, "--out", str(tmp_path)])
