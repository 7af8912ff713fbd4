"""What `push_to_hub.py` does: check, compare, lay out, send."""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from aihealth import hub, release
from aihealth.classifier import Classifier
from aihealth.data.manifest import read_manifest
from aihealth.errors import UserError
from aihealth.publishing import (
    card,
    card_tables,
    dataset,
    regression,
    repo,
    staging,
    verification,
)
from data_prep.radiographs import draw_radiograph

PAID_SPACES = (
    "the Hub asks for a paid account (402): since July 2026 a Gradio Space on cpu-basic needs PRO, "
    "Team or Enterprise; free for everyone are static Spaces and `python space/app.py` on your own "
    "machine, and paid hardware needs only a payment method: --hardware cpu-upgrade"
)

GATE_DATA = (
    "the repo already holds a version: say with --gate-data DIR_OR_REPO on which test data the two "
    "are to be compared"
)
OTHER_DATA = (
    "The version on the Hub was trained on other data, or on another split of it. If images of the "
    "test split were among them, it looks better here than it is."
)


def publish_model(args: argparse.Namespace) -> None:
    """A release folder becomes a model repo, or a pull request to one.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    if args.check:
        check_model(args)
        return
    folder = release.local_folder(Path(args.release))
    config = release.ReleaseConfig.load(folder)
    version, api, remote = _destination(args)
    history = _published_history(args.repo_id, remote, api)
    fingerprint = staging.fingerprint(folder)
    description = ""
    if not (history and history[0].fingerprint == fingerprint):
        print(f"checking that {folder} loads everywhere ...", flush=True)
        for name, difference in verification.check_release(folder).items():
            print(f"  {name}: within {difference:.1e} of Keras")
        description, reason = _pass_gate(args, folder, remote, api)
        metrics = release.read_json(folder / release.METRICS)
        entry = card.Entry(
            fingerprint=fingerprint,
            date=staging.today(),
            summary=args.message or f"{config.arch} trained on {', '.join(config.sources)}.",
            version=version,
            balanced_accuracy=card_tables.overall_text(metrics.get("test")),
            allowed_regression=reason,
        )
        history = [entry, *history]
    elif version and history[0].version not in (None, version):
        raise UserError(
            f"this release is already published as v{history[0].version}; --tag {args.tag} would "
            "give it a second name"
        )
    elif version:
        history = [dataclasses.replace(history[0], version=version), *history[1:]]

    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        staging.stage_model(folder, staged, args.repo_id, history, history[0].version)
        message = args.message or f"Publish {history[0].name}"
        commit = _send(api, args, "model", staged, remote, message, description)
    if args.tag and commit:
        with hub.hub_errors(args.repo_id):
            api.create_tag(args.repo_id, tag=args.tag, revision=commit)
        print(f"tagged {args.tag}")


def check_model(args: argparse.Namespace) -> None:
    """See, before there is a release, whether one could be published.

    Raises:
        UserError: the token, the repo, the tag or the lack of gate data stands against it.
    """
    _, _, remote = _destination(args)
    if _has_version(remote) and not (args.gate_data or args.allow_regression):
        raise UserError(GATE_DATA)
    print(f"nothing stands against publishing to {args.repo_id} so far")


def _destination(
    args: argparse.Namespace,
) -> tuple[str | None, HfApi, repo.Remote | None]:
    """The version that --tag names, and the repo as it is."""
    version = repo.check_tag(args.tag) if args.tag else None
    if args.tag and args.create_pr:
        raise UserError("--tag names a published version: merge the pull request, then tag it")
    api = _connect(args)
    remote = _look(api, args, "model")
    if remote is None and args.create_pr:
        raise UserError(f"--create-pr needs an existing repo, and there is no {args.repo_id}")
    if remote and args.tag in remote.tags:
        raise UserError(f"{args.repo_id} already has the tag {args.tag}: choose the next version")
    return version, api, remote


def publish_space(args: argparse.Namespace) -> None:
    """The page for a published model, pinned to the commit that it is tried with here.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    examples = Path(args.examples) if args.examples else None
    if examples is not None and not examples.is_dir():
        raise UserError(f"--examples {examples} is not a folder")
    repo.check_repo_id(args.model_id)
    api = _connect(args)
    remote = _look(api, args, "space")
    model, commit = hub.resolve(
        args.model_id,
        revision=args.revision,
        token=api.token,
        allow_patterns=list(release.SERVING_FILES),
    )
    if commit is None:
        raise UserError(f"--model-id {args.model_id} is a folder; a Space serves a published model")
    print(f"trying {args.model_id} at {commit[:8]} ...", flush=True)
    Classifier(model).predict(draw_radiograph(np.random.default_rng(0), "Normal"))
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        staging.stage_space(staged, args.model_id, commit, model, examples, args.hardware)
        message = args.message or f"Serve {args.model_id} at {commit[:8]}"
        create = {"space_sdk": "gradio", "space_hardware": args.hardware}
        try:
            _send(api, args, "space", staged, remote, message, **create)
            if args.hardware and remote and not args.dry_run:
                with hub.hub_errors(args.repo_id, repo_type="space"):
                    api.request_space_hardware(args.repo_id, args.hardware)
        except UserError as error:
            cause = error.__context__
            if isinstance(cause, HfHubHTTPError) and cause.response.status_code == 402:
                raise UserError(PAID_SPACES) from None
            raise


