"""Folders as they will lie on the Hub, made in a temporary place from what is on this machine."""

import datetime
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import SpaceCard

from aihealth import images, release
from aihealth.errors import UserError
from aihealth.hub import file_sha256
from aihealth.publishing import card
from aihealth.publishing.repo import folder_files

PACKAGE = Path(release.__file__).parent
REQUIREMENTS = "requirements.txt"  # of a Space, and what Inference Endpoints installs first
# Written at publication, so they are no part of what makes a release that release.
_WRITTEN_HERE = (release.CARD, card.CHANGELOG, card.EXAMPLE, REQUIREMENTS)


def stage_model(
    folder: Path, into: Path, repo_id: str, history: Sequence[card.Entry], version: str | None
) -> None:
    """Lay out a model repo: the release, its card for this repo id, and its changelog.

    Args:
        folder: the release; it is not changed.
        into: an empty folder.
        repo_id: where it will be published; the card's code blocks name it.
        history: the changelog, newest first.
        version: semantic version, None when it is published without a tag.
    """
    for name, path in folder_files(folder).items():
        _copy(path, into / name)
    config = release.ReleaseConfig.load(folder)
    config.version = version
    config.save(into)
    card.write_changelog(into / card.CHANGELOG, history)
    page = release.in_checkout("space") / REQUIREMENTS
    needed = page.read_text(encoding="utf-8").splitlines(keepends=True)
    # The handler needs what the page needs; the remarks are about the page.
    (into / REQUIREMENTS).write_text("".join(line for line in needed if not line.startswith("#")))
    card.render(into, repo_id, history).save(into / release.CARD)


def stage_space(
    into: Path, model_id: str, commit: str, model: Path, examples: Path | None, hardware: str | None
) -> None:
    """Lay out a Space: the page, the modules it needs, and the model it falls back on.

    Its README pins the commit of the model, which the Space's builder puts into the image, so
    that a new version of the model reaches the page only when somebody publishes the Space anew.

    Args:
        into: an empty folder.
        model_id: the model repo.
        commit: of the model repo, 40 hex digits.
        model: that commit, downloaded; it travels along for when the Hub cannot be reached.
        examples: images of the publisher's own, None for drawn ones.
        hardware: suggested to those who duplicate the Space.

    Raises:
        UserError: `examples` holds no image, or one that cannot be read.
    """
    for name, path in folder_files(release.in_checkout("space")).items():
        _copy(path, into / name)
    for name in release.SERVING_MODULES:
        _copy(PACKAGE / name, into / "aihealth" / name)
    for name in release.SERVING_FILES:
        if (model / name).is_file():
            _copy(model / name, into / "release" / name)
    if examples is not None:
        own = [path for path in sorted(examples.glob("*")) if images.suffix_is_image(path)]
        if not own:
            raise UserError(f"--examples {examples} holds no image")
        shutil.rmtree(into / "examples", ignore_errors=True)
        for path in own:
            try:
                images.decode(path)
            except images.ImageError as error:
                raise UserError(f"--examples {path}: {error}") from error
            _copy(path, into / "examples" / path.name)
    page = SpaceCard.load(into / release.CARD)
    files = [name for name in release.SERVING_FILES if (model / name).is_file()]
    page.data["models"] = [model_id]
    page.data["preload_from_hub"] = [f"{model_id} {','.join(files)} {commit}"]
    if hardware:
        page.data["suggested_hardware"] = hardware
    page.save(into / release.CARD)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def fingerprint(folder: Path) -> str:
    """Digest of what makes a release that release: all its files but those written here."""
    digest = hashlib.sha256()
    for name, path in folder_files(folder).items():
        if name in _WRITTEN_HERE:
            continue
        if name == release.CONFIG:
            config = release.read_json(path) | {"version": None}
            content = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        else:
            content = file_sha256(path)
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def today() -> str:
    """The day in UTC, YYYY-MM-DD."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
