"""The Gradio page for a published model, as a Space."""

import shutil
import tempfile
from pathlib import Path

from huggingface_hub import SpaceCard
from huggingface_hub.errors import HfHubHTTPError

from aihealth import hub, images, release
from aihealth.classifier import Classifier
from aihealth.errors import UserError
from aihealth.files import SUFFIXES
from aihealth.publishing import staging
from aihealth.publishing.target import Destination, Target

PAGE_FILES = (
    release.CARD, staging.REQUIREMENTS, "*.py", "*.js", "*.css", "templates/*.html",
    "examples/*.png",
)  # fmt: skip
PAID_SPACES = (
    "the Hub asks for a paid account (402): since July 2026 a Gradio Space on cpu-basic needs PRO, "
    "Team or Enterprise; free for everyone are static Spaces and `python space/app.py` on your own "
    "machine, and paid hardware needs only a payment method: --hardware cpu-upgrade"
)


def publish_space(
    to: Destination,
    model_id: str,
    *,
    revision: str | None = None,
    hardware: str | None = None,
    examples: str | None = None,
) -> None:
    """Publish the page, pinned to the commit of the model that it is tried with here.

    Args:
        to: the Space.
        model_id: the model repo that it serves.
        revision: branch, tag or commit of the model, None for `main`.
        hardware: such as "cpu-upgrade".
        examples: folder of images to click, None for drawn ones.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    own = _own_examples(Path(examples)) if examples else None
    target, classifier = open_with_model(to, model_id, revision)
    commit = classifier.revision
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        stage_space(staged, model_id, commit, classifier.folder, own, hardware)
        create = {"space_sdk": "gradio", "space_hardware": hardware}
        try:
            target.send(staged, f"Serve {model_id} at {commit[:8]}", **create)
            if hardware and target.remote and not to.dry_run:
                with hub.hub_errors(to.repo_id, repo_type="space"):
                    target.api.request_space_hardware(to.repo_id, hardware)
        except UserError as error:
            cause = error.__context__
            if isinstance(cause, HfHubHTTPError) and cause.response.status_code == 402:
                raise UserError(PAID_SPACES) from None
            raise


def open_with_model(
    to: Destination, model_id: str, revision: str | None
) -> tuple[Target, Classifier]:
    """Look at a Space, and try the commit of the model that it is to serve.

    Args:
        to: the Space.
        model_id: the model repo.
        revision: branch, tag or commit of the model, None for `main`.

    Raises:
        UserError: whatever stands against it.
    """
    hub.check_repo_id(model_id)
    target = Target.open(to, "space")
    folder, commit = hub.resolve(
        model_id,
        revision=revision,
        token=target.api.token,
        allow_patterns=list(release.SERVING_FILES),
    )
    if commit is None:
        raise UserError(f"--model-id {model_id} is a folder; a Space serves a published model")
    print(f"trying {model_id} at {commit[:8]} ...", flush=True)
    classifier = Classifier(folder, revision=commit, name=model_id)
    classifier.predict(staging.example())
    return target, classifier


def stage_space(
    into: Path,
    model_id: str,
    commit: str,
    model: Path,
    examples: dict[str, Path] | None,
    hardware: str | None,
) -> None:
    """Lay out a Space: the page, the modules it needs, and the model it falls back on.

    Its README pins the commit of the model, which the Space's builder puts into the image, so
    that a new version of the model reaches the page only when somebody publishes the Space anew.

    Args:
        into: an empty folder.
        model_id: the model repo.
        commit: of the model repo, 40 hex digits.
        model: that commit, downloaded; it travels along for when the Hub cannot be reached.
        examples: name to image of the publisher's own, None for drawn ones.
        hardware: suggested to those who duplicate the Space.

    Raises:
        UserError: the page's folder holds what is no part of it.
    """
    page_files = staging.collect(
        release.in_checkout("space"), PAGE_FILES, "the page", without=["static"]
    )
    for name, path in page_files.items():
        staging.copy(path, into / name)
    staging.add_serving_modules(into)
    files = [name for name in release.SERVING_FILES if (model / name).is_file()]
    for name in files:
        staging.copy(model / name, into / release.RELEASE / name)
    if examples is not None:
        shutil.rmtree(into / "examples", ignore_errors=True)
        for name, path in examples.items():
            staging.copy(path, into / "examples" / name)
    page = SpaceCard.load(into / release.CARD)
    page.data["models"] = [model_id]
    page.data["preload_from_hub"] = [f"{model_id} {','.join(files)} {commit}"]
    if hardware:
        page.data["suggested_hardware"] = hardware
    page.save(into / release.CARD)


def _own_examples(folder: Path) -> dict[str, Path]:
    """Images of the publisher's own, all of which can be read."""
    if not folder.is_dir():
        raise UserError(f"--examples {folder} is not a folder")
    kinds = [f"*{suffix}" for suffix in SUFFIXES]
    kinds += [kind.upper() for kind in kinds]
    found = staging.collect(folder, kinds, "a set of example images")
    if not found:
        raise UserError(f"--examples {folder} holds no image")
    for path in found.values():
        try:
            images.decode(path)
        except images.ImageError as error:
            raise UserError(f"--examples {path}: {error}") from error
    return found
