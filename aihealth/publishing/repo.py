"""A folder becomes one commit on the Hub: whole or not at all, and none when nothing changed.

`huggingface_hub.upload_folder` may make several commits when Xet is on; `create_commit` with all
operations makes one, and `parent_commit` lets the Hub refuse it when somebody else was faster.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
)
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from aihealth.errors import UserError
from aihealth.hub import LIBRARY, check_repo_id, file_git_sha1, file_sha256, hub_errors

# What a folder on disk may hold that no repo wants.
LEFT_OUT = (".*", "__pycache__", "*.pyc", "*.part")
# What the Hub itself puts into a repo.
HUB_OWN = (".gitattributes",)

# https://semver.org, with the v that tags carry.
_SEMVER = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")


@dataclasses.dataclass(frozen=True)
class Remote:
    """A repo as it is on the Hub.

    Attributes:
        commit: head of `main`, 40 hex digits.
        hashes: path to content hash (SHA-256 where the Hub keeps it in LFS or Xet, else git's).
        tags: names of its tags.
        private: who may see it.
    """

    commit: str
    hashes: dict[str, str]
    tags: frozenset[str] = frozenset()
    private: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one commit would do.

    Attributes:
        added: paths in the repo to files that are new or differ.
        deleted: paths that the folder no longer has.
        unchanged: how many files are already there.
        parent: the commit that all this was compared with, None for a new repo.
    """

    added: dict[str, Path]
    deleted: list[str]
    unchanged: int
    parent: str | None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.added and not self.deleted

    def lines(self) -> Iterator[str]:
        """What would be sent, for people."""
        for name, path in self.added.items():
            yield f"  + {name}  ({_size(path.stat().st_size)})"
        for name in self.deleted:
            yield f"  - {name}"
        total = _size(sum(path.stat().st_size for path in self.added.values()))
        yield (
            f"{len(self.added)} to send ({total}), {len(self.deleted)} to delete, "
            f"{self.unchanged} unchanged"
        )


def connect(token_file: str | Path | None = None) -> HfApi:
    """An API with a token that the Hub accepts and that may write; asked before anything else.

    Args:
        token_file: a file that holds the token; without it HF_TOKEN, then `hf auth login`.

    Raises:
        UserError: no token, a wrong one, or one that may only read.
    """
    token = read_token_file(token_file) if token_file is not None else get_token()
    if not token:
        raise UserError(
            "there is no Hub token: run `hf auth login`, set HF_TOKEN, or give --token-file"
        )
    api = HfApi(token=token, **LIBRARY)
    try:
        with hub_errors("the token check", repo_type="request for"):
            role = _role(api.whoami())
    except UserError as error:
        cause = error.__context__
        if isinstance(cause, HfHubHTTPError) and cause.response.status_code == 401:
            raise UserError(
                f"{constants.ENDPOINT} does not accept the token: make a new one under Settings, "
                "Access Tokens, then run `hf auth login` again"
            ) from None
        raise
    if role == "read":
        raise UserError(
            "the token may only read: make one with the role write under Settings, Access Tokens"
        )
    return api


def connect_to_look(token_file: str | Path | None = None) -> HfApi:
    """An API for `--dry-run`, which sends nothing: whatever token there is, unchecked."""
    token = read_token_file(token_file) if token_file is not None else None
    return HfApi(token=token, **LIBRARY)


def read_token_file(path: str | Path) -> str:
    """The token in a file.

    Raises:
        UserError: no such file, or not one word of text in it.
    """
    try:
        words = Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"--token-file {path} cannot be read: {reason}") from None
    if len(words) != 1 or not words[0].isascii():
        raise UserError(f"--token-file {path} must hold the token and nothing else")
    return words[0]


def _role(whoami: dict) -> str:
    return ((whoami.get("auth") or {}).get("accessToken") or {}).get("role") or "write"


def check_tag(tag: str) -> str:
    """The version that a tag names: "v1.2.0" gives "1.2.0".

    Raises:
        UserError: not a semantic version with a leading v.
    """
    if not _SEMVER.fullmatch(tag):
        raise UserError(f"--tag {tag} is not a semantic version such as v1.2.0")
    return tag[1:]


def read_remote(api: HfApi, repo_id: str, repo_type: str) -> Remote | None:
    """The repo as it is now, or None where there is none.

    Raises:
        UserError: malformed id, no access, or no way to reach the Hub.
    """
    check_repo_id(repo_id)
    with hub_errors(repo_id, repo_type=repo_type):
        try:
            info = api.repo_info(repo_id, repo_type=repo_type)
        except RepositoryNotFoundError as error:
            # GatedRepoError is one too, and says that the repo is there.
            if type(error) is not RepositoryNotFoundError:
                raise
            return None
        tree = api.list_repo_tree(
            repo_id, repo_type=repo_type, revision=info.sha, recursive=True, expand=False
        )
        hashes = {
            item.path: item.lfs.sha256 if item.lfs else item.blob_id
            for item in tree
            if isinstance(item, RepoFile)
        }
        refs = api.list_repo_refs(repo_id, repo_type=repo_type)
    tags = frozenset(tag.name for tag in refs.tags)
    return Remote(info.sha, hashes, tags, bool(info.private))


def folder_files(folder: Path) -> dict[str, Path]:
    """Path in the repo to file, for all that belongs there, sorted."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        unwanted = any(fnmatch.fnmatch(part, pattern) for part in parts for pattern in LEFT_OUT)
        if path.is_file() and not unwanted:
            found["/".join(parts)] = path
    return found


def plan(folder: Path, remote: Remote | None) -> Plan:
    """Compare a folder with the repo, by content."""
    files = folder_files(folder)
    hashes = remote.hashes if remote else {}
    added = {
        name: path
        for name, path in files.items()
        if name not in hashes or _hash_like(path, hashes[name]) != hashes[name]
    }
    deleted = [name for name in hashes if name not in files and name not in HUB_OWN]
    return Plan(added, deleted, len(files) - len(added), remote.commit if remote else None)


def commit(
    api: HfApi,
    repo_id: str,
    repo_type: str,
    changes: Plan,
    message: str,
    *,
    description: str = "",
    create_pr: bool = False,
) -> CommitInfo:
    """Send a plan as one commit on `main`, or as one pull request.

    Raises:
        UserError: someone else was faster, no right to write, or the connection was lost; the
            repo is then as it was.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
        for name, path in changes.added.items()
    ]
    operations += [CommitOperationDelete(name, is_folder=False) for name in changes.deleted]
    parent = changes.parent
    with hub_errors(repo_id, repo_type=repo_type):
        if parent is None:
            # A new repo holds one commit of the Hub's own.
            parent = api.repo_info(repo_id, repo_type=repo_type).sha
        return api.create_commit(
            repo_id,
            operations,
            repo_type=repo_type,
            commit_message=message,
            commit_description=description,
            parent_commit=parent,
            create_pr=create_pr,
        )


def _hash_like(path: Path, other: str) -> str:
    """The file's hash of the kind that `other` is."""
    return file_sha256(path) if len(other) == 64 else file_git_sha1(path)


def _size(count: int) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
