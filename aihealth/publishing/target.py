"""A folder becomes one commit on the Hub: whole or not at all, and none when nothing changed.

`huggingface_hub.upload_folder` may make several commits when Xet is on; `create_commit` with all
operations makes one, and `parent_commit` lets the Hub refuse it when somebody else was faster.
"""

import dataclasses
from pathlib import Path
from typing import Any

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
)
from huggingface_hub.errors import HfHubHTTPError

from aihealth.errors import UserError
from aihealth.hub import check_repo_id, hub_errors, resolve
from aihealth.publishing import access
from aihealth.publishing.repo import Plan, Remote, plan, read_remote

URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
# Stands in a pull request that `propose` opened; people do not see it.
PROPOSED = "<!-- opened by push_to_hub.py, which brings it up to date when it is run again -->"


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
        api = access.connect(to.token_file, look=to.dry_run)
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

    def download(self, *names: str) -> Path:
        """A folder with the repo as it was looked at, or with these files of it alone."""
        folder, _ = resolve(
            self.to.repo_id,
            repo_type=self.repo_type,
            revision=self.remote.commit,
            token=self.api.token,
            allow_patterns=list(names) or None,
        )
        return folder

    def differs(self, folder: Path) -> bool:
        """Whether a staged folder is another than what the repo holds."""
        return not plan(folder, self.remote).empty

    def send(
        self, folder: Path, message: str, description: str = "", **create: str | None
    ) -> str | None:
        """Commit a staged folder to `main`.

        Args:
            folder: holds exactly what the repo is to hold.
            message: of the commit, unless the destination has one.
            description: of the commit, Markdown.
            create: for `HfApi.create_repo`, where the repo is new.

        Returns:
            The commit that holds the folder, None in a dry run.

        Raises:
            UserError: it did not work; the sentence says in which state the repo is.
        """
        changes = plan(folder, self.remote)
        if self._nothing_to_send(changes):
            return None if self.to.dry_run else self.remote.commit
        self.create(**create)
        info = self._commit(folder, changes, self.to.message or message, description)
        if info is None:
            return self.remote.commit
        print(info.commit_url)
        return info.oid

    def create(self, **how: str | None) -> None:
        """Make the repo where there is none; `how` as `HfApi.create_repo` takes it."""
        if self.remote is None:
            with hub_errors(self.to.repo_id, repo_type=self.repo_type):
                self.api.create_repo(
                    self.to.repo_id,
                    repo_type=self.repo_type,
                    private=self.to.private or None,
                    exist_ok=True,
                    **how,
                )

    def propose(self, folder: Path, title: str, description: str) -> None:
        """Open a pull request, or bring the open one that was opened this way up to date.

        Args:
            folder: holds exactly what the repo is to hold.
            title: of the pull request, unless the destination has a message.
            description: Markdown.

        Raises:
            UserError: it did not work; the sentence says in which state the repo is.
        """
        name, kind, title = self.to.repo_id, self.repo_type, self.to.message or title
        text = f"{description}\n\n{PROPOSED}".strip()
        with hub_errors(name, repo_type=kind):
            number = None if self.to.dry_run else self._open_pull_request()
        if number is None:
            changes = plan(folder, self.remote)
            if not self._nothing_to_send(changes):
                info = self._commit(folder, changes, title, text, create_pr=True)
                print(info.pr_url if info else f"the pull request is open at {name}")
            return
        ref = f"refs/pr/{number}"
        self.remote = read_remote(self.api, name, kind, ref)
        changes = plan(folder, self.remote)
        if self._nothing_to_send(changes):
            return
        self._commit(folder, changes, title, description, revision=ref)
        with hub_errors(name, repo_type=kind):
            self.api.rename_discussion(name, number, new_title=title, repo_type=kind)
            self.api.comment_discussion(
                name, number, comment=f"Brought up to date.\n\n{text}", repo_type=kind
            )
        url = f"{constants.ENDPOINT}/{URL_PREFIX[kind]}{name}/discussions/{number}"
        print(f"brought the open pull request up to date: {url}")

    def _open_pull_request(self) -> int | None:
        """Number of the newest open pull request that this account opened with `propose`."""
        where = {"repo_id": self.to.repo_id, "repo_type": self.repo_type}
        mine = self.api.get_repo_discussions(
            **where,
            author=self.api.whoami()["name"],
            discussion_type="pull_request",
            discussion_status="open",
        )
        for number in sorted((found.num for found in mine), reverse=True):
            events = self.api.get_discussion_details(discussion_num=number, **where).events
            if events and PROPOSED in (getattr(events[0], "content", None) or ""):
                return number
        return None

    def _nothing_to_send(self, changes: Plan) -> bool:
        """Whether the repo holds it already, or this is a dry run, which shows it."""
        if changes.empty:
            print(f"{self.to.repo_id} already holds exactly this: no new commit")
        elif self.to.dry_run:
            new = "" if self.remote else " (new)"
            print(f"would send to {self.repo_type} repo {self.to.repo_id}{new}:")
            print("\n".join(changes.lines()))
        return changes.empty or self.to.dry_run

    def _commit(
        self, folder: Path, changes: Plan, message: str, description: str, **where: Any
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
                    name, additions, repo_type=kind, free_memory=False, **where
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
                    **where,
                )
        except UserError as error:
            try:
                self.remote = read_remote(self.api, name, kind, where.get("revision"))
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
