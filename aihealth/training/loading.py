"""What a training learns from: its images in memory."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from aihealth.data import lungs, opening, prepared, streaming
from aihealth.data.left_out import LeftOut, folders_without
from aihealth.data.prepared import Images
from aihealth.evaluation.held_out import Predictions
from aihealth.training import augmentation, starting_point
from aihealth.training.settings import Settings
from aihealth.training.starting_point import Overlap, Start


@dataclasses.dataclass
class Data:
    """What a training learns from and is measured on.

    Attributes:
        splits: "train", "validation", "test" and perhaps "left_out"; the training images have the
            side that augmentation crops from.
        neither: uint8 `(n, side, side)`, images that no class is right for.
        counts: images to train on of each label and source; with a stream more than in memory.
        fingerprints: of each dataset.
        overlap: which test images the starting weights were trained on; those are left out.
    """

    splits: dict[str, Images]
    neither: np.ndarray
    counts: dict[tuple[int, str], int]
    fingerprints: list[str]
    overlap: Overlap

    @property
    def images(self) -> int:
        """How many images there are to train on."""
        return sum(self.counts.values())

    @property
    def sources(self) -> list[str]:
        """Where the images to train on come from."""
        return sorted({source for _, source in self.counts})


def train_side(settings: Settings) -> int:
    """Side of the training images, from which augmentation crops; pixels."""
    _, margin = augmentation.by_name(settings.augment, settings.size)
    return round(settings.size * margin)


def load_data(settings: Settings, starts: Sequence[Start]) -> Data:
    """Load the images.

    Args:
        settings: of the run.
        starts: what it starts from.
    """
    if settings.stream:
        splits = streaming.load(settings.data, settings.size, settings.hold, settings.seed)
        counts = streaming.count(settings.data)
    else:
        splits = _load_splits(settings)
        counts = splits["train"].counts()
    loaded = splits["train"].pixels.shape[1]
    overlap = starting_point.overlap(starts, splits["test"])
    splits["test"] = starting_point.left_over(splits["test"], overlap)
    return Data(
        splits,
        prepared.folder_pixels(
            [folder for _, folder in folders_without(settings.neither, settings.leave_out)], loaded
        ),
        counts,
        [opening.fingerprint(root) for root in settings.data],
        overlap,
    )


def _load_splits(settings: Settings) -> dict[str, Images]:
    splits = prepared.load(
        settings.data, settings.size, train_side(settings), leave_out=settings.leave_out
    )
    known = splits["train"]
    extra = [
        prepared.load_plain(folder, name, known.classes, known.pixels.shape[1])
        for name, folder in folders_without(settings.train_only, settings.leave_out)
    ]
    splits["train"] = prepared.join([known, *extra])
    return splits


def with_outlines(images: Images) -> Images:
    """The images as `swap_background` wants them."""
    return dataclasses.replace(images, pixels=lungs.mark_all(images.pixels))


def load_held_out(settings: Settings) -> Predictions | None:
    """The held-out predictions, but for the sources that are left out now.

    What is measured must not choose its own temperature.
    """
    if not settings.held_out_predictions:
        return None
    predictions = Predictions.load(settings.held_out_predictions)
    if settings.leave_out is None:
        return predictions
    sources, classes = set(predictions.sources.tolist()), predictions.classes.tolist()
    others = ~LeftOut.parse(settings.leave_out, sources, classes).measured(predictions.sources)
    return predictions.subset(others) if others.any() else None
