"""Near-duplicates: the same picture again, recompressed, rescaled or with other contrast.

Two images are near-duplicates when their 16x16 thumbnails correlate above 0.99. With thumbnails
`u`, `v` of mean 0 and norm 1, `|u - v|^2 = 2 - 2 corr(u, v)`, so the question is which points lie
within 0.1414 of each other. A projection onto some axes never makes a distance larger: a k-d tree
over the leading principal axes finds every such pair, and some more, which the full thumbnails
then decide. The result equals the comparison of all pairs, without making it.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

THUMBNAIL = 16
CORRELATION = 0.99
_TREE_AXES = 8  # for the tree, which slows down with every axis
_AXES = 32  # for the first look at what the tree finds
_LEAF = 32  # points in a leaf of the tree
_BLOCK = 4096  # points that share a tree
_CHUNK = 2048  # rows at a time
_PART = 32_768  # pairs at a time


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """What near-duplicates are found by: uint8 `(16, 16)` of grey levels `(h, w)`."""
    size = (THUMBNAIL, THUMBNAIL)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


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
    flat = thumbnails.reshape(-1, THUMBNAIL**2)
    _, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    found = [first[pairs] for pairs in _pairs(flat[first], correlation)]
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


def _pairs(thumbnails: np.ndarray, correlation: float) -> Iterator[np.ndarray]:
    """Yield int `(m, 2)` index pairs that correlate above the limit, each pair once.

    Args:
        thumbnails: uint8 `(n, 256)`.
        correlation: the limit.
    """
    if len(thumbnails) < 2:
        return
    points = _project(thumbnails)
    reach = np.sqrt(2 - 2 * correlation) + 1e-4  # Rounding must not lose a pair.
    for left, right in _neighbours(points[:, :_TREE_AXES], reach):
        for part in range(0, len(left), _PART):
            a, b = left[part : part + _PART], right[part : part + _PART]
            near = np.square(points[a] - points[b]).sum(axis=1) < reach**2
            a, b = a[near], b[near]
            a_b = _correlation(thumbnails[a], thumbnails[b]) > correlation
            yield np.stack([a[a_b], b[a_b]], axis=1)


def _neighbours(points: np.ndarray, reach: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield index arrays `left`, `right` of points within reach, each pair once.

    Blocks of points that are near in space, each with a tree of its own, meet one another: two
    trees part branch by branch, and those of far blocks at their roots.
    """
    order = KDTree(points, leafsize=_LEAF).indices
    blocks = [order[start : start + _BLOCK] for start in range(0, len(points), _BLOCK)]
    trees = [KDTree(points[block], leafsize=_LEAF) for block in blocks]
    for number, (block, tree) in enumerate(zip(blocks, trees, strict=True)):
        pairs = tree.query_pairs(reach, output_type="ndarray")
        yield block[pairs[:, 0]], block[pairs[:, 1]]
        for other, far_tree in zip(blocks[number + 1 :], trees[number + 1 :], strict=True):
            found = tree.sparse_distance_matrix(far_tree, reach, output_type="ndarray")
            yield block[found["i"]], other[found["j"]]


def _normalise(thumbnails: np.ndarray) -> np.ndarray:
    """Shift to mean 0, scale to norm 1: float32 `(n, 256)`; constant thumbnails become zeros."""
    flat = thumbnails - thumbnails.mean(axis=1, keepdims=True, dtype=np.float32)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _project(thumbnails: np.ndarray) -> np.ndarray:
    """Normalise and project onto the leading principal axes of a sample, float32 `(n, _AXES)`.

    The axes only decide how much the tree finds in vain: any orthonormal ones would be right.
    """
    sample = _normalise(thumbnails[:: len(thumbnails) // 10_000 + 1])
    sample -= sample.mean(axis=0)
    axes = np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, : -_AXES - 1 : -1])
    parts = range(0, len(thumbnails), _CHUNK)
    return np.concatenate([_normalise(thumbnails[i : i + _CHUNK]) @ axes for i in parts])


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlate uint8 rows `(m, 256)`, from whole numbers, so that every machine agrees."""
    a, b = a.astype(np.int64), b.astype(np.int64)

    def covariance(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return p.shape[1] * (p * q).sum(axis=1) - p.sum(axis=1) * q.sum(axis=1)

    spread = np.sqrt(covariance(a, a).astype(float) * covariance(b, b).astype(float))
    return covariance(a, b) / np.maximum(spread, 1e-9)
