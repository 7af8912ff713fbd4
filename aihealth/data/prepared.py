"""Labelled images in memory, decoded once, as grey levels.

`images.prepare` turns the bytes of what `opening` finds into grey levels on several threads: five
to ten times faster than the decoding of `datasets`, and the same pixels as in serving. They stay in
memory as uint8, so that later epochs decode nothing.
"""

import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aihealth import images
from aihealth.data import across, archive
from aihealth.data.classes import Classes
from aihealth.data.duplicates import THUMBNAIL, thumbnail
from aihealth.data.layouts import own_name
from aihealth.data.left_out import LeftOut
from aihealth.data.manifest import DRAWN_TEXT
from aihealth.data.opening import SPLITS, DataSet, open_dataset
from aihealth.data.parallel import in_order
from aihealth.errors import UserError

ARRAYS = ("pixels", "labels", "sources", "groups")  # of `Images`, one row an image
CHUNK = 32  # images that a thread decodes before it hands them over


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one split, decoded.

    Attributes:
        pixels: uint8 `(n, size, size)`.
        labels: `(n,)` integers, index into `classes`.
        classes: class names, sorted.
        sources: `(n,)` names of the source each image came from.
        groups: `(n,)` names; near-duplicates and images of one patient share one.
        drawn: how many of the splits that these come from say that the demo generator drew them.
    """

    pixels: np.ndarray
    labels: np.ndarray
    classes: list[str]
    sources: np.ndarray
    groups: np.ndarray
    drawn: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def names(self) -> np.ndarray:
        """`(n,)` names of the classes."""
        return np.array(self.classes)[self.labels]

    def strata(self) -> np.ndarray:
        """`(n,)` integers that number the pairs of class and source."""
        return strata(self.labels, self.sources)

    def counts(self) -> dict[tuple[int, str], int]:
        """How many images of each label and source there are."""
        return collections.Counter(zip(self.labels.tolist(), self.sources.tolist(), strict=True))

    def subset(self, keep: np.ndarray) -> "Images":
        """The images that a boolean mask or an index array names."""
        parts = {name: getattr(self, name)[keep] for name in ARRAYS}
        return dataclasses.replace(self, **parts)


def strata(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """`(n,)` integers that number the pairs of class and source.

    Args:
        labels: `(n,)` integers.
        sources: `(n,)` names.
    """
    pairs = np.char.add(np.char.add(labels.astype(str), "/"), sources.astype(str))
    return np.unique(pairs, return_inverse=True)[1]


def load(
    roots: Sequence[str], size: int, train_size: int | None = None, *, leave_out: str | None = None
) -> dict[str, Images]:
    """Load one or several prepared datasets and join them.

    Near-duplicates across them, which were not looked for when each was prepared, are tied into
    groups; of a group that is then on several sides only one stays, see `across`.

    Args:
        roots: folders or dataset repo ids ("org/name" or "org/name@revision").
        size: side of the square that the images are brought to, pixels.
        train_size: side of the training images, if another.
        leave_out: what to take out of all splits, as `LeftOut.parse` reads it.

    Returns:
        Images of "train", "validation" and "test", and of "left_out" where a source was and all
        images have one size.

    Raises:
        UserError: not prepared, no such repo or source, a split missing, classes that differ, or a
            class without an image to train on.
    """
    parts: dict[str, list[Images]] = {}
    thumbnails: dict[str, list[np.ndarray]] = {}
    classes: list[str] | None = None
    for root in roots:
        opened = open_dataset(root)
        missing = [split for split in SPLITS if split not in opened.splits]
        if missing:
            raise UserError(f"--data {root} has no {missing[0]} images; prepare it again")
        classes = classes or opened.classes
        if opened.classes != classes:
            raise UserError(
                f"--data {root} has the classes {', '.join(opened.classes)}, the data before it "
                f"{', '.join(classes)}; prepare them together"
            )
        for split in SPLITS:
            side = train_size or size if split == "train" else size
            part, small = _decode(opened, split, side, thumbnails=len(roots) > 1)
            parts.setdefault(split, []).append(part)
            thumbnails.setdefault(split, []).append(small)
    kept = {}
    if len(roots) > 1:
        parts, kept = _tied(parts, thumbnails)
    splits = {split: join(found) for split, found in parts.items()}
    if leave_out is not None:
        splits = _leave_out(splits, leave_out, kept)
    elif kept:
        splits = {split: part.subset(kept[split]) for split, part in splits.items()}
    empty = sorted(set(range(len(classes or []))) - set(splits["train"].labels.tolist()))
    if empty:
        raise UserError(
            f"{', '.join(roots)} has no image of {classes[empty[0]]} to train on; add --data that "
            "has some"
        )
    return splits


def _tied(
    parts: dict[str, list[Images]], thumbnails: dict[str, list[np.ndarray]]
) -> tuple[dict[str, list[Images]], dict[str, np.ndarray]]:
    """Tie groups that data sets share; says what is to go, and gives for each split what stays."""
    every = [(split, number, part) for split, found in parts.items()
             for number, part in enumerate(found)]  # fmt: skip
    sizes = [len(part) for _, _, part in every]
    found = across.look(
        np.concatenate([small for split in parts for small in thumbnails[split]]),
        np.concatenate([part.labels for _, _, part in every]),
        np.repeat([number for _, number, _ in every], sizes),
        np.concatenate([part.groups for _, _, part in every]),
        np.repeat([split for split, _, _ in every], sizes),
    )
    if line := found.line():
        print(line, file=sys.stderr)
    tied: dict[str, list[Images]] = {split: [] for split in parts}
    keep: dict[str, list[np.ndarray]] = {split: [] for split in parts}
    end = np.cumsum(sizes)
    for (split, _, part), stop, size in zip(every, end, sizes, strict=True):
        rows = slice(stop - size, stop)
        tied[split].append(dataclasses.replace(part, groups=found.groups[rows]))
        keep[split].append(found.keep[rows])
    return tied, {split: np.concatenate(flags) for split, flags in keep.items()}


def _leave_out(
    splits: dict[str, Images], text: str, keep: dict[str, np.ndarray]
) -> dict[str, Images]:
    known = {str(name) for part in splits.values() for name in part.sources}
    fold = LeftOut.parse(text, known, splits["train"].classes)
    if known == set(fold.sources):
        raise UserError(f"--leave-out {text}: there is no other source to train on")
    hidden = {split: fold.covers(part.sources, part.names()) for split, part in splits.items()}
    groups = np.concatenate([part.groups[hidden[split]] for split, part in splits.items()])
    # A patient of two hospitals, or a near-duplicate, would show what is left out.
    kept = {
        split: part.subset(~hidden[split] & ~np.isin(part.groups, groups) & keep.get(split, True))
        for split, part in splits.items()
    }
    if len(set(kept["train"].labels)) < len(kept["train"].classes):
        raise UserError(f"--leave-out {text}: a class has no images without it")
    left = [part.subset(fold.measured(part.sources)) for part in splits.values()]
    one_size = len({part.pixels.shape[1] for part in left}) == 1
    return kept | ({"left_out": join(left)} if one_size else {})


def load_plain(folder: Path, source: str | None, classes: Sequence[str], size: int) -> Images:
    """All images of plain class folders; their source by default has the folder's name.

    Raises:
        UserError: as for `opening.open_dataset`, or an image that cannot be read.
    """
    named = f"{source or own_name(folder)}={folder}"
    return _decode(open_dataset(named, Classes.read(classes)), "", size)[0]


def folder_pixels(folders: Sequence[str | Path], size: int) -> np.ndarray:
    """All images in folders, at any depth, as `images.prepare` gives them.

    Returns:
        uint8 `(n, size, size)`, in the order of the folders and their files' paths.

    Raises:
        UserError: a folder without images, or one that cannot be read.
    """

    def grey(item: archive.Item) -> np.ndarray | None:
        try:
            content = None if item.hidden else item.read()
            return None if content is None else images.prepare(content, size)
        except images.ImageError as error:
            raise UserError(f"{item.name}: {error}") from error

    items = (item for part in archive.parts([*map(str, folders)]) for item in part.items())
    found = [pixels for pixels in in_order(grey, items) if pixels is not None]
    return np.stack(found) if found else np.empty((0, size, size), np.uint8)


def _decode(
    opened: DataSet, split: str, size: int, thumbnails: bool = False
) -> tuple[Images, np.ndarray]:
    """Images of a split, and uint8 `(n, 16, 16)` to find near-duplicates by where asked for."""
    samples = opened.splits[split]
    pixels = np.empty((len(samples), size, size), np.uint8)
    small = np.zeros((len(samples), THUMBNAIL, THUMBNAIL), np.uint8)

    def fill(start: int) -> int:
        """Decode a few images in a row: a thread's hand-over costs as much as a small image."""
        drawn = 0
        for index, sample in enumerate(samples[start : start + CHUNK], start):
            try:
                data = sample.read()
                if thumbnails:
                    whole = images.decode(data)
                    pixels[index], small[index] = images.prepare(whole, size), thumbnail(whole)
                else:
                    pixels[index] = images.prepare(data, size)
            except images.ImageError as error:
                raise UserError(
                    f"--data {opened.root}: {sample.name}: {error}; prepare the data again"
                ) from error
            drawn += DRAWN_TEXT.encode() in data[:4096]
        return drawn

    starts = range(0, len(samples), CHUNK)
    drawn = sum(in_order(fill, starts, f"decoding {split}", f" x {CHUNK} images"))
    return Images(
        pixels,
        np.array([sample.label for sample in samples], np.int64),
        opened.classes,
        np.array([sample.source for sample in samples], str),
        np.array([sample.group for sample in samples], str),
        drawn,
    ), small


def join(parts: list[Images]) -> Images:
    """The images of several parts, with the classes of the first."""
    if len(parts) == 1:
        return parts[0]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Images(classes=parts[0].classes, drawn=sum(part.drawn for part in parts), **joined)
