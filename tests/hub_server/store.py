"""The repos of the test Hub on disk: content by hash, commits by hash, one JSON per repo.

    objects/<sha256>            content, shared by all repos
    commits/<sha>.json          a commit with its whole tree
    repos/<type>/<ns>/<name>.json   refs, settings, discussions

Every state can be rebuilt from these files, so a server can be stopped and started again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path


class HubError(Exception):
    """An answer with an error status; `code` travels as `X-Error-Code`."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = headers or {}


def revision_not_found(rev: str) -> HubError:
    return HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")


def entry_not_found(message: str, commit: str | None = None) -> HubError:
    return HubError(404, message, "EntryNotFound", {"X-Repo-Commit": commit} if commit else None)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def git_blob_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class File:
    """One file of a commit. `oid` is git's: of the content, or of the pointer if `lfs`."""

    sha256: str
    size: int
    oid: str
    lfs: bool = False
    xet: str | None = None


@dataclass
class Commit:
    sha: str
    parents: list[str]
    title: str
    description: str
    author: str
    date: str
    files: dict[str, File]


@dataclass
class Repo:
    type: str  # models, datasets or spaces
    id: str
    author: str
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    created: str = field(default_factory=now)
    commits: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)
    discussions: list[dict] = field(default_factory=list)

    @property
    def url_path(self) -> str:
        return self.id if self.type == "models" else f"{self.type}/{self.id}"

    def refs(self) -> dict[str, dict[str, str]]:
        """Full ref name prefix -> the names under it."""
        return {
            "refs/heads/": self.branches,
            "refs/tags/": self.tags,
            "refs/pr/": self.pull_requests,
        }

    def resolve(self, rev: str) -> str:
        """The commit that a branch, tag, full or short sha, or `refs/pr/N` stands for."""
        for prefix, names in self.refs().items():
            if rev.startswith(prefix) and rev.removeprefix(prefix) in names:
                return names[rev.removeprefix(prefix)]
        for names in (self.branches, self.tags):
            if rev in names:
                return names[rev]
        if rev.startswith("pr/") and rev[3:] in self.pull_requests:
            return self.pull_requests[rev[3:]]
        matches = [sha for sha in self.commits if len(rev) >= 7 and sha.startswith(rev)]
        if len(matches) != 1:
            raise revision_not_found(rev)
        return matches[0]

    def set_head(self, rev: str, sha: str) -> None:
        """Move a branch or a pull request to a commit."""
        if rev.startswith("refs/pr/"):
            self.pull_requests[rev.removeprefix("refs/pr/")] = sha
        else:
            self.branches[rev.removeprefix("refs/heads/")] = sha

    def is_head(self, rev: str) -> bool:
        if rev.startswith("refs/pr/"):
            return rev.removeprefix("refs/pr/") in self.pull_requests
        return rev.removeprefix("refs/heads/") in self.branches


class Store:
    """All repos under one folder."""

    def __init__(self, root: Path):
        self.root = Path(root)
        for name in ("objects", "commits", "repos", "incoming", "xorbs", "xet"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.repos: dict[tuple[str, str], Repo] = {}
        self._commits: dict[str, Commit] = {}
        for path in (self.root / "repos").glob("*/*/*.json"):
            repo = Repo(**json.loads(path.read_text()))
            self.repos[repo.type, repo.id] = repo

    # Content

    def object_path(self, sha256: str) -> Path:
        return self.root / "objects" / sha256

    def put(self, data: bytes) -> File:
        sha256 = hashlib.sha256(data).hexdigest()
        self.object_path(sha256).write_bytes(data)
        return File(sha256, len(data), git_blob_sha(data))

    def lfs_file(self, sha256: str) -> File:
        """The entry for content that was uploaded before; raises when it was not."""
        path = self.object_path(sha256)
        if not path.is_file():
            raise HubError(
                400,
                "Your push was rejected because an LFS pointer pointed to a file that does not"
                f" exist. Offending object: {sha256}",
            )
        size = path.stat().st_size
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        xet = self.xet_file(sha256)
        oid = git_blob_sha(pointer.encode())
        return File(sha256, size, oid, lfs=True, xet=xet and xet["hash"])

    def read(self, file: File) -> bytes:
        return self.object_path(file.sha256).read_bytes()

    # Xet: xorbs as they came, and how files are made of them

    def xorb_path(self, name: str) -> Path:
        return self.root / "xorbs" / name

    def save_xet(self, file: dict) -> None:
        """Remember a file that came through Xet, by its Xet hash and by its SHA-256."""
        for key in ("hash", "sha256"):
            (self.root / "xet" / f"{file[key]}.json").write_text(json.dumps(file))

    def xet_file(self, key: str) -> dict | None:
        path = self.root / "xet" / f"{key}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    # Repos

    def repo(self, type: str, id: str) -> Repo | None:
        return self.repos.get((type, id))

    def _repo_path(self, repo: Repo) -> Path:
        return self.root / "repos" / repo.type / f"{repo.id}.json"

    def save(self, repo: Repo) -> None:
        path = self._repo_path(repo)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(repo)))
        temporary.replace(path)
        self.repos[repo.type, repo.id] = repo

    def delete(self, type: str, id: str) -> None:
        repo = self.repos.pop((type, id), None)
        if repo:
            self._repo_path(repo).unlink()

    # Commits

    def commit(self, sha: str) -> Commit:
        if sha not in self._commits:
            data = json.loads((self.root / "commits" / f"{sha}.json").read_text())
            data["files"] = {path: File(**file) for path, file in data["files"].items()}
            self._commits[sha] = Commit(**data)
        return self._commits[sha]

    def add_commit(
        self,
        repo: Repo,
        rev: str,
        files: dict[str, File],
        title: str,
        description: str = "",
        parents: list[str] | None = None,
        author: str | None = None,
    ) -> Commit:
        """Write a commit and move `rev` (a branch, or `refs/pr/N`) to it."""
        fields = {
            "parents": parents or [],
            "title": title,
            "description": description,
            "author": author or repo.author,
            "date": now(),
            "files": {path: asdict(files[path]) for path in sorted(files)},
        }
        # The count keeps two otherwise equal commits of one millisecond apart.
        seed = json.dumps([repo.type, repo.id, len(repo.commits), fields])
        sha = hashlib.sha1(seed.encode()).hexdigest()
        (self.root / "commits" / f"{sha}.json").write_text(json.dumps({"sha": sha, **fields}))
        repo.commits.append(sha)
        repo.set_head(rev, sha)
        self.save(repo)
        return self.commit(sha)

    def files(self, repo: Repo, rev: str = "main") -> dict[str, File]:
        return self.commit(repo.resolve(rev)).files

    def history(self, repo: Repo, rev: str) -> list[Commit]:
        """Newest first, along the first parents."""
        commit = self.commit(repo.resolve(rev))
        commits = [commit]
        while commit.parents:
            commit = self.commit(commit.parents[0])
            commits.append(commit)
        return commits

    def last_change(self, repo: Repo, rev: str, path: str) -> Commit:
        """The commit that last touched a file or a folder."""

        def content(commit: Commit) -> list[tuple[str, str]]:
            return [
                (name, file.oid)
                for name, file in commit.files.items()
                if name == path or name.startswith(path + "/")
            ]

        commits = self.history(repo, rev)
        for commit, parent in pairwise(commits):
            if content(commit) != content(parent):
                return commit
        return commits[-1]
