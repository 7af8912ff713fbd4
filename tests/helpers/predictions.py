"""Held-out predictions as a model might make them."""

import numpy as np

from aihealth.evaluation import held_out
from tests.helpers.releases import CLASSES


def predictions(sharpness, n=400, sources=("harbour", "valley"), seed=0):
    """Answers that are right in 70 of 100 images, and as sure as `sharpness` says."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    called = np.where(rng.random(n) < 0.7, labels, (labels + 1) % 3)
    return held_out.Predictions(
        sharpness * np.eye(3)[called] + rng.normal(0, 0.1, (n, 3)),
        labels,
        np.array(sources)[np.arange(n) % len(sources)],
        np.arange(n).astype(str),
        np.zeros(n, bool),
        np.array(CLASSES),
    )
