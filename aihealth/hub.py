"""From a repo id to a folder; every way the Hub can fail is one sentence.

Needs only `huggingface_hub`.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects, validate_repo_id

from aihealth import __version__, release
from aihealth.errors import UserError

LIBRARY = {"library_name": "aihealth", "library_version": __version__}
# httpx, httpx2 or requests, as the installed huggingface_hub has it.
_TransportError: type[Exception] = HfHubHTTPError.__bases__[0]


def resolve(
    repo_id_or_folder: str | os.PathLike,
    *,
    repo_type: str = "model",
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    allow_patterns: list[str] | None = None,
) -> tuple[Path, str | None]:
    """Find a repo's files: a folder as it is, anything else through the Hub's cache.

    Args:
        repo_id_or_folder: an existing folder wins; otherwise "org/name".
        repo_type: "model", "dataset" or "space".
        revision: branch, tag or commit; None is `main`.
        token: as in `huggingface_hub`; None uses HF_TOKEN or what `hf auth login` stored.
        cache_dir: where downloads are kept; the Hub's cache by default.
        local_files_only: answer from the cache, without the network.
        force_download: download again even what the cache has.
        allow_patterns: which files are needed; all by default.

    Returns:
        The folder, and the commit it is at (None for a folder of the caller's own).

    Raises:
        UserError: no such folder, repo or revision, no access, no network, or a file that is not
            what the Hub announced.
    """
    folder = release.local_folder(repo_id_or_folder)
    if folder is not None:
        if revision is not None:
            raise UserError(f"{folder} is a folder, which has no revision {revision!r}: drop it")
        release.refuse_pointers(folder)
        return folder, None
    repo_id = str(repo_id_or_folder)
    if force_download and local_files_only:
        raise UserError("force_download and local_files_only exclude each other: choose one")

    def download() -> Path:
        with hub_errors(repo_id, repo_type=repo_type, revision=revision):
            return Path(
                snapshot_download(
                    repo_id,
                    repo_type=repo_type,
                    revision=revision,
                    token=token,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                    force_download=force_download,
                    allow_patterns=allow_patterns,
                    **LIBRARY,
                )
            )

    folder = download()
    if _drop_altered(folder, allow_patterns):
        folder = download()
        if altered := _drop_altered(folder, allow_patterns):
            raise UserError(
                f"{altered[0]} of {repo_id} is not the file that the Hub announced (its hash "
                "differs), so it was not kept; try again, or another network"
            )
    return folder, folder.name


def parse(address: str) -> tuple[str, str | None]:
    """Repo id and revision of "org/name" or "org/name@revision".

    >>> parse("org/name@v1.0.0"), parse("org/name")
    (('org/name', 'v1.0.0'), ('org/name', None))
    """
    repo_id, _, revision = address.partition("@")
    return repo_id, revision or None


def check_repo_id(repo_id: str) -> None:
    """Refuse what cannot be a repo id, before anything is asked of the Hub.

    Raises:
        UserError: malformed, or without an owner.
    """
    with hub_errors(repo_id):
        validate_repo_id(repo_id)
    if repo_id.count("/") != 1:
        raise UserError(f"{repo_id!r} is not a repo id: give it with its owner, as org/name")


@contextlib.contextmanager
def hub_errors(
    repo_id: str, *, repo_type: str = "model", revision: str | None = None
) -> Iterator[None]:
    """Turn what `huggingface_hub` raises about a repo into a `UserError` of one sentence."""
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        if isinstance(error, HFValidationError):
            raise UserError(
                f"{repo_id!r} is not a repo id: org/name of letters, digits, '-', '_' and '.', at "
                "most 96 in all, is needed"
            ) from None
        sentence = _sentence(error, f"{repo_type} repo {repo_id}", revision)
        if sentence is None:
            raise
        # The client's own text may quote request headers; ours stands alone.
        raise UserError(sentence) from None


def _sentence(error: BaseException, repo: str, revision: str | None) -> str | None:
    """What to tell the user, None for errors that are not the Hub's."""
    host = constants.ENDPOINT
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: ask for access on {host}, then log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{repo} does not exist on {host}, or it is private: check the name (there is no such "
            "folder here either), or log in with `hf auth login` or HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision or 'main'!r}: check the branch, tag or commit"
    if isinstance(error, LocalEntryNotFoundError):
        if error.__cause__ is not None and not isinstance(error.__cause__, OfflineModeIsEnabled):
            return _sentence(error.__cause__, repo, revision)
        return (
            f"{repo} is not in the local cache at revision {revision or 'main'!r} and the network "
            "is switched off: load it once with the network on"
        )
    if isinstance(error, EntryNotFoundError):
        return f"{repo} lacks a file that is needed: it was published by something else"
    if isinstance(error, HfHubHTTPError):
        return _status_sentence(error, repo, host)
    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, so {repo} cannot be reached: unset it"
    if isinstance(error, (_TransportError, ConnectionError, TimeoutError)):
        return f"{host} cannot be reached for {repo}: check the network and try again"
    if isinstance(error, (ValueError, RuntimeError)) and error.__cause__ is not None:
        return _sentence(error.__cause__, repo, revision)
    if isinstance(error, RuntimeError) and not constants.HF_HUB_DISABLE_XET:
        # hf_xet's own errors are no classes of the client.
        return (
            f"the transfer of {repo} through the Hub's Xet storage failed: try again, or set "
            "HF_HUB_DISABLE_XET=1"
        )
    if isinstance(error, OSError) and error.errno is None:
        return f"the transfer of {repo} was cut short: try again"
    return None


def _status_sentence(error: HfHubHTTPError, repo: str, host: str) -> str:
    status = error.response.status_code
    if status == 401:
        return f"{host} does not accept the token: log in again with `hf auth login`"
    if status == 402:
        return f"{host} asks for a paid account for {repo}"
    if status == 403:
        return f"the token has no right to do this with {repo}: use one that may write to it"
    if status == 412:
        return (
            f"{repo} was changed by someone else in the meantime; nothing was published: look at "
            "the new version, then run this again"
        )
    if status == 429:
        return f"{host} asks to slow down (429): wait a few minutes and try again"
    if status >= 500:
        return f"{host} has trouble of its own ({status}): try again later"
    detail = (error.server_message or "").strip().splitlines()
    return f"{host} refused the request about {repo} ({status}){': ' if detail else ''}" + (
        detail[0] if detail else ""
    )


def _drop_altered(folder: Path, patterns: list[str] | None) -> list[str]:
    """Remove files from a cached snapshot that are not what the Hub announced.

    The client checks the size of a plain download, not its hash. The cache names every blob by
    the ETag: the SHA-256 of a large file, git's SHA-1 of a small one, so that the check needs no
    network. Where the cache has no links (Windows without developer mode) it is left out.

    Returns:
        Paths within the repo of what was removed.
    """
    altered = []
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink())
    for name in filter_repo_objects(names, allow_patterns=patterns):
        path = folder / name
        blob = path.parent / os.readlink(path)
        if len(blob.name) == 64:
            intact = file_sha256(path) == blob.name
        elif len(blob.name) == 40:
            intact = file_git_sha1(path) == blob.name
        else:
            continue
        if not intact:
            altered.append(name)
            path.unlink()
            blob.unlink()
    return altered


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file in hex, as LFS and Xet announce it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_git_sha1(path: str | os.PathLike) -> str:
    """The id that git gives to a file's content, in hex."""
    digest = hashlib.sha1(b"blob %d\0" % os.path.getsize(path), usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