def publish_dataset(args: argparse.Namespace) -> None:
    """A prepared dataset becomes a dataset repo: Parquet with embedded images, and a card.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    data = Path(args.data)
    read_manifest(data)
    api = _connect(args)
    remote = _look(api, args, "dataset")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        dataset.stage_dataset(data, staged, args.repo_id, args.license)
        _send(api, args, "dataset", staged, remote, args.message or f"Publish {data.name}")


def _pass_gate(
    args: argparse.Namespace, folder: Path, remote: repo.Remote | None, api: HfApi
) -> tuple[str, str | None]:
    """Compare with the version on the Hub.

    Returns:
        The comparison as Markdown, "" for a first publication; and why it is published although
        it is worse, None where it is not.

    Raises:
        UserError: the new version is worse, or it cannot be told and no reason was given.
    """
    if not _has_version(remote):
        return "", None
    allowed = args.allow_regression
    try:
        data = args.gate_data or _training_data(folder)
        old, _ = hub.resolve(
            args.repo_id,
            revision=remote.commit,
            token=api.token,
            allow_patterns=[*release.SERVING_FILES, release.PROVENANCE],
        )
        print(f"comparing with the version on the Hub on {data} ...", flush=True)
        found = regression.compare(old, folder, data)
    except UserError as error:
        if not allowed:
            raise
        return f"The two versions could not be compared ({error}). Allowed: {allowed}", allowed
    table = found.table(allowed)
    if _fingerprints(old) != _fingerprints(folder):
        table += f"\n\n{OTHER_DATA}"
    print(table)
    if found.worse and not allowed:
        raise UserError(
            f"this version is worse than the one on the Hub on {', '.join(found.worse)}: train a "
            'better one, or say why with --allow-regression "reason"'
        )
    return table, allowed if found.worse else None


def _training_data(folder: Path) -> str:
    """The data that a release was trained on, whose test split it has not seen.

    Raises:
        UserError: it was several, or a folder that this machine does not have.
    """
    rows = release.read_json(folder / release.PROVENANCE).get("data") or []
    if len(rows) == 1 and rows[0].get("repo_id"):
        return rows[0]["repo_id"]
    raise UserError(GATE_DATA)


def _fingerprints(folder: Path) -> list[str | None]:
    """Of the data that a release was trained on; [] where it does not say."""
    if not (folder / release.PROVENANCE).is_file():
        return []
    rows = release.read_json(folder / release.PROVENANCE).get("data") or []
    return [row.get("fingerprint") for row in rows if isinstance(row, dict)]


def _has_version(remote: repo.Remote | None) -> bool:
    return remote is not None and release.LITERT in remote.hashes


def _connect(args: argparse.Namespace) -> HfApi:
    if args.dry_run:
        return repo.connect_to_look(args.token_file)
    return repo.connect(args.token_file)


def _look(api: HfApi, args: argparse.Namespace, repo_type: str) -> repo.Remote | None:
    """The repo as it is; a dry run goes on without the Hub."""
    try:
        remote = repo.read_remote(api, args.repo_id, repo_type)
    except UserError as error:
        if not args.dry_run or isinstance(error.__context__, (HfHubHTTPError, ValueError)):
            raise
        print(f"note: {error}; everything is shown as new")
        return None
    if remote and args.private and not remote.private:
        raise UserError(f"{args.repo_id} is public already: drop --private, or change its settings")
    return remote


def _published_history(repo_id: str, remote: repo.Remote | None, api: HfApi) -> list[card.Entry]:
    if remote is None or card.CHANGELOG not in remote.hashes:
        return []
    folder, _ = hub.resolve(
        repo_id, revision=remote.commit, token=api.token, allow_patterns=[card.CHANGELOG]
    )
    return card.read_changelog(folder / card.CHANGELOG)


def _send(
    api: HfApi,
    args: argparse.Namespace,
    repo_type: str,
    folder: Path,
    remote: repo.Remote | None,
    message: str,
    description: str = "",
    **create: str | None,
) -> str | None:
    """Commit a staged folder; returns the commit that holds it, None in a dry run."""
    changes = repo.plan(folder, remote)
    if changes.empty:
        print(f"{args.repo_id} already holds exactly this: no new commit")
        return None if args.dry_run else remote.commit
    if args.dry_run:
        print(f"would send to {repo_type} repo {args.repo_id}{'' if remote else ' (new)'}:")
        print("\n".join(changes.lines()))
        return None
    if remote is None:
        with hub.hub_errors(args.repo_id, repo_type=repo_type):
            api.create_repo(
                args.repo_id, repo_type=repo_type, private=args.private or None, **create
            )
    info = repo.commit(
        api,
        args.repo_id,
        repo_type,
        changes,
        message,
        description=description,
        create_pr=getattr(args, "create_pr", False),
    )
    print(info.pr_url or info.commit_url)
    return info.oid
