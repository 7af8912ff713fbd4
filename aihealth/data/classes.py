"""Class names: those of this project, what other collections call them, and what a caller says."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from aihealth.errors import UserError

CLASSES = ("Covid", "Normal", "Pneumonia")

# Names of folders and findings that mean a class, as `plain` gives them. Words that mean different
# things in different collections ("non-COVID", "negative", "lung opacity") are left to --map.
SYNONYMS = {
    "Covid": (
        "covid covid19 covid2019 covid19positive covidpositive covid19pneumonia covidpneumonia "
        "pneumoniacovid pneumoniacovid19 coronavirus sarscov2 ncov covid19cases covidcases"
    ),
    "Normal": "normal healthy nofinding nofindings normalcases healthycases normals",
    "Pneumonia": (
        "pneumonia pnemonia pneumonias viralpneumonia pneumoniaviral bacterialpneumonia "
        "pneumoniabacterial pneumoniavirus pneumoniabacteria lungpneumonia pneumoniacases"
    ),
}


def plain(name: str) -> str:
    """A name as names are compared: lower case, letters and digits only.

    >>> plain("COVID-19"), plain("Viral Pneumonia")
    ('covid19', 'viralpneumonia')
    """
    return re.sub(r"[\W_]", "", name.lower())


@dataclasses.dataclass(frozen=True)
class Classes:
    """Which folder or finding is which class.

    Attributes:
        names: the classes, sorted as `datasets` sorts them.
        mapping: what the caller says: name of a folder or finding, or a path of folders -> class.
        ignored: folders or findings that the caller leaves out.
    """

    names: tuple[str, ...] = CLASSES
    mapping: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        classes: str | Sequence[str] | None = None,
        mapping: Iterable[str] = (),
        ignored: Iterable[str] = (),
    ) -> "Classes":
        """What the options of a command line mean.

        Args:
            classes: names, or one text with commas between them; None for this project's three.
            mapping: texts like "Viral Pneumonia=Pneumonia".
            ignored: names of folders or findings.

        Raises:
            UserError: fewer than two classes, names that cannot be told apart or cannot name a
                folder, or a mapping that is none or leads to no class.
        """
        names = classes.split(",") if isinstance(classes, str) else list(classes or CLASSES)
        names = [name.strip() for name in names]
        for name in names:
            if not plain(name) or re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or name[0] == ".":
                raise UserError(f"--classes: {name!r} cannot be the name of a folder; name another")
        if len({plain(name) for name in names}) < max(len(names), 2):
            raise UserError(
                f"--classes {','.join(names)}: two or more different names with commas between "
                f"them are needed, like {','.join(CLASSES)}"
            )
        pairs = {}
        for text in mapping:
            name, equals, label = (part.strip() for part in text.rpartition("="))
            chosen = next((own for own in names if plain(own) == plain(label)), None)
            if not (equals and name):
                raise UserError(f"--map {text}: FOLDER=CLASS is needed, such as Viral=Pneumonia")
            if chosen is None:
                wider = ",".join([*names, label])
                raise UserError(
                    f"--map {text}: the classes are {', '.join(names)}; for another, "
                    f'add --classes "{wider}"'
                )
            pairs[name] = chosen
        return cls(tuple(sorted(names)), pairs, tuple(ignored))

    def of(self, name: str) -> str | None:
        """The class that a folder or finding means by its name alone, or None."""
        return self._known().get(plain(name))

    def mapped(self, path: str) -> str | None:
        """The class that the caller gives a folder (by its path or last name) or a finding."""
        return next((self.mapping[key] for key in self.mapping if _same(key, path)), None)

    def is_ignored(self, path: str) -> bool:
        """Whether the caller leaves a folder (by its path or last name) or a finding out."""
        return any(_same(key, path) for key in self.ignored)

    def unused(self, paths: Iterable[str]) -> list[str]:
        """What the caller maps or leaves out, and none of these folders or findings is called."""
        paths = list(paths)
        keys = (*self.mapping, *self.ignored)
        return [key for key in keys if not any(_same(key, path) for path in paths)]

    def _known(self) -> dict[str, str]:
        known = {
            word: name for name in self.names for word in SYNONYMS.get(_canonical(name), "").split()
        }
        return known | {plain(name): name for name in self.names}


def _canonical(name: str) -> str:
    return next((own for own in CLASSES if plain(own) == plain(name)), name)


def _same(key: str, path: str) -> bool:
    """Whether a key names a path: its last parts, compared as names are."""
    wanted = [plain(part) for part in key.strip("/").split("/")]
    return [plain(part) for part in path.split("/")][-len(wanted) :] == wanted
