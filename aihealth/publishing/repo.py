"""A repo on the Hub as it is, and what a commit would change."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from aihealth.errors import UserError
from aihealth.hub import check_repo_id, file_git_sha1, file_sha256, hub_errors

# What the Hub itself puts into a repo.
HUB_OWN = (".gitattributes",)

# https://semver.org, with the v that tags carry.
_SEMVER = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")


@dataclasses.dataclass(frozen=True)
class Remote:
    """A repo as it is on the Hub.

    Attributes:
        commit: head of `main`, or of the revision that was asked for, 40 hex digits.
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


def check_tag(tag: str) -> str:
    """The version that a tag names: "v1.2.0" gives "1.2.0".

    Raises:
        UserError: not a semantic version with a leading v.
    """
    if not _SEMVER.fullmatch(tag):
        raise UserError(f"--tag {tag} is not a semantic version such as v1.2.0")
    return tag[1:]


def read_remote(
    api: HfApi, repo_id: str, repo_type: str, revision: str | None = None
) -> Remote | None:
    """The repo as it is now at a revision, `main` by default, or None where there is none.

    Raises:
        UserError: malformed id, no access, or no way to reach the Hub.
    """
    check_repo_id(repo_id)
    with hub_errors(repo_id, repo_type=repo_type):
        try:
            info = api.repo_info(repo_id, repo_type=repo_type, revision=revision)
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


def staged_files(folder: Path) -> dict[str, Path]:
    """Path in the repo to file, of a folder that was staged for it, sorted."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def plan(folder: Path, remote: Remote | None) -> Plan:
    """Compare a staged folder with the repo, by content."""
    files = staged_files(folder)
    hashes = remote.hashes if remote else {}
    added = {
        name: path
        for name, path in files.items()
        if name not in hashes or _hash_like(path, hashes[name]) != hashes[name]
    }
    deleted = [name for name in hashes if name not in files and name not in HUB_OWN]
    return Plan(added, deleted, len(files) - len(added), remote.commit if remote else None)


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
