"""Training data that fits neither memory nor disk: sharded Parquet, read as it is needed.

A dataset repo, or a folder of Parquet files with the same columns, is read over and over: row
groups in random order, through a shuffle buffer. Memory holds the buffer, a few row groups and a
bounded sample of each split, however long the dataset is.

The order follows from the seed and from how many rows the row groups have. So where a run was is
two numbers, and one that goes on finds its buffer again without the rows before it; the shuffle of
`datasets` does not (`state_dict` leaves the buffer out).
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from aihealth import images
from aihealth.data import lungs
from aihealth.data.archive import open_file
from aihealth.data.cluster import Cluster
from aihealth.data.manifest import DRAWN_TEXT
from aihealth.data.opening import SPLITS, class_names, look_up, reading
from aihealth.data.parallel import in_order
from aihealth.data.prepared import Images
from aihealth.errors import UserError

COLUMNS = ("image", "label", "source", "group")
BUFFER = 1000  # encoded images among which the next ones are drawn
OPEN = 10  # row groups that rows are taken from in turn


class Stream:
    """The training split, endless and shuffled, for one of several processes.

    Args:
        roots: dataset repo ids, or folders of Parquet files.
        side: of the images, pixels.
        batch_size: images a batch of this process.
        weights: of each image's loss, per `(label, source)`.
        seed: of the order; all processes need the same.
        cluster: the processes that share the data. Each reads its own shards where their number
            allows it, otherwise each reads all and takes its share of the images.
        position: where to go on, as `position` was in an earlier run; by default from the start.
        buffer: images in the shuffle buffer.
        outlines: write them into the images (`lungs.mark`).

    Attributes:
        position: after the last batch that `consumed` was told of.
    """

    def __init__(
        self,
        roots: Sequence[str],
        side: int,
        batch_size: int,
        *,
        weights: dict[tuple[int, str], float],
        seed: int,
        cluster: Cluster,
        position: dict[str, Any] | None = None,
        buffer: int = BUFFER,
        outlines: bool = False,
    ) -> None:
        self.side, self.batch_size, self._weights = side, batch_size, weights
        self._outlines = outlines
        self.position = {"pass": 0, "given": 0} | (position or {})
        self._order = _Order(seed, buffer, cluster)
        self._groups = _row_groups(roots, "train")[1]
        # `model.fit` takes batches some time after they are read, and in another thread.
        self._ahead: collections.deque[dict[str, Any]] = collections.deque()
        self._reading = threading.Lock()

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """From `position` on: uint8 `(b, side, side)`, labels `(b,)` and loss weights `(b,)`."""
        with self._reading:
            self._ahead.clear()
            decoded = _decoded(self._examples(), self.side, self._outlines)
            while True:
                batch = list(itertools.islice(decoded, self.batch_size))
                pixels, rows = zip(*batch, strict=True)
                keys = [(row["label"], row["source"]) for row in rows]
                self._ahead.append(rows[-1]["position"])
                yield (
                    np.stack(pixels),
                    np.array([label for label, _ in keys], np.int32),
                    np.array([self._weights[key] for key in keys], np.float32),
                )

    def consumed(self) -> None:
        """Say that the next batch was trained on."""
        self.position = self._ahead.popleft()

    def _examples(self) -> Iterator[dict[str, Any]]:
        given = self.position["given"]
        for number in itertools.count(self.position["pass"]):
            rows = _rows(self._groups, self._order, number, given)
            last = 0
            for last, row in enumerate(rows, given + 1):
                yield row | {"position": {"pass": number, "given": last}}
            if not last and not given:
                raise UserError("--stream: a process has no images; use fewer processes")
            given = 0


def load(roots: Sequence[str], size: int, hold: int, seed: int) -> dict[str, Images]:
    """A random sample of each split, in memory: to validate, calibrate and test on.

    Args:
        roots: dataset repo ids, or folders of Parquet files.
        size: side of the square that the images are brought to, pixels.
        hold: images of each split at most; of smaller splits all.
        seed: of the choice.

    Raises:
        UserError: no such dataset, a split missing, or not the columns `image` and `label`.
    """
    if len(roots) > 1:
        print(
            "warning: near-duplicates across several --data are not looked for with --stream; "
            "prepare them together for figures that can be trusted",
            file=sys.stderr,
        )
    samples = {}
    for split in SPLITS:
        classes, groups = _row_groups(roots, split)
        rows = _rows(groups, _Order(seed, BUFFER, Cluster()))
        found = list(itertools.islice(_decoded(rows, size), hold))
        if not found:
            raise UserError(f"--data {', '.join(roots)} has no {split} images that can be read")
        pixels, rows = zip(*found, strict=True)
        samples[split] = Images(
            np.stack(pixels),
            np.array([row["label"] for row in rows], np.int64),
            classes,
            np.array([row["source"] for row in rows], str),
            np.array([row["group"] for row in rows], str),
            sum(row["drawn"] for row in rows),
        )
    return samples


def count(roots: Sequence[str], split: str = "train") -> dict[tuple[int, str], int]:
    """How many images of each label and source there are; reads no image."""
    files = [(root, file) for root in roots for file in _files(root, split)]
    return dict(sum(in_order(_counts, files), collections.Counter()))


def _counts(item: tuple[str, str]) -> collections.Counter[tuple[int, str]]:
    root, file = item
    with _opened(root, file) as parquet:
        names = [name for name in ("label", "source") if name in parquet.schema_arrow.names]
        table = parquet.read(columns=names, use_threads=False).to_pydict()
    return collections.Counter(
        zip(table["label"], table.get("source", [root] * len(table["label"])), strict=True)
    )


def loss_weights(
    counts: dict[tuple[int, str], int], balance: float
) -> dict[tuple[int, str], float]:
    """Weigh each image's loss as `training.sampling_weights` would draw it; 1 on average.

    A stream gives every image once a pass, so what cannot be drawn more often weighs more.

    Args:
        counts: images of each label and source.
        balance: 0 weighs all alike, 1 every source of a label, see `sampling_weights`.
    """
    if balance == 0:
        return dict.fromkeys(counts, 1.0)
    mass = {key: number ** (1.0 - balance) for key, number in counts.items()}
    per_label: collections.Counter[int] = collections.Counter()
    for (label, _), share in mass.items():
        per_label[label] += share
    total = sum(counts.values()) / len(per_label)
    return {key: mass[key] / per_label[key[0]] * total / counts[key] for key in counts}


# === Reading ===


@dataclasses.dataclass(frozen=True)
class _RowGroup:
    """Where some rows are.

    Attributes:
        root: the dataset.
        file: path or `hf://` address of a Parquet file of it.
        number: of the row group in the file.
        rows: how many.
    """

    root: str
    file: str
    number: int
    rows: int

    def read(self) -> Any:
        """The rows as an Arrow table.

        `datasets` itself reads Parquet by a scan in Arrow's own threads, which call back into
        Python for each read and end the process now and then (`Segmentation fault`, pyarrow 26.0.1;
        see https://github.com/apache/arrow/issues/45214). This thread reads one row group and
        closes the file.
        """
        with _opened(self.root, self.file) as parquet:
            names = [name for name in COLUMNS if name in parquet.schema_arrow.names]
            return parquet.read_row_group(self.number, columns=names, use_threads=False)


@dataclasses.dataclass(frozen=True)
class _Order:
    """How rows are shuffled, and which of them are for this process."""

    seed: int
    buffer: int
    cluster: Cluster

    def keys(self, groups: Sequence[_RowGroup], number: int) -> Iterator[tuple[int, int]]:
        """Places of row groups and rows in them, from `OPEN` row groups at a time.

        All processes draw alike; each has its own row groups, or takes its turns.
        """
        rng = np.random.default_rng([self.seed, number])
        index, processes = self.cluster.index, self.cluster.processes
        whole = len(groups) % processes == 0
        closed = rng.permutation(len(groups)).tolist()
        if whole:
            closed = closed[index::processes]

        def opened() -> Iterator[tuple[int, int]]:
            rows: list[tuple[int, Iterator[int]]] = []
            while rows or closed:
                while closed and len(rows) < OPEN:
                    group = closed.pop()
                    rows.append((group, iter(range(groups[group].rows))))
                place = int(rng.random() * len(rows))
                group, its = rows[place]
                row = next(its, None)
                if row is None:
                    rows.pop(place)
                else:
                    yield group, row

        return opened() if whole else itertools.islice(opened(), index, None, processes)


def _rows(
    groups: Sequence[_RowGroup], order: _Order, number: int = 0, given: int = 0
) -> Iterator[dict[str, Any]]:
    """One pass over the rows; a column that is missing says the name of the dataset.

    Args:
        groups: of the split.
        order: in which they come.
        number: of the pass.
        given: so many rows are left out at the start; they are drawn, but not read.
    """
    table = functools.lru_cache(OPEN)(lambda group: groups[group].read())

    def read(key: tuple[int, int]) -> dict[str, Any]:
        group, row = key
        root = groups[group].root
        return {"source": root, "group": root} | table(group).slice(row, 1).to_pylist()[0]

    # The buffer holds keys while nothing is given, and rows afterwards.
    rng = np.random.default_rng([order.seed, number, 1 + order.cluster.index])
    buffer: list[Any] = []

    def read_buffer() -> None:
        for place in sorted(range(len(buffer)), key=buffer.__getitem__):  # each row group once
            buffer[place] = read(buffer[place])

    for key in order.keys(groups, number):
        item = key if given else read(key)
        if len(buffer) < order.buffer:
            buffer.append(item)
            continue
        place = int(rng.random() * len(buffer))
        drawn, buffer[place] = buffer[place], item
        if not given:
            yield drawn
            continue
        given -= 1
        if not given:
            read_buffer()
    buffer = [buffer[place] for place in rng.permutation(len(buffer))][given:]
    if given:
        read_buffer()
    yield from buffer


def _row_groups(roots: Sequence[str], split: str) -> tuple[list[str], list[_RowGroup]]:
    """Class names, and all row groups of a split."""
    files = [(root, file) for root in roots for file in _files(root, split)]
    footers = list(in_order(_footer, files))
    classes = footers[0][0]
    if any(names != classes for names, _ in footers):
        raise UserError(f"--data {', '.join(roots)} have different classes; prepare them together")
    groups = [group for _, found in footers for group in found]
    return classes, groups


def _footer(item: tuple[str, str]) -> tuple[list[str], list[_RowGroup]]:
    """Class names and row groups of a file of a dataset."""
    import datasets

    root, file = item
    with _opened(root, file) as parquet:
        features = datasets.Features.from_arrow_schema(parquet.schema_arrow)
        metadata = parquet.metadata
    classes = class_names(root, features)
    numbers = range(metadata.num_row_groups)
    groups = [_RowGroup(root, file, n, metadata.row_group(n).num_rows) for n in numbers]
    return classes, groups


@contextlib.contextmanager
def _opened(root: str, file: str) -> Iterator[Any]:
    """A Parquet file of a dataset, read in this thread alone."""
    import pyarrow.parquet

    with reading(root), open_file(file) as opened:
        yield pyarrow.parquet.ParquetFile(opened, pre_buffer=False)


def _files(root: str, split: str) -> list[str]:
    """Paths or `hf://` addresses of the Parquet files of one split."""
    import datasets

    path, revision, _ = (root, None, None) if os.path.isdir(root) else look_up(root)
    with reading(root):
        config = datasets.load_dataset_builder(path, revision=revision).config
    if config.data_files is None or not hasattr(config, "columns"):
        raise UserError(
            f"--stream --data {root}: this is not Parquet; publish the prepared dataset with "
            "push_to_hub.py dataset, or train without --stream"
        )
    if split not in config.data_files:
        raise UserError(f"--data {root} has no {split} split; prepare it again")
    return list(config.data_files[split])


def _decoded(
    rows: Iterable[dict[str, Any]], size: int, outlines: bool = False
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Grey levels of each image that can be read, and its row; a few are decoded ahead."""

    def grey(row: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
        data = row.pop("image")["bytes"]
        try:
            pixels = images.prepare(data, size)
        except (images.ImageError, TypeError) as error:  # TypeError: there are no bytes
            print(f"an image is left out: {error}", file=sys.stderr)
            return None, row
        drawn = {"drawn": DRAWN_TEXT.encode() in data[:4096]}
        return lungs.mark(pixels) if outlines else pixels, row | drawn

    return ((pixels, row) for pixels, row in in_order(grey, rows) if pixels is not None)
