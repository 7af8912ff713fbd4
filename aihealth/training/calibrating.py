"""What makes a network's confidence right: predictions for changed images, and the temperature."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from aihealth.data.prepared import Images
from aihealth.evaluation.calibration import expected_calibration_error
from aihealth.evaluation.held_out import Predictions
from aihealth.evaluation.intervals import SEED
from aihealth.modeling import export
from aihealth.training.augmentation import Augmentation
from aihealth.training.batches import evaluation_batches, three_channels
from aihealth.training.dice import Dice

BATCH = 64
PERTURBATIONS = 4  # of each validation image, to calibrate on


def probabilities(model: keras.Model, split: Images) -> np.ndarray:
    """`(n, classes)` probabilities of a Keras model."""
    return model.predict(evaluation_batches(split, BATCH), verbose=0)


def changed_predictions(
    model: keras.Model, validation: Images, augment: Augmentation
) -> Predictions:
    """What a model gives for validation images that are changed as in training, several times.

    Predictions for images as they are are right for the hospitals at hand and too sure everywhere
    else; changing them first stands for the shift to another hospital (Tomani et al., "Post-hoc
    Uncertainty Calibration for Domain Drift Scenarios", CVPR 2021).

    Args:
        model: with a softmax at its end.
        validation: images that training did not see.
        augment: the augmentation of training.
    """
    generator = np.random.default_rng(SEED)
    count = len(validation)
    rounds = []
    for number in range(PERTURBATIONS):
        # Images lie sorted by class. Some changes mix two images of a batch, or treat its halves
        # in two ways: as in training, these must be of any class and source.
        order = generator.permutation(count)
        given = np.empty((count, len(validation.classes)))
        for start, rows in enumerate(np.array_split(order, -(-count // BATCH))):
            batch = augment(tf.constant(validation.pixels[rows]), Dice([number, start]))
            given[rows] = model.predict(three_channels(batch), verbose=0)
        rounds.append(given)
    probability = np.concatenate(rounds)
    return Predictions(
        np.log(np.maximum(probability, 1e-12)),
        *(np.tile(x, PERTURBATIONS) for x in (validation.labels, validation.sources)),
        np.tile(validation.groups, PERTURBATIONS),
        np.zeros(len(probability), bool),
        np.array(validation.classes),
    )


def scale(model: keras.Model, validation: Images, temperature: float) -> dict[str, Any]:
    """Put a temperature into a model.

    Args:
        model: its last layer is changed in place.
        validation: images that training did not see.
        temperature: what its logits are divided by.

    Returns:
        `temperature`, and the expected calibration error on the validation images as they are,
        before and after: `ece_before`, `ece_after`, and both in `per_source`.
    """
    before = probabilities(model, validation)
    export.scale_logits(model, temperature)
    after = probabilities(model, validation)

    def errors(keep: np.ndarray) -> dict[str, float]:
        return {
            f"ece_{name}": round(
                expected_calibration_error(given[keep], validation.labels[keep]), 4
            )
            for name, given in (("before", before), ("after", after))
        }

    return {
        "temperature": round(temperature, 4),
        **errors(np.ones(len(validation), bool)),
        "per_source": {
            str(source): errors(validation.sources == source)
            for source in np.unique(validation.sources)
        },
    }
