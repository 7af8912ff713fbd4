"""Predictions drawn at random, for tests of figures."""

import numpy as np

CLASSES = ["Covid", "Normal", "Pneumonia"]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sample(n=600, seed=0, skill=1.5):
    """Labels and probabilities of a classifier that is right about two times in three."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return y, softmax(rng.normal(size=(n, 3)) + skill * np.eye(3)[y])
