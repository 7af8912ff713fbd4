"""What a training starts from, and which test images that has been trained on already.

A published model was trained on some of the images that others have too. Measured on those, a
model that goes on from its weights looks better than it is (`aihealth.data.seen`).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import hub, release
from aihealth.data import provenance as lineage
from aihealth.data.prepared import Images
from aihealth.data.seen import Seen
from aihealth.errors import UserError

WEIGHTS = "model.weights.h5"
FILES = (WEIGHTS, release.CONFIG, release.PROVENANCE, release.SEEN)
SUFFIXES = (".h5", ".keras", ".npz", ".pth")
MAX_BYTES = 400_000  # of the hashes in a release


@dataclasses.dataclass(frozen=True)
class Start:
    """Weights that a training starts from.

    Attributes:
        path: "imagenet", or a file.
        repo_id: the model repo that they come from, None for a file of one's own.
        revision: of the repo, as it was asked for; None for `main`.
        commit: of the repo, 40 hex digits.
    """

    path: str
    repo_id: str | None = None
    revision: str | None = None
    commit: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        if self.repo_id is None:
            return Path(self.path).name
        return f"{self.repo_id}@{self.revision or self.commit[:8]}"

    @property
    def of_natural_images(self) -> bool:
        """Whether these weights have seen no radiograph."""
        return self.path == "imagenet" or self.path.endswith(".pth")

    def seen(self) -> Seen | None:
        """What they were trained and validated on, None where that is not known."""
        path = lineage.release_beside(self.path) / release.SEEN
        return Seen.load(path) if path.is_file() else None


def locate(weights: str) -> Start:
    """Find starting weights.

    Args:
        weights: "imagenet", a file, a release folder, or a model repo ("org/name@v1.0.0").

    Raises:
        UserError: there is no such thing.
    """
    path = Path(weights)
    if weights == "imagenet" or path.is_file():
        return Start(weights)
    if path.is_dir():
        return Start(str(release.local_folder(path) / WEIGHTS))
    repo_id, revision = hub.parse(weights)
    if path.suffix in SUFFIXES or repo_id.count("/") != 1:
        raise UserError(f"--weights {weights}: there is no such file")
    folder, commit = hub.resolve(repo_id, revision=revision, allow_patterns=list(FILES))
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"--weights {weights}: the repo holds no {WEIGHTS}")
    return Start(str(folder / WEIGHTS), repo_id, revision, commit)


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Which test images the starting weights were trained or validated on.

    Attributes:
        seen: bool `(n,)`.
        unknown: names of weights that do not say what they were trained on.
    """

    seen: np.ndarray
    unknown: list[str]

    @property
    def facts(self) -> dict[str, Any]:
        """For `provenance.json`."""
        return {"left_out": int(self.seen.sum()), "of": len(self.seen), "unknown": self.unknown}


def overlap(starts: Sequence[Start], test: Images) -> Overlap:
    """Look for test images among what starting weights were trained on."""
    found, unknown = np.zeros(len(test), bool), []
    for start in starts:
        if start.of_natural_images:
            continue
        seen = start.seen()
        if seen is None:
            unknown.append(start.name)
        else:
            found |= seen.contains(test)
    return Overlap(found, unknown)


def overlap_text(facts: dict[str, Any] | None) -> str:
    """What an overlap means for the figures, "" where there is nothing to say.

    Args:
        facts: of an `Overlap`.
    """
    if not facts:
        return ""
    told = []
    if facts["left_out"]:
        told.append(
            f"{facts['left_out']} of {facts['of']} test images were among what the starting "
            "weights had been trained on, and were left out of the figures."
        )
    if facts["unknown"]:
        told.append(
            f"What {' and '.join(facts['unknown'])} had been trained on is unknown: the figures "
            "may be too good."
        )
    return " ".join(told)


def left_over(test: Images, found: Overlap) -> Images:
    """The test images that may be measured on.

    Raises:
        UserError: there are none.
    """
    if len(test) and found.seen.all():
        raise UserError(
            f"all {len(test)} test images were among what --weights had been trained on: there is "
            "nothing left to measure on; add images that it has not seen"
        )
    return test.subset(~found.seen)


def write_seen(folder: Path, starts: Sequence[Start], parts: Sequence[Images]) -> None:
    """Put into a release the hashes of all that it and its starting weights were trained on.

    Nothing is written where that is not all known: a release without hashes says "unknown".

    Args:
        folder: the release.
        starts: what the training started from.
        parts: the training and validation images.
    """
    before = [start.seen() for start in starts if not start.of_natural_images]
    if None in before or len(before) > 1:  # hashes of two releases have two salts
        return
    path = folder / release.SEEN
    Seen.of(parts, before[0] if before else None).save(path)
    if path.stat().st_size > MAX_BYTES:
        path.unlink()
        print(f"too many images for {release.SEEN}: what this release has seen will be unknown")
