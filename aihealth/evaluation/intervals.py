"""The percentile bootstrap over groups: patients, or near-duplicates, are resampled as a whole."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

DRAWS = 1000
SEED = 1337
MIN_GROUPS = 10  # With fewer the bootstrap promises far more than the data can.
_CHUNK = 4_000_000  # numbers of one block of draws: bounds the memory, not the result


class Groups:
    """Which samples belong together.

    Attributes:
        names: (n,) the name of each sample's group.
        index: (n,) the number of each sample's group, 0 to `count` - 1.
        count: how many groups there are.
    """

    def __init__(self, names: Sequence[Any] | None, n: int) -> None:
        """`names` is None where each of the `n` samples stands for itself."""
        self.names = np.arange(n) if names is None else np.asarray(names)
        if self.names.shape != (n,):
            raise ValueError(f"groups have shape {self.names.shape}, not {(n,)}")
        _, self.index = np.unique(self.names, return_inverse=True)
        self.count = int(self.index.max()) + 1 if n else 0

    def sum(self, columns: np.ndarray) -> np.ndarray:
        """Sum the rows of (n, k) over each group: (count, k)."""
        sums = np.zeros((self.count, columns.shape[1]))
        np.add.at(sums, self.index, columns)
        return sums


def resample(groups: Groups, statistic: Callable[[np.ndarray], Any], draws: int, seed: int) -> Any:
    """A statistic on resamples of the groups.

    Args:
        groups: what is drawn, with replacement, as many as there are.
        statistic: takes (d, count) how often each group is taken in each of d draws; returns an
            array (d, ...) or a dict of such.
        draws: number of resamples.
        seed: the same seed and groups give the same resamples.

    Returns:
        What `statistic` returns, for all draws.
    """
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(len(groups.index), groups.count))
    uniform = np.full(groups.count, 1 / groups.count)
    chunks = []
    for start in range(0, draws, step):
        times = generator.multinomial(groups.count, uniform, size=min(step, draws - start))
        chunks.append(statistic(times.astype(np.float64)))
    if isinstance(chunks[0], dict):
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return np.concatenate(chunks)


def interval(values: np.ndarray) -> list[float] | None:
    """The middle 95% of (draws,) values, [low, high]; None where none of them is defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    return [round(float(bound), 6) for bound in np.percentile(defined, [2.5, 97.5])]


def mean_interval(values: np.ndarray, groups: Sequence[Any] | None = None) -> list[float] | None:
    """95% percentile bootstrap interval of a mean.

    Args:
        values: (n,) one number per sample; NaN where undefined.
        groups: (n,) what is resampled as a whole; each sample its own by default.

    Returns:
        [low, high], or None with fewer than `MIN_GROUPS` that have a value.
    """
    values = np.asarray(values, np.float64)
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    defined = np.isfinite(values)
    units = Groups(names[defined], int(defined.sum()))
    if units.count < MIN_GROUPS:
        return None
    sums = units.sum(np.stack([values[defined], np.ones(len(units.index))], axis=1))
    drawn = resample(units, lambda times: times @ sums, DRAWS, SEED)
    return interval(drawn[:, 0] / drawn[:, 1])
