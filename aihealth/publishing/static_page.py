"""The page that never uploads: a folder for any web server, or a static Space.

The model runs in the visitor's browser (`space/static/engine`). What both pages share, the viewer
and the words, is copied from `space/` when the folder is written.
"""

import contextlib
import hashlib
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCard

from aihealth import release
from aihealth.classifier import Classifier
from aihealth.errors import UserError
from aihealth.files import check_output, whole_folder
from aihealth.publishing import packages, staging
from aihealth.publishing.space import open_with_model
from aihealth.publishing.target import Destination

PACKAGES = "packages.json"  # which packages of npm, pinned
PAGE_FILES = (
    release.CARD, PACKAGES, "index.html", "*.js", "*.css", "engine/*.js",
)  # fmt: skip
SHARED = (
    "page.js", "viewer.js", "zip.js", "teach.js", "language.js", "style.css", "top.css",
)  # fmt: skip
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
    place = check_output(out, built=True, ours=True)
    classifier = Classifier.from_pretrained(model, revision=revision)
    with whole_folder(place) as part:
        stage_page(part, classifier)
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
    target, classifier = open_with_model(to, model_id, revision)
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        stage_page(staged, classifier)
        title = f"Serve {model_id} at {classifier.revision[:8]}"
        target.send(staged, title, space_sdk="static")


def stage_page(into: Path, classifier: Classifier) -> None:
    """Lay out the page.

    Args:
        into: an empty folder.
        classifier: the model, which has a revision where it comes from a repo.

    Raises:
        UserError: as for `packages.files_of`.
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
        if (classifier.folder / name).is_file():
            staging.copy(classifier.folder / name, into / "model" / name)
    for name, package in pinned.items():
        for path, data in packages.files_of(name, package).items():
            file = into / "vendor" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    release.write_json(into / "vendor" / PACKAGES, pinned)
    with _modules_of(source):
        release.write_json(into / WORDS, _words())
        release.write_json(into / PAGE, _facts(into, classifier))
    card = SpaceCard.load(into / release.CARD)
    card.data["models"] = [classifier.name] if classifier.revision else []
    card.save(into / release.CARD)
    _list(into)


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


def _facts(into: Path, classifier: Classifier) -> dict[str, Any]:
    """What the page says of its model: name, commit, and how often which answer is right."""
    startup, render, reliabilities = map(
        importlib.import_module, ("startup", "render", "reliability")
    )
    reliability = reliabilities.Reliability.of(classifier.folder)
    origin = "hub" if classifier.revision else "folder"
    served = startup.Served(classifier, classifier.name, origin, reliability=reliability)
    examples = sorted((into / "examples").iterdir())
    return {
        "model": classifier.name,
        "revision": classifier.revision,
        "parts": {
            language: {
                "header": render.header(served, language, local=True),
                **render.parts(served, language, examples, local=True),
            }
            for language in LANGUAGES
        },
        "reliability": {
            language: {
                "answers": {
                    label: reliability.sentence(label, language) for label in classifier.classes
                },
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
