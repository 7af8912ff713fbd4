"""A folder becomes one commit on the Hub: whole or not at all, and none when nothing changed.

`huggingface_hub.upload_folder` may make several commits when Xet is on; `create_commit` with all
operations makes one, and `parent_commit` lets the Hub refuse it when somebody else was faster.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
)
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from aihealth.errors import UserError
from aihealth.hub import check_repo_id, file_git_sha1, file_sha256, hub_errors
from aihealth.publishing import access

URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
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


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where something is published, and how.

    Attributes:
        repo_id: "org/name".
        private: make a new repo private.
        message: of the commit, None for one of ours.
        token_file: a file that holds the token, None for what the Hub's client finds.
        dry_run: show, send nothing.
    """

    repo_id: str
    private: bool = False
    message: str | None = None
    token_file: str | None = None
    dry_run: bool = False


@dataclasses.dataclass
class Target:
    """A destination that was looked at.

    Attributes:
        to: what was asked for.
        repo_type: "model", "dataset" or "space".
        api: with the token.
        remote: the repo as it is, None where there is none yet.
    """

    to: Destination
    repo_type: str
    api: HfApi
    remote: Remote | None

    @classmethod
    def open(cls, to: Destination, repo_type: str, *, create_pr: bool = False) -> "Target":
        """Look at the repo, and whether the token may do what is meant; a dry run only notes that.

        Args:
            to: where to.
            repo_type: "model", "dataset" or "space".
            create_pr: a pull request is meant, which everybody with a token may open.

        Raises:
            UserError: no token, no right to write, or a repo that is not as asked for.
        """
        check_repo_id(to.repo_id)
        connect = access.connect_to_look if to.dry_run else access.connect
        api = connect(to.token_file)
        try:
            remote = read_remote(api, to.repo_id, repo_type)
        except UserError as error:
            if not to.dry_run or isinstance(error.__context__, (HfHubHTTPError, ValueError)):
                raise
            print(f"note: {error}; everything is shown as new")
            return cls(to, repo_type, api, None)
        if remote and to.private and not remote.private:
            raise UserError(
                f"{to.repo_id} is public already: drop --private, or change its settings"
            )
        if not create_pr:
            try:
                access.check_rights(api, to.repo_id, repo_type, exists=remote is not None)
            except UserError as error:
                if not to.dry_run:
                    raise
                print(f"note: {error}")
        return cls(to, repo_type, api, remote)

    def differs(self, folder: Path) -> bool:
        """Whether a staged folder is another than what the repo holds."""
        return not plan(folder, self.remote).empty

    def send(
        self,
        folder: Path,
        message: str,
        *,
        description: str = "",
        create_pr: bool = False,
        **create: str | None,
    ) -> str | None:
        """Commit a staged folder to `main`, or as a pull request.

        Args:
            folder: holds exactly what the repo is to hold.
            message: of the commit, unless the destination has one.
            description: of the commit or pull request, Markdown.
            create_pr: open a pull request.
            create: for `HfApi.create_repo`, where the repo is new.

        Returns:
            The commit that holds the folder, None in a dry run.

        Raises:
            UserError: it did not work; the sentence says in which state the repo is.
        """
        name, changes = self.to.repo_id, plan(folder, self.remote)
        if changes.empty:
            print(f"{name} already holds exactly this: no new commit")
            return None if self.to.dry_run else self.remote.commit
        if self.to.dry_run:
            new = "" if self.remote else " (new)"
            print(f"would send to {self.repo_type} repo {name}{new}:")
            print("\n".join(changes.lines()))
            return None
        if self.remote is None:
            with hub_errors(name, repo_type=self.repo_type):
                self.api.create_repo(
                    name, repo_type=self.repo_type, private=self.to.private or None, **create
                )
        info = self._commit(changes, self.to.message or message, description, create_pr, folder)
        if info is None:
            return self.remote.commit
        print(info.pr_url or info.commit_url)
        return info.oid

    def _commit(
        self, changes: Plan, message: str, description: str, create_pr: bool, folder: Path
    ) -> CommitInfo | None:
        """One commit with all changes; None where it arrived but its answer did not."""
        name, kind = self.to.repo_id, self.repo_type
        additions = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
            for name, path in changes.added.items()
        ]
        deletions = [CommitOperationDelete(name, is_folder=False) for name in changes.deleted]
        parent = changes.parent
        before = "is as it was" if parent else "is there and empty"
        try:
            with hub_errors(name, repo_type=kind):
                if parent is None:
                    # A new repo holds one commit of the Hub's own.
                    parent = self.api.repo_info(name, repo_type=kind).sha
                self.api.preupload_lfs_files(
                    name, additions, repo_type=kind, create_pr=create_pr, free_memory=False
                )
        except UserError as error:
            raise UserError(f"{error}; {name} {before}") from error.__context__
        try:
            with hub_errors(name, repo_type=kind):
                return self.api.create_commit(
                    name,
                    [*additions, *deletions],
                    repo_type=kind,
                    commit_message=message,
                    commit_description=description,
                    parent_commit=parent,
                    create_pr=create_pr,
                )
        except UserError as error:
            try:
                self.remote = read_remote(self.api, name, kind)
            except UserError:
                raise UserError(
                    f"{error}; whether {name} got the new version is not known: look at "
                    f"{constants.ENDPOINT}/{URL_PREFIX[kind]}{name}, or run this again, which "
                    "sends nothing twice"
                ) from error.__context__
            if self.remote and plan(folder, self.remote).empty:
                return None
            if self.remote is None or self.remote.commit != parent:
                raise
            raise UserError(f"{error}; {name} {before}") from error.__context__


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
