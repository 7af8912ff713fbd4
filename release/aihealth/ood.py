"""Is this a chest radiograph at all? Mahalanobis distances of the network's own features.

The features of an image are the spatial means of the network's activations at several depths.
At each depth the distance to the nearest centre of the training data (one centre per class and
source, one shared covariance) is measured, after Lee et al., "A Simple Unified Framework for
Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018. No image from
outside the training data is needed to fit it or to set its threshold.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aihealth.errors import UserError

# A network that has learned nothing gives every image the same features.
_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class FeatureDistance:
    """Distances of features to the training data, one whitening per depth.

    Attributes:
        whitening: per depth `(d, d)`; multiplies features so that their covariance is the identity.
        centres: per depth `(m, d)`, whitened means of each class and source.
        scales: `(depths,)`, the distance at each depth that counts as 1.
    """

    whitening: list[np.ndarray]
    centres: list[np.ndarray]
    scales: np.ndarray

    @classmethod
    def fit(
        cls, features: Sequence[np.ndarray], cells: np.ndarray, quantile: float = 0.99
    ) -> "FeatureDistance":
        """Fit on training images.

        Args:
            features: per depth `(n, d)` spatial means of activations.
            cells: `(n,)` integers, which class and source each image belongs to.
            quantile: share of the given images whose distance at a depth is at most 1.
        """
        from sklearn.covariance import LedoitWolf  # Only training needs it.

        whitening, centres, scales = [], [], []
        for matrix in features:
            matrix = matrix.astype(np.float64)
            means = np.stack([matrix[cells == cell].mean(0) for cell in np.unique(cells)])
            index = np.searchsorted(np.unique(cells), cells)
            covariance = LedoitWolf(assume_centered=True).fit(matrix - means[index]).covariance_
            values, vectors = np.linalg.eigh(covariance)
            transform = vectors / np.sqrt(np.maximum(values, max(1e-6 * values.max(), _TINY)))
            whitening.append(transform.astype(np.float32))
            centres.append((means @ transform).astype(np.float32))
            distance = _nearest(matrix @ transform, centres[-1])
            scales.append(max(np.quantile(distance, quantile), _TINY))
        return cls(whitening, centres, np.array(scales, np.float32))

    def score(self, features: np.ndarray) -> np.ndarray:
        """Distance from the training data, largest over the depths.

        Args:
            features: `(n, sum of d)`, the depths side by side.

        Returns:
            `(n,)`, from 0; 1 is about the farthest training image.
        """
        scores, start = [], 0
        for transform, centres, scale in zip(
            self.whitening, self.centres, self.scales, strict=True
        ):
            stop = start + len(transform)
            scores.append(_nearest(features[:, start:stop] @ transform, centres) / scale)
            start = stop
        return np.max(scores, axis=0)

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays."""
        arrays = {"scales": self.scales}
        for depth, (transform, centres) in enumerate(
            zip(self.whitening, self.centres, strict=True)
        ):
            arrays[f"whitening_{depth}"] = transform
            arrays[f"centres_{depth}"] = centres
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "FeatureDistance":
        """Read what `save` wrote; no pickle.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                scales = arrays["scales"]
                depths = range(len(scales))
                return cls(
                    [arrays[f"whitening_{depth}"] for depth in depths],
                    [arrays[f"centres_{depth}"] for depth in depths],
                    scales,
                )
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files.
            raise UserError(f"{path} is missing or damaged; download the release again") from error


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Root mean square distance of `(n, d)` points to the nearest of `(m, d)` centres."""
    squared = (
        (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)[None, :]
    ).min(1)
    return np.sqrt(np.maximum(squared, 0) / points.shape[1])
