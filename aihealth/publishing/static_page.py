"""The page that never uploads: a folder for any web server, or a static Space.

The model runs in the visitor's browser (`space/static/engine`). What both pages share, the viewer
and the words, is copied from `space/` when the folder is written.
"""

import contextlib
import hashlib
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCard

from aihealth import hub, release
from aihealth.classifier import Classifier
from aihealth.errors import UserError
from aihealth.publishing import packages, staging
from aihealth.publishing.target import Destination, Target

PACKAGES = "packages.json"  # which packages of npm, pinned
PAGE_FILES = (
    release.CARD, PACKAGES, "index.html", "*.js", "*.css", "engine/*.js",
)  # fmt: skip
SHARED = ("page.js", "viewer.js", "zip.js", "teach.js", "language.js", "style.css")  # of space/
MODEL_FILES = (release.CONFIG, release.LITERT, release.OOD)
WORKER = "sw.js"
FILES = "files.json"  # every file with its digest: what the service worker keeps
WORDS = "words.json"
PAGE = "page.json"
LANGUAGES = ("en", "fr")


def write_page(model: str, out: str, *, revision: str | None = None) -> Path:
    """Write the page with a model inside.

    Args:
        model: release folder or model repo.
        out: the folder; a page that is there already is replaced.
        revision: branch, tag or commit of the repo.

    Returns:
        The folder.

    Raises:
        UserError: no such model, something else lies at `out`, or a package cannot be had.
    """
    place = Path(out)
    if (
        place.exists()
        and not (place / FILES).is_file()
        and (not place.is_dir() or any(place.iterdir()))
    ):
        raise UserError(f"--out {out} exists and is no page of this project; name another folder")
    folder, commit = _folder_of(model, revision)
    part = place.with_name(f"{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        stage_page(part, folder, model if commit else None, commit)
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return place


def publish_page(to: Destination, model_id: str, *, revision: str | None = None) -> None:
    """Publish the page as a static Space, with the model at a pinned commit inside.

    Args:
        to: the Space.
        model_id: the model repo.
        revision: branch, tag or commit of the model, None for `main`.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    hub.check_repo_id(model_id)
    target = Target.open(to, "space")
    folder, commit = _folder_of(model_id, revision, target.api.token)
    if commit is None:
        raise UserError(f"--model-id {model_id} is a folder; a Space serves a published model")
    print(f"trying {model_id} at {commit[:8]} ...", flush=True)
    Classifier(folder).predict(staging.example())
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        stage_page(staged, folder, model_id, commit)
        target.send(staged, f"Serve {model_id} at {commit[:8]}", space_sdk="static")


def stage_page(into: Path, model: Path, model_id: str | None, commit: str | None) -> None:
    """Lay out the page.

    Args:
        into: an empty folder.
        model: a release.
        model_id: its repo, None for one of this machine.
        commit: of the repo, None for one of this machine.

    Raises:
        UserError: the release has no file for LiteRT, or as for `packages.files_of`.
    """
    source = release.in_checkout("space")
    page_files = staging.collect(source / "static", PAGE_FILES, "the page")
    pinned = json.loads(page_files.pop(PACKAGES).read_text(encoding="utf-8"))
    for name, path in page_files.items():
        staging.copy(path, into / name)
    for name in SHARED:
        staging.copy(source / name, into / name)
    for path in sorted((source / "examples").glob("*.png")):
        staging.copy(path, into / "examples" / path.name)
    for name in MODEL_FILES:
        if (model / name).is_file():
            staging.copy(model / name, into / "model" / name)
    for name, package in pinned.items():
        for path, data in packages.files_of(name, package).items():
            file = into / "vendor" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    release.write_json(into / "vendor" / PACKAGES, pinned)
    with _modules_of(source):
        release.write_json(into / WORDS, _words())
        release.write_json(into / PAGE, _facts(into, model, model_id, commit))
    card = SpaceCard.load(into / release.CARD)
    card.data["models"] = [model_id] if model_id else []
    card.save(into / release.CARD)
    _list(into)


def _folder_of(
    model: str, revision: str | None, token: str | bool | None = None
) -> tuple[Path, str | None]:
    """A release's folder, and its commit where it comes from the Hub."""
    folder = release.local_folder(model)
    if folder is not None and revision is None:
        Classifier(folder)  # A damaged release is found now, not by a visitor.
        return folder, None
    return hub.resolve(
        model, revision=revision, token=token, allow_patterns=list(release.SERVING_FILES)
    )


@contextlib.contextmanager
def _modules_of(space: Path) -> Iterator[None]:
    """Make the modules of the Gradio page importable, which are no package."""
    sys.path.insert(0, str(space))
    try:
        yield
    finally:
        sys.path.remove(str(space))


def _words() -> dict[str, Any]:
    """All words of both pages: `en` and `fr` by key, and French for the package's sentences."""
    texts, sentences = map(importlib.import_module, ("texts", "sentences"))
    return {language: texts.table(language) for language in LANGUAGES} | {
        "sentences": sentences.SENTENCES
    }


def _facts(into: Path, model: Path, model_id: str | None, commit: str | None) -> dict[str, Any]:
    """What the page says of its model: name, commit, and how often which answer is right."""
    startup, render, reliabilities = map(
        importlib.import_module, ("startup", "render", "reliability")
    )
    name = model_id or model.resolve().name
    reliability = reliabilities.Reliability.of(model)
    served = startup.Served(
        Classifier(model, name=name, revision=commit),
        name,
        "hub" if commit else "folder",
        reliability=reliability,
    )
    examples = sorted((into / "examples").iterdir())
    classes = served.classifier.classes
    return {
        "model": name,
        "revision": commit,
        "parts": {
            language: render.parts(served, language, examples, local=True) for language in LANGUAGES
        },
        "reliability": {
            language: {
                "answers": {label: reliability.sentence(label, language) for label in classes},
                "not_sure": reliability.sentence(None, language),
            }
            for language in LANGUAGES
        },
    }


def _list(into: Path) -> None:
    """Write the list of all files, but for the card, which the Hub's builder may change.

    The service worker is not in it either: it has the list's version, by which a browser that
    keeps the page sees that there is another one.
    """
    files = {
        path.relative_to(into).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(into.rglob("*"))
        if path.is_file() and path.name not in (release.CARD, WORKER)
    }
    version = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    release.write_json(into / FILES, {"version": version, "files": files})
    with (into / WORKER).open("a", encoding="utf-8") as file:
        file.write(f"// {version}\n")
