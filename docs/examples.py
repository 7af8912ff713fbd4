"""Draw the examples that the Space offers to click: no one's radiographs.

    python docs/examples.py

They are drawn by `data_prep`, so they suit the demo model and say nothing of a real one.
"""
# ruff: noqa: E402  (the checkout is put on the path before it is imported)

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_prep.other_images import draw_non_radiograph
from data_prep.radiographs import draw_radiograph

FOLDER = ROOT / "space" / "examples"
SIZE = 224


def pictures() -> dict[str, np.ndarray]:
    """File stem to uint8 `(SIZE, SIZE)`; the page shows what follows the number.

    Seeds that let the shipped release show each kind of answer: a class, "not sure", turned away.
    """
    films = {"Normal": 70, "Covid": 19, "Pneumonia": 601}
    drawn = {
        f"drawn-{number}-{label}": draw_radiograph(np.random.default_rng(seed), label, size=SIZE)
        for number, (label, seed) in enumerate(films.items(), 1)
    }
    return drawn | {
        "drawn-4-Hand": draw_non_radiograph(np.random.default_rng(1), "hand", size=SIZE)
    }


def main() -> None:
    """Replace the pictures in `space/examples`."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for stem, pixels in pictures().items():
        Image.fromarray(pixels).save(FOLDER / f"{stem}.png", optimize=True)


if __name__ == "__main__":
    main()
