"""Is this a chest radiograph at all? Mahalanobis distances of the network's own features.

The features of an image are the spatial means of the network's activations at several depths.
At each depth the distance to the nearest centre of the training data (one centre per class and
source, one shared covariance) is measured, after Lee et al., "A Simple Unified Framework for
Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018. No image from
outside the training data is needed to fit it or to set its threshold
(`aihealth.training.distance` does both).

Of many images together it can tell more: whether there is a distribution shift from the training
data, though each of them is a chest radiograph.
"""

import dataclasses
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aihealth.errors import UserError

LEAST_FOR_SHIFT = 20  # images
_DRAWS = 200  # of as many images
_SEED = 0
_MAX_BYTES, _MAX_PARTS = 256 * 2**20, 1000


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

    def score(self, features: np.ndarray) -> np.ndarray:
        """Distance from the training data, largest over the depths.

        Args:
            features: `(n, sum of d)`, the depths side by side.

        Returns:
            `(n,)`, from 0; 1 is about the farthest training image.
        """
        distances = [nearest(*depth) for depth in self._whitened(features)]
        return np.max([d / scale for d, scale in zip(distances, self.scales, strict=True)], axis=0)

    def shift(self, features: np.ndarray) -> float:
        """How far images as a whole lie from the training data.

        Where the images are like the training data, their differences from the nearest centres
        cancel; what is left is measured (the idea of testing the means of a network's features is
        in Rabanser et al., "Failing Loudly: An Empirical Study of Methods for Detecting Dataset
        Shift", NeurIPS 2019). The classes may be as frequent as they like.

        Args:
            features: `(n, sum of d)` as for `score`, n at least 2.

        Returns:
            Length of the mean difference in standard deviations of a feature, root mean square
            over features and depths, from 0; what chance adds to it in so few images is taken off.
        """
        squares = []
        for points, centres in self._whitened(features.astype(np.float64)):
            difference = points - centres[_squared(points, centres).argmin(1)]
            by_chance = difference.var(0, ddof=1).mean() / len(points)
            squares.append((difference.mean(0) ** 2).mean() - by_chance)
        return float(np.sqrt(max(np.mean(squares), 0.0)))

    def shifts(self, features: np.ndarray) -> np.ndarray:
        """The shift of many draws of `LEAST_FOR_SHIFT` of these images, which are at least as many.

        Returns:
            `(200,)`, the same at every call.
        """
        rng = np.random.default_rng(_SEED)
        draws = (rng.choice(len(features), LEAST_FOR_SHIFT, replace=False) for _ in range(_DRAWS))
        return np.array([self.shift(features[draw]) for draw in draws])

    def _whitened(self, features: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Whitened features and centres, depth by depth."""
        start = 0
        for transform, centres in zip(self.whitening, self.centres, strict=True):
            stop = start + len(transform)
            yield features[:, start:stop] @ transform, centres
            start = stop

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
            UserError: the file is missing or damaged, or its arrays do not fit each other.
        """
        try:
            # An archive says how large its parts are before they are unpacked.
            with zipfile.ZipFile(path) as archive:
                parts = {part.filename: part.file_size for part in archive.infolist()}
            if sum(parts.values()) > _MAX_BYTES or len(parts) > _MAX_PARTS:
                raise ValueError("too large")
            with np.load(path, allow_pickle=False) as arrays:
                arrays = {name: np.asarray(arrays[name]) for name in arrays.files}
                scales = arrays["scales"]
                depths = range(len(scales))
                distance = cls(
                    [arrays[f"whitening_{depth}"] for depth in depths],
                    [arrays[f"centres_{depth}"] for depth in depths],
                    scales,
                )
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files.
            raise UserError(f"{path} is missing or damaged; download the release again") from error
        if not distance._fits():
            raise UserError(f"{path} is not valid: its arrays do not fit each other")
        return distance

    @property
    def width(self) -> int:
        """Number of features that it takes, over all depths."""
        return sum(map(len, self.whitening))

    def _fits(self) -> bool:
        """Whether shapes and values are such as `fit` gives."""
        arrays = (self.scales, *self.whitening, *self.centres)
        numbers = all(array.dtype.kind == "f" and np.isfinite(array).all() for array in arrays)
        return (
            numbers
            and self.scales.ndim == 1
            and self.scales.size > 0
            and bool((self.scales > 0).all())
            and all(
                transform.ndim == centres.ndim == 2
                and transform.shape == (len(transform),) * 2
                and centres.shape[1] == len(transform)
                and centres.size > 0
                for transform, centres in zip(self.whitening, self.centres, strict=True)
            )
        )


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Root mean square distance of `(n, d)` points to the nearest of `(m, d)` centres."""
    return np.sqrt(np.maximum(_squared(points, centres).min(1), 0) / points.shape[1])


def _squared(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """`(n, m)` squared distances."""
    return (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)[None, :]
