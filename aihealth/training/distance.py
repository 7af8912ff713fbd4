"""Fits what tells a chest radiograph from anything else: `aihealth.ood.FeatureDistance`."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from sklearn.covariance import LedoitWolf

from aihealth.data.prepared import Images
from aihealth.modeling import architectures
from aihealth.ood import LEAST_FOR_SHIFT, FeatureDistance, nearest
from aihealth.training.batches import evaluation_batches

BATCH = 64
# A hospital that was not seen lies farther from the training data than a new patient of one that
# was: the threshold leaves this factor of room above the farthest of 99 in 100 of those
# (docs/lab-notebook.md: what more and less room turn away).
OOD_ROOM = 1.2
# Share of the validation images that is near enough not to be looked at as a negative or turned.
VERSIONS_FROM = 0.98
# A network that has learned nothing gives every image the same features.
_TINY = 1e-9


def distance_of_model(
    model: keras.Model, train: Images, validation: Images
) -> tuple[FeatureDistance, dict[str, float | None]]:
    """Fit the out-of-distribution score on training images, its limits on validation images.

    On all of them and their mirror images, which are as much chest radiographs: with few validation
    images, the farthest of 99 in 100 is a matter of luck.

    Returns:
        The distance, and `ood_threshold`, `versions_above` and `shift_limit` as
        `release.ReleaseConfig` has them.
    """
    names = architectures.feature_layers(model)
    taps = keras.Model(model.inputs, [_mean(model.get_layer(name).output) for name in names])

    def features(split: Images) -> list[np.ndarray]:
        sides = split, dataclasses.replace(split, pixels=split.pixels[:, :, ::-1])
        given = [taps.predict(evaluation_batches(side, BATCH), verbose=0) for side in sides]
        given = [depths if isinstance(depths, list) else [depths] for depths in given]
        return [np.concatenate(depth) for depth in zip(*given, strict=True)]

    distance = fit_distance(features(train), np.tile(train.strata(), 2))
    held_out = np.concatenate(features(validation), axis=1)
    few, fewer = np.quantile(distance.score(held_out), (VERSIONS_FROM, 0.99))
    as_they_are = held_out[: len(validation)]
    return distance, {
        "ood_threshold": round(float(fewer) * OOD_ROOM, 4),
        "versions_above": round(float(few), 4),
        "shift_limit": shift_limit(distance, as_they_are, validation.sources),
    }


def fit_distance(
    features: Sequence[np.ndarray], strata: np.ndarray, quantile: float = 0.99
) -> FeatureDistance:
    """Fit on training images.

    Args:
        features: per depth `(n, d)` spatial means of activations.
        strata: `(n,)` integers, which class and source each image belongs to.
        quantile: share of the given images whose distance at a depth is at most 1.
    """
    whitening, centres, scales = [], [], []
    for matrix in features:
        matrix = matrix.astype(np.float64)
        means = np.stack([matrix[strata == stratum].mean(0) for stratum in np.unique(strata)])
        index = np.searchsorted(np.unique(strata), strata)
        covariance = LedoitWolf(assume_centered=True).fit(matrix - means[index]).covariance_
        values, vectors = np.linalg.eigh(covariance)
        transform = vectors / np.sqrt(np.maximum(values, max(1e-6 * values.max(), _TINY)))
        whitening.append(transform.astype(np.float32))
        centres.append((means @ transform).astype(np.float32))
        distance = nearest(matrix @ transform, centres[-1])
        scales.append(max(np.quantile(distance, quantile), _TINY))
    return FeatureDistance(whitening, centres, np.array(scales, np.float32))


def shift_limit(
    distance: FeatureDistance, features: np.ndarray, sources: np.ndarray
) -> float | None:
    """The shift that images of a known source exceed by chance in one case of twenty.

    For `LEAST_FOR_SHIFT` images of the source whose images are the farthest; more images of
    known sources exceed it less often.

    Args:
        distance: fitted on other images.
        features: `(n, sum of d)` of each image.
        sources: `(n,)` where they come from.

    Returns:
        None where no source has twice as many images.
    """
    limits = [
        np.quantile(distance.shifts(features[sources == source]), 0.95)
        for source in np.unique(sources)
        if (sources == source).sum() >= 2 * LEAST_FOR_SHIFT
    ]
    return round(float(max(limits)), 4) if limits else None


def _mean(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.GlobalAveragePooling2D()(tensor) if len(tensor.shape) == 4 else tensor
