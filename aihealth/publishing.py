"""What `push_to_hub.py` does: check, compare, lay out, send."""

import argparse
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from aihealth import card, check, hub, publish, release, stage
from aihealth.errors import UserError


def publish_model(args: argparse.Namespace) -> None:
    """A release folder becomes a model repo, or a pull request to one.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    folder = Path(args.release)
    config = release.ReleaseConfig.load(folder)
    version = publish.check_tag(args.tag) if args.tag else None
    if args.tag and args.create_pr:
        raise UserError("--tag names a published version: merge the pull request, then tag it")
    api = _connect(args)
    remote = _look(api, args, "model")
    if remote is None and args.create_pr:
        raise UserError(f"--create-pr needs an existing repo, and there is no {args.repo_id}")
    if remote and args.tag in remote.tags:
        raise UserError(f"{args.repo_id} already has the tag {args.tag}: choose the next version")

    history = _published_history(args.repo_id, remote, api)
    fingerprint = stage.fingerprint(folder)
    description = ""
    if not (history and history[0].fingerprint == fingerprint):
        print(f"checking that {folder} loads everywhere ...", flush=True)
        for name, difference in check.check_release(folder).items():
            print(f"  {name}: within {difference:.1e} of Keras")
        metrics = release.read_json(folder / release.METRICS)
        entry = card.Entry(
            fingerprint=fingerprint,
            date=stage.today(),
            summary=args.message or f"{config.arch} trained on {', '.join(config.sources)}.",
            version=version,
            balanced_accuracy=card.overall_text(metrics.get("test")),
        )
        history = [entry, *history]
    elif version and history[0].version not in (None, version):
        raise UserError(
            f"this release is already published as v{history[0].version}; --tag {args.tag} would "
            "give it a second name"
        )
    elif version:
        history = [card.dataclasses.replace(history[0], version=version), *history[1:]]

    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        stage.stage_model(folder, staged, args.repo_id, history, history[0].version)
        message = args.message or f"Publish {history[0].name}"
        commit = _send(api, args, "model", staged, remote, message, description)
    if args.tag and commit:
        with hub.hub_errors(args.repo_id):
            api.create_tag(args.repo_id, tag=args.tag, revision=commit)
        print(f"tagged {args.tag}")


def _connect(args: argparse.Namespace) -> HfApi:
    if args.dry_run:
        return publish.connect_to_look(args.token_file)
    return publish.connect(args.token_file)


def _look(api: HfApi, args: argparse.Namespace, repo_type: str) -> publish.Remote | None:
    """The repo as it is; a dry run goes on without the Hub."""
    try:
        remote = publish.read_remote(api, args.repo_id, repo_type)
    except UserError as error:
        if not args.dry_run or isinstance(error.__context__, (HfHubHTTPError, ValueError)):
            raise
        print(f"note: {error}; everything is shown as new")
        return None
    if remote and args.private and not remote.private:
        raise UserError(f"{args.repo_id} is public already: drop --private, or change its settings")
    return remote


def _published_history(repo_id: str, remote: publish.Remote | None, api: HfApi) -> list[card.Entry]:
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
    remote: publish.Remote | None,
    message: str,
    description: str = "",
    **create: str | None,
) -> str | None:
    """Commit a staged folder; returns the commit that holds it, None in a dry run."""
    changes = publish.plan(folder, remote)
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
    info = publish.commit(
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
