"""Which images a training leaves out: a hospital, or several that share images or are small."""

import dataclasses
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from aihealth.data.layouts import split_root
from aihealth.errors import UserError


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What `--leave-out` names.

    Attributes:
        text: as it was given.
        sources: sources that are left out of training, and measured.
        shared: source and class of images that are left out too, and not measured: a collection
            that both sources were put together from.
    """

    text: str
    sources: tuple[str, ...]
    shared: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, known: Collection[str], classes: Collection[str]) -> "LeftOut":
        """Read SOURCE, or several with a plus sign between, of which some are SOURCE/CLASS.

        Args:
            text: such as "nih", "journal+eurorad" or "ieee+aihealth/Covid".
            known: the data's sources.
            classes: the data's classes.

        Raises:
            UserError: no such source or class, or only parts of sources.
        """
        sources, shared = [], []
        for part in [text] if text in known else text.split("+"):
            source, _, label = part.rpartition("/")
            if part in known:
                sources.append(part)
            elif source in known and label in classes:
                shared.append((source, label))
            else:
                raise UserError(
                    f"--leave-out {part}: the data's sources are {', '.join(sorted(known))}"
                )
        if not sources:
            raise UserError(f"--leave-out {text}: a whole source is needed besides")
        return cls(text, tuple(sources), tuple(shared))

    def measured(self, sources: np.ndarray) -> np.ndarray:
        """`(n,)` bool: which images are of its sources, of whose `(n,)` names."""
        return np.isin(sources, self.sources)

    def covers(self, sources: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """`(n,)` bool: which images training must not see, of whose `(n,)` sources and classes."""
        found = self.measured(sources)
        for source, label in self.shared:
            found |= (sources == source) & (labels == label)
        return found


def folders_without(roots: Iterable[str], text: str | None) -> list[tuple[str | None, Path]]:
    """Name and folder of each DIR or NAME=DIR, without those of a source that is left out.

    Args:
        roots: folders; the name is the hospital that the images come from.
        text: of `LeftOut`, None where nothing is left out.

    Raises:
        UserError: there is no such folder.
    """
    gone = () if text is None else (text, *text.split("+"))
    return [(name, folder) for name, folder in map(split_root, roots) if name not in gone]
