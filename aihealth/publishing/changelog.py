"""The versions of a model repo, as its `changelog.json` and its card tell them."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

from aihealth import release


@dataclasses.dataclass(frozen=True)
class Entry:
    """One published version.

    Attributes:
        fingerprint: digest of the release's files; the same release is never entered twice.
        date: day of publication, YYYY-MM-DD.
        summary: one sentence.
        version: semantic version, where it was published with a tag.
        balanced_accuracy: on the release's own test split, with its interval, for people.
        allowed_regression: why it was published although it was worse than the one before.
    """

    fingerprint: str
    date: str
    summary: str
    version: str | None = None
    balanced_accuracy: str | None = None
    allowed_regression: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return f"v{self.version}" if self.version else self.fingerprint[:8]


def read_changelog(path: str | Path) -> list[Entry]:
    """The entries of a `changelog.json`, newest first; none where there is no file.

    Raises:
        UserError: the file is damaged.
    """
    known = {field.name for field in dataclasses.fields(Entry)}
    return [
        Entry(**{name: entry[name] for name in known & entry.keys()})
        for entry in release.read_facts(path).get("entries", [])
    ]


def write_changelog(path: str | Path, entries: Sequence[Entry]) -> None:
    """Write `changelog.json`."""
    release.write_json(path, {"entries": [dataclasses.asdict(entry) for entry in entries]})


def today() -> str:
    """The day in UTC, YYYY-MM-DD."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
