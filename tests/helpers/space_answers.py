"""Answers of a classifier that is not there, for tests of what the Space makes of them."""

import dataclasses

import numpy as np

from aihealth import Prediction, images
from aihealth.release import ReleaseConfig

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
