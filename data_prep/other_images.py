"""Drawings that are no chest radiographs: what a model should turn away."""

import itertools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont


def draw_non_radiograph(rng: np.random.Generator, kind: str, size: int = 256) -> np.ndarray:
    """Draw one picture of a kind.

    Args:
        rng: source of everything random.
        kind: one of `KINDS`.
        size: side, pixels.

    Returns:
        uint8 array `(size, size)`.
    """
    return KINDS[kind](rng, size)


def _hand(rng: np.random.Generator, size: int) -> np.ndarray:
    """Five fingers of bones with soft tissue around them, as a radiograph of a hand."""
    flesh, bones = Image.new("L", (size, size)), Image.new("L", (size, size))
    wrist = np.array([0.5 + rng.normal(0, 0.03), 0.97]) * size
    for finger, angle in enumerate(np.deg2rad([-52, -18, -3, 12, 28]) + rng.normal(0, 0.04, 5)):
        heading = np.array([np.sin(angle), -np.cos(angle)])
        length = size * (0.55, 0.82, 0.88, 0.82, 0.70)[finger] * rng.uniform(0.95, 1.05)
        joints = [wrist + heading * length * share for share in (0.12, 0.5, 0.72, 0.88, 1.0)]
        width = max(3, round(size * 0.036))
        line = [tuple(wrist), tuple(joints[-1])]
        ImageDraw.Draw(flesh).line(line, fill=75, width=round(2.9 * width))
        for start, end in itertools.pairwise(joints):
            gap = 0.08 * (end - start)
            line = [tuple(start + gap), tuple(end - gap)]
            ImageDraw.Draw(bones).line(line, fill=rng.integers(130, 170).item(), width=width)
    soft = flesh.filter(ImageFilter.GaussianBlur(size * 0.02))
    hard = bones.filter(ImageFilter.GaussianBlur(size * 0.006))
    return _film(np.asarray(soft, dtype=float) + np.asarray(hard), rng, 4)


def _ct_slice(rng: np.random.Generator, size: int) -> np.ndarray:
    """An oval body with a ring of bone and dark and bright organs, on black."""
    picture = Image.new("L", (size, size))
    pen = ImageDraw.Draw(picture)

    def oval(x: float, y: float, rx: float, ry: float, grey: int) -> None:
        box = np.array([x - rx, y - ry, x + rx, y + ry]) * size
        pen.ellipse(box.tolist(), fill=grey)

    oval(0.5, 0.5, rng.uniform(0.42, 0.47), rng.uniform(0.30, 0.36), 70)
    oval(0.5, 0.5, 0.38, 0.27, 120)
    for _ in range(rng.integers(5, 9)):
        place = rng.uniform(0.28, 0.72), rng.uniform(0.36, 0.62)
        oval(*place, *rng.uniform(0.03, 0.11, 2), int(rng.choice([15, 90, 150, 175])))
    oval(0.5, 0.70, 0.06, 0.055, 240)
    oval(0.5, 0.69, 0.02, 0.02, 100)
    return _film(np.asarray(picture.filter(ImageFilter.GaussianBlur(size * 0.005))), rng, 8)


def _text(rng: np.random.Generator, size: int) -> np.ndarray:
    """A screenshot: lines of text on white under a title bar."""
    picture = Image.new("L", (size, size), 250)
    pen = ImageDraw.Draw(picture)
    pen.rectangle([0, 0, size, size // 10], fill=int(rng.integers(40, 160)))
    font = ImageFont.load_default(size * 0.045)
    letters = np.array(list("abcdefghijklmnoprstuvwy      "))
    for line in range(14):
        text = "".join(rng.choice(letters, rng.integers(10, 38)))
        pen.text((size * 0.05, size * (0.14 + 0.06 * line)), text, 30, font)
    return np.array(picture)


def _blank(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.full((size, size), rng.integers(256), dtype=np.uint8)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(256, size=(size, size), dtype=np.uint8)


def _photo(rng: np.random.Generator, size: int) -> np.ndarray:
    """A landscape: sky that fades, hills of random outline, a sun."""
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    picture = 225 - 90 * y
    sun = np.hypot(x - rng.uniform(0.1, 0.9), y - rng.uniform(0.1, 0.3))
    picture = np.where(sun < rng.uniform(0.04, 0.09), 255, picture)
    for hill in range(4):
        phases = rng.uniform(0, 2 * np.pi, 4)
        waves = sum(np.sin((2 + 3 * i) * x + phase) / (2 + i) for i, phase in enumerate(phases))
        picture = np.where(y > 0.42 + 0.13 * hill + 0.07 * waves, 150 - 35 * hill, picture)
    return _film(picture, rng, 6)


def _film(picture: np.ndarray, rng: np.random.Generator, grain: float) -> np.ndarray:
    noisy = picture + grain * rng.standard_normal(picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "hand": _hand,
    "ct": _ct_slice,
    "text": _text,
    "blank": _blank,
    "noise": _noise,
    "photo": _photo,
}
