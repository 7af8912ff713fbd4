"""Folders as they will lie on the Hub, made in a temporary place from what is on this machine."""

import datetime
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from aihealth import card, check, release
from aihealth.hub import file_sha256
from aihealth.publish import folder_files

REQUIREMENTS = "requirements.txt"
# What Inference Endpoints installs before it imports `handler.py`.
SERVING_REQUIREMENTS = "ai-edge-litert>=2.1\nhuggingface_hub>=1.31,<3\nnumpy>=2\npillow>=11.3\n"
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
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    config = release.ReleaseConfig.load(folder)
    config.version = version
    config.save(into)
    card.write_changelog(into / card.CHANGELOG, history)
    (into / REQUIREMENTS).write_text(SERVING_REQUIREMENTS, encoding="utf-8")
    example = into / card.EXAMPLE
    example.parent.mkdir(exist_ok=True)
    check.drawn_image(256).save(example)
    card.render(into, repo_id, history).save(into / release.CARD)


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
