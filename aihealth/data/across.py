"""Near-duplicates across data sets that were prepared apart, found as `prepare` finds them.

What one data set trains on may be what another is tested on: the same image from two collections,
or re-encoded. Every group that is shared is kept on one side.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from aihealth.data.duplicates import connected, near_duplicates

SIDES = ("test", "validation", "train")  # where a shared group stays: the first that it is in


@dataclasses.dataclass(frozen=True)
class Across:
    """What data sets share.

    Attributes:
        keep: bool `(n,)`, which images stay.
        groups: `(n,)` names; images that are tied across data sets have one.
        shared: how many images have a near-duplicate in another data set.
        taken_out: by split, how many images were taken out because their group is in a split
            before it in `SIDES`.
        conflicting: how many were taken out because a near-duplicate elsewhere has another label.
    """

    keep: np.ndarray
    groups: np.ndarray
    shared: int
    taken_out: dict[str, int]
    conflicting: int

    def line(self) -> str | None:
        """One sentence for people, None where nothing is shared."""
        if not self.shared:
            return None
        parts = [f"{count} of {split}" for split, count in self.taken_out.items() if count]
        text = f"{self.shared} images have near-duplicates in another --data"
        if parts:
            text += f"; {' and '.join(parts)} were taken out, for they are on another side there"
        if self.conflicting:
            text += f"; {self.conflicting} were taken out, for their labels contradict each other"
        return text


def look(
    thumbnails: np.ndarray,
    labels: np.ndarray,
    roots: np.ndarray,
    groups: np.ndarray,
    splits: Sequence[str] | np.ndarray,
) -> Across:
    """Find what data sets share, and which images have to go.

    Args:
        thumbnails: uint8 `(n, 16, 16)`, as `prepare` makes them.
        labels: `(n,)`.
        roots: `(n,)` number of the data set of each image.
        groups: `(n,)` names within the data sets.
        splits: `(n,)` names of `SIDES`.
    """
    count, splits = len(labels), np.asarray(splits)
    near = near_duplicates(thumbnails)
    edges = near.edges()
    numbers = connected(count, edges)
    several = np.zeros(count, bool)  # by number: does it lie in more than one data set?
    first = np.full(count, -1)
    for number, root in zip(numbers.tolist(), roots.tolist(), strict=True):
        if first[number] < 0:
            first[number] = root
        several[number] |= first[number] != root
    shared = several[numbers]
    conflicting = near.conflicting([str(label) for label in labels]) & shared

    # Groups hang together through what is shared, and within their own data sets.
    _, own = np.unique(np.stack([roots.astype(str), groups.astype(str)]), axis=1,
                       return_inverse=True)  # fmt: skip
    own = own.reshape(-1)
    begin = np.full(own.max(initial=0) + 1, -1)
    ties = []
    for index, group in enumerate(own.tolist()):
        if begin[group] < 0:
            begin[group] = index
        ties.append((begin[group], index))
    ties = np.array(ties, np.int64).reshape(-1, 2)
    whole = connected(count, np.concatenate([edges[shared[edges[:, 0]]], ties]))
    touched = np.isin(whole, whole[shared])

    rank = np.array([SIDES.index(split) for split in splits.tolist()], np.int64)
    best = np.full(count, len(SIDES))
    np.minimum.at(best, whole, rank)
    wrong = touched & (rank > best[whole]) & ~conflicting
    names = groups.astype(object)
    least: dict[int, str] = {}
    for index in np.flatnonzero(touched):
        number = int(whole[index])
        least[number] = min(least.get(number, str(names[index])), str(names[index]))
    for index in np.flatnonzero(touched):
        names[index] = least[int(whole[index])]
    return Across(
        keep=~(wrong | conflicting),
        groups=names.astype(str),
        shared=int(shared.sum()),
        taken_out={split: int((wrong & (splits == split)).sum()) for split in SIDES[1:]},
        conflicting=int(conflicting.sum()),
    )
