"""Which model this Space serves, and what happens when it cannot be had."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi, metadata_load
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from reliability import Reliability

from aihealth import Classifier, hub, release
from aihealth.errors import UserError

HERE = Path(__file__).resolve().parent
PROBE_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The model that is asked for.

    Attributes:
        model: a repo id or a folder.
        revision: branch, tag or commit; None is the newest, or a folder.
    """

    model: str
    revision: str | None = None


@dataclasses.dataclass(frozen=True)
class Served:
    """What the page works with.

    Attributes:
        classifier: None when nothing could be loaded; `problem` says why.
        name: repo id or folder name shown on the page.
        origin: "hub", "cache" (the Hub was not reachable), "shipped" (nor was the cache of any
            help), or "folder".
        problem: the sentence that goes with "cache", "shipped", or no classifier.
        reliability: how often it is right, as far as its release says.
    """

    classifier: Classifier | None
    name: str
    origin: str
    problem: str | None = None
    reliability: Reliability = dataclasses.field(default_factory=Reliability)


def wanted(environ: dict[str, str], readme: Path = HERE / "README.md") -> Wanted | None:
    """What to serve: MODEL_ID, else the id in the README's front matter, else None (shipped).

    The front matter's `preload_from_hub` line ("repo file,file revision") pins the revision, so
    that a Space answers from the very files that were put in its image.
    """
    revision = environ.get("MODEL_REVISION") or None
    if model := environ.get("MODEL_ID"):
        return Wanted(model, revision)
    front = (metadata_load(readme) or {}) if readme.is_file() else {}
    models = front.get("models") or []
    if not models:
        return None
    for line in front.get("preload_from_hub") or []:
        parts = line.split()
        if parts[0] == models[0] and len(parts) == 3:
            revision = revision or parts[2]
    return Wanted(models[0], revision)


def shipped_release() -> Path | None:
    """The release folder that travels with the Space, or stands in the checkout."""
    for folder in (HERE / "release", HERE.parent / "release"):
        if folder.is_dir():
            return folder
    return None


def serve(want: Wanted | None, shipped: Path | None) -> Served:
    """Open the model; whatever goes wrong ends in a `Served` that says so, never in a crash.

    A Hub that cannot be reached is weather: the pinned revision from the cache answers, else the
    shipped release. A wrong id or a damaged release is a mistake of the publisher: serving some
    other model in its place would hide it, so the page shows the sentence instead.
    """
    if want is None:
        if shipped is None:
            return Served(None, "", "shipped", "there is no release here: set MODEL_ID")
        return _open(str(shipped), shipped.name, "shipped", None)
    try:
        if release.local_folder(want.model) is not None:
            return _open(want.model, Path(want.model).name, "folder", None, want.revision)
        commit = _probe(want)
        return _open(want.model, want.model, "hub", None, commit)
    except UserError as error:
        problem = str(error)
        if not is_unreachable(error):
            return Served(None, want.model, "hub", problem)
    cached = _open(want.model, want.model, "cache", problem, want.revision, local_files_only=True)
    if cached.classifier is not None or shipped is None:
        return cached
    return _open(str(shipped), want.model, "shipped", problem)


def is_unreachable(error: BaseException) -> bool:
    """Whether the network or the Hub failed, rather than the id or the release being wrong."""
    for link in _chain(error):
        if isinstance(link, (LocalEntryNotFoundError, OfflineModeIsEnabled, TimeoutError)):
            return True
        if isinstance(link, HfHubHTTPError):
            status = link.response.status_code
            return status == 429 or status >= 500
        if isinstance(link, (HfHubHTTPError.__bases__[0], ConnectionError)):
            return True
    return False


def _probe(want: Wanted) -> str:
    """Ask the Hub once, within `PROBE_SECONDS`, for the commit that a revision stands for."""
    with hub.hub_errors(want.model, revision=want.revision):
        info = HfApi(**hub.LIBRARY).model_info(
            want.model, revision=want.revision, timeout=PROBE_SECONDS
        )
    return info.sha


def _open(
    model: str,
    name: str,
    origin: str,
    problem: str | None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Served:
    try:
        classifier = Classifier.from_pretrained(
            model, revision=revision, local_files_only=local_files_only
        )
        figures = Reliability.of(classifier.folder)
    except UserError as error:
        if origin == "hub" and is_unreachable(error):
            raise
        return Served(None, name, origin, problem or str(error))
    except Exception as error:  # A damaged file of a release raises many kinds.
        return Served(None, name, origin, f"the release of {name} is damaged: {error}")
    return Served(classifier, name, origin, problem, figures)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def card_link(served: Served) -> str | None:
    """Where the model's card is read; None for a folder."""
    if served.classifier is None or served.origin not in ("hub", "cache"):
        return None
    return f"{ENDPOINT}/{served.name}/blob/{served.classifier.revision}/README.md"


def short_revision(revision: str | None) -> str:
    """A commit as people write it: its first seven digits."""
    return revision[:7] if revision and re.fullmatch(r"[0-9a-f]{40}", revision) else revision or ""
