"""Near-duplicates: the same picture again, recompressed, rescaled or with other contrast.

Two images are near-duplicates when their 16x16 thumbnails correlate above 0.99. With thumbnails
`u`, `v` of mean 0 and norm 1, `|u - v|^2 = 2 - 2 corr(u, v)`, so the question is which points lie
within 0.1414 of each other. A projection onto some axes never makes a distance larger: a k-d tree
over the leading principal axes finds every such pair, and a few more, which the full thumbnails
then decide. The result equals the comparison of all pairs, without making it.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

THUMBNAIL = 16
CORRELATION = 0.99
_AXES = 12
_CHUNK = 4096


def normalise(thumbnails: np.ndarray) -> np.ndarray:
    """Shift thumbnails to mean 0 and scale them to norm 1.

    Args:
        thumbnails: `(n, 16, 16)` of any type.

    Returns:
        float32 `(n, 256)`; constant thumbnails become zeros, near to nothing but each other.
    """
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.maximum(norm, 1e-6)


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """Which of n images are near-duplicates of each other.

    Attributes:
        first: int `(n,)`, for each image the first one with exactly its thumbnail.
        pairs: int `(m, 2)`, all pairs of such first images that correlate above the limit.
    """

    first: np.ndarray
    pairs: np.ndarray

    def edges(self) -> np.ndarray:
        """Pairs that tie every near-duplicate to its group, int `(edges, 2)`."""
        own = np.arange(len(self.first))
        copies = self.first != own
        return np.concatenate([np.stack([self.first, own], axis=1)[copies], self.pairs])

    def conflicting(self, labels: Sequence[str]) -> np.ndarray:
        """Which images have a near-duplicate with another label, bool `(n,)`."""
        number = np.unique(np.asarray(labels), return_inverse=True)[1]
        present = np.zeros((len(labels), number.max(initial=0) + 1), dtype=bool)
        present[self.first, number] = True  # the labels that one thumbnail has
        doubtful = present.sum(axis=1) > 1
        a, b = self.pairs.T
        differ = (present[a] | present[b]).sum(axis=1) > 1
        doubtful[a[differ]] = doubtful[b[differ]] = True
        return doubtful[self.first]


def near_duplicates(thumbnails: np.ndarray, correlation: float = CORRELATION) -> NearDuplicates:
    """Find all near-duplicates.

    Args:
        thumbnails: uint8 `(n, 16, 16)`.
        correlation: above which two thumbnails count as the same picture.
    """
    flat = thumbnails.reshape(len(thumbnails), -1)
    _, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    found = [first[pairs] for pairs in _pairs(normalise(flat[first]), correlation)]
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *found])
    return NearDuplicates(first[inverse.reshape(-1)], pairs)


def connected(count: int, pairs: np.ndarray) -> np.ndarray:
    """Number the groups that pairs tie together.

    Args:
        count: number of things.
        pairs: int `(pairs, 2)` of things that belong together.

    Returns:
        int `(count,)` group number of each thing.
    """
    ones = np.ones(len(pairs), dtype=bool)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _pairs(points: np.ndarray, correlation: float) -> Iterator[np.ndarray]:
    """Yield `(m, 2)` index pairs of unit vectors that correlate above the limit."""
    if len(points) < 2:
        return
    radius = np.sqrt(2 - 2 * correlation) + 1e-5  # Rounding must not lose a pair here.
    projected = _project(points)
    tree = KDTree(projected)
    for start in range(0, len(points), _CHUNK):
        stop = min(start + _CHUNK, len(points))
        part = KDTree(projected[start:stop])
        near = part.sparse_distance_matrix(tree, radius, output_type="ndarray")
        left, right = near["i"] + start, near["j"]
        left, right = left[left < right], right[left < right]
        for i in range(0, len(left), 16 * _CHUNK):
            a, b = left[i : i + 16 * _CHUNK], right[i : i + 16 * _CHUNK]
            close = np.einsum("ij,ij->i", points[a], points[b]) > correlation
            yield np.stack([a[close], b[close]], axis=1)


def _project(points: np.ndarray) -> np.ndarray:
    """Project onto the leading principal axes, an orthonormal basis."""
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return centred @ axes[:, ::-1][:, :_AXES]
