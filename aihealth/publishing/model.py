"""A release folder becomes a model repo, or a pull request to one."""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aihealth import hub, release
from aihealth.errors import UserError
from aihealth.publishing import card, card_tables, regression, staging, verification
from aihealth.publishing.changelog import Entry, read_changelog, today, write_changelog
from aihealth.publishing.repo import HUB_OWN, check_tag
from aihealth.publishing.target import Destination, Target
from aihealth.training.starting_point import overlap_text

# What `train.py` writes.
RELEASE_FILES = (
    *release.KERAS_FILES, "saved_model.pb", "keras_metadata.pb", "variables/variables.*",
    release.LITERT, release.OOD, release.CONFIG, release.METRICS, release.PROVENANCE,
    release.HISTORY, release.AUDIT, release.SEEN, f"{release.FIGURES}/*.png",
)  # fmt: skip
# What publishing adds; a release that was downloaded from the Hub holds it too.
ADDED_FILES = (
    release.CARD, release.CHANGELOG, release.EXAMPLE, release.HANDLER, staging.REQUIREMENTS,
    "aihealth/*.py",
)  # fmt: skip

REGRESSION_DATA = (
    "the repo already holds a version: say with --regression-data DIR_OR_REPO on which test data "
    "the two are to be compared"
)
OTHER_DATA = (
    "The version on the Hub was trained on other data, or on another split of it. If images of the "
    "test split were among them, it looks better here than it is."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How a model is published.

    Attributes:
        tag: "v1.2.0", None without one.
        create_pr: open a pull request instead of committing to `main`.
        regression_data: folder or dataset repo on whose test split the version on the Hub and the
            new one are compared; None for what the release was trained on, where that is a repo.
        allow_regression: why it is published although it is worse.
        audit: `audit.json` of this model, or the folder that it lies in; None for the release's.
        input_size: the side in pixels that this version takes, said by somebody who knows that it
            is another than that of the version on the Hub.
    """

    tag: str | None = None
    create_pr: bool = False
    regression_data: str | None = None
    allow_regression: str | None = None
    audit: str | None = None
    input_size: int | None = None


def publish_model(to: Destination, folder: str, options: Options) -> None:
    """Stage the whole repo, check the staged folder, and send exactly it.

    Args:
        to: the model repo.
        folder: a release, or the folder of the run that wrote it.
        options: how.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    source = release.local_folder(Path(folder))
    config = release.ReleaseConfig.load(source)
    files = staging.collect(source, (*RELEASE_FILES, *ADDED_FILES), "a release")
    files = {
        name: path
        for name, path in files.items()
        if name not in ADDED_FILES and not name.startswith("aihealth/")
    }
    if options.audit:
        given = Path(options.audit)
        files[release.AUDIT] = given / release.AUDIT if given.is_dir() else given
    _check_audit(files)
    target, version = _open(to, options)
    history = _published_history(target)
    digest = fingerprint(files)
    comparison, reason, title = "", None, ""
    if not (history and history[0].fingerprint == digest):
        _check_input_size(config.input_size, target, options.input_size)
        comparison, reason, title = _check_for_regression(source, target, options)
        metrics = release.read_facts(source / release.METRICS)
        entry = Entry(
            fingerprint=digest,
            date=today(),
            summary=to.message or f"{config.arch} trained on {', '.join(config.sources)}.",
            version=version,
            balanced_accuracy=card_tables.overall_text(metrics.get("test")),
            allowed_regression=reason,
        )
        history = [entry, *history]
    elif version and history[0].version not in (None, version):
        raise UserError(
            f"this release is already published as v{history[0].version}; --tag {options.tag} "
            "would give it a second name"
        )
    elif version:
        history = [dataclasses.replace(history[0], version=version), *history[1:]]

    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "repo"
        stage_model(files, staged, to.repo_id, history)
        if target.differs(staged):
            print("checking that it loads everywhere ...", flush=True)
            try:
                differences = verification.check_release(staged)
            except UserError as error:
                raise UserError(str(error).replace(str(staged), str(source))) from error
            for name, difference in differences.items():
                print(f"  {name}: within {difference:.1e} of Keras")
        if options.create_pr:
            target.propose(staged, f"{config.arch}: {title or 'a new version'}", comparison)
        else:
            commit = target.send(staged, f"Publish {history[0].name}", comparison)
            _tag(target, options.tag, commit)


def tag_model(to: Destination, tag: str) -> None:
    """Give what is on `main`, such as a pull request that was merged, a version.

    Args:
        to: the model repo.
        tag: "v1.2.0".

    Raises:
        UserError: the tag is taken, or `main` has a version or holds no release.
    """
    target, version = _open(to, Options(tag=tag))
    history = _published_history(target)
    if not history:
        raise UserError(f"{to.repo_id} holds no release that push_to_hub.py published")
    if history[0].version:
        raise UserError(f"what {to.repo_id} holds is v{history[0].version} already")
    history = [dataclasses.replace(history[0], version=version), *history[1:]]
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "repo"
        folder = target.download()
        for name in target.remote.hashes:
            if name not in HUB_OWN:
                staging.copy(folder / name, staged / name)
        _describe(staged, to.repo_id, history)
        _tag(target, tag, target.send(staged, f"Release {tag}"))


def _tag(target: Target, tag: str | None, commit: str | None) -> None:
    if tag and commit:
        with hub.hub_errors(target.to.repo_id):
            target.api.create_tag(target.to.repo_id, tag=tag, revision=commit)
        print(f"tagged {tag}")


def check_model(to: Destination, options: Options) -> None:
    """See, before there is a release, whether one could be published.

    Raises:
        UserError: the token, the repo, the tag or the lack of regression data stands against it.
    """
    target, _ = _open(to, options)
    if _has_version(target) and not (options.regression_data or options.allow_regression):
        raise UserError(REGRESSION_DATA)
    print(f"nothing stands against publishing to {to.repo_id} so far")


def stage_model(files: dict[str, Path], into: Path, repo_id: str, history: Sequence[Entry]) -> None:
    """Lay out a model repo as it will be sent: release, serving code, example, card, changelog.

    Args:
        files: path in the release to file.
        into: where; made here.
        repo_id: where it will be published; the card's code blocks name it.
        history: the changelog, newest first; its first entry is this version.
    """
    for name, path in files.items():
        staging.copy(path, into / name)
    staging.add_serving_modules(into)
    staging.copy(Path(__file__).with_name(release.HANDLER), into / release.HANDLER)
    needed = staging.TEMPLATES / "endpoint_requirements.txt"
    (into / staging.REQUIREMENTS).write_bytes(needed.read_bytes())
    picture = staging.example(release.ReleaseConfig.load(into).input_size)
    (into / release.EXAMPLE).parent.mkdir()
    picture.save(into / release.EXAMPLE, pnginfo=staging.drawn_mark())
    _describe(into, repo_id, history)


def _describe(staged: Path, repo_id: str, history: Sequence[Entry]) -> None:
    """Write what a staged repo says of its version."""
    config = release.ReleaseConfig.load(staged)
    config.version = history[0].version
    config.save(staged)
    write_changelog(staged / release.CHANGELOG, history)
    card.render(staged, repo_id, history).save(staged / release.CARD)


def fingerprint(files: dict[str, Path]) -> str:
    """Digest of what makes a release that release: all that `train.py` wrote, but its version."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        if name == release.CONFIG:
            config = release.read_json(path) | {"version": None}
            content = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        else:
            content = hub.file_sha256(path)
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def _open(to: Destination, options: Options) -> tuple[Target, str | None]:
    """The repo as it is, and the version that the tag names."""
    version = check_tag(options.tag) if options.tag else None
    if options.tag and options.create_pr:
        raise UserError("--tag names a published version: merge the pull request, then tag it")
    target = Target.open(to, "model", create_pr=options.create_pr)
    if target.remote is None and options.create_pr:
        raise UserError(f"--create-pr needs an existing repo, and there is no {to.repo_id}")
    if target.remote and options.tag in target.remote.tags:
        raise UserError(f"{to.repo_id} already has the tag {options.tag}: choose the next version")
    return target, version


def _has_version(target: Target) -> bool:
    return target.remote is not None and release.LITERT in target.remote.hashes


def _published_history(target: Target) -> list[Entry]:
    if target.remote is None or release.CHANGELOG not in target.remote.hashes:
        return []
    return read_changelog(target.download(release.CHANGELOG) / release.CHANGELOG)


def _check_for_regression(
    folder: Path, target: Target, options: Options
) -> tuple[str, str | None, str]:
    """Compare with the version on the Hub: Markdown, why it may be worse, and a headline.

    Raises:
        UserError: the new version is worse, or it cannot be told, and no reason was given.
    """
    if not _has_version(target):
        return "", None, ""
    allowed = options.allow_regression
    try:
        data = options.regression_data or _training_data(folder)
        old = target.download(*release.SERVING_FILES, release.PROVENANCE, release.SEEN)
        print(f"comparing with the version on the Hub on {data} ...", flush=True)
        found = regression.compare(old, folder, data)
    except UserError as error:
        if not allowed:
            raise
        return f"The two versions could not be compared ({error}). Allowed: {allowed}", allowed, ""
    table = found.table(allowed)
    if not (old / release.SEEN).is_file() and _fingerprints(old) != _fingerprints(folder):
        table += f"\n\n{OTHER_DATA}"
    told = release.read_facts(folder / release.PROVENANCE).get("test_images_seen_before")
    if told:
        table += f"\n\n{overlap_text(told)}"
    print(table)
    if found.worse and not allowed:
        raise UserError(
            f"this version is worse than the one on the Hub on {', '.join(found.worse)}: train a "
            'better one, or say why with --allow-regression "reason"'
        )
    return table, allowed if found.worse else None, found.headline


def _check_audit(files: dict[str, Path]) -> None:
    """Refuse an audit of another model, or one that does not say of which it is."""
    path = files.get(release.AUDIT)
    if path is None or release.LITERT not in files:
        return
    known = release.read_facts(path).get("model_sha256")
    if known != release.model_digest(files[release.LITERT].parent):
        folder = files[release.LITERT].parent
        which = "is of another model" if known else "does not say of which model it is"
        raise UserError(
            f"{path} {which}: run `python -m aihealth audit --model {folder} --data DATA --out "
            "DIR`, then publish with --audit DIR, or remove the file"
        )


def _check_input_size(new: int, target: Target, said: int | None) -> None:
    """Code that loads `hf://` takes what is on `main`, at the size that it was made for."""
    if not _has_version(target) or said == new:
        return
    old = release.ReleaseConfig.load(target.download(release.CONFIG)).input_size
    if old != new:
        raise UserError(
            f"this version takes images of {new} pixels, the one on the Hub of {old}: code that "
            f"loads hf://{target.to.repo_id} takes what is on main and would break; say "
            f"--input-size {new} if that is meant"
        )


def _training_data(folder: Path) -> str:
    """The one dataset repo that a release was trained on, whose test split it has not seen."""
    rows = _data_of(folder)
    if len(rows) == 1 and rows[0].get("repo_id"):
        return rows[0]["repo_id"]
    raise UserError(REGRESSION_DATA)


def _fingerprints(folder: Path) -> list[str | None]:
    return [row.get("fingerprint") for row in _data_of(folder)]


def _data_of(folder: Path) -> list[dict[str, Any]]:
    """What a release was trained on; [] where it does not say."""
    return release.read_facts(folder / release.PROVENANCE).get("data") or []
