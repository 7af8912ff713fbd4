"""Bytes in and out: upload modes, LFS, commits, downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from . import cards, community
from .repos import suffixes_in_lfs
from .routing import find_repo, flag, payload, route, user_of
from .store import File, HubError, Repo, entry_not_found, git_blob_sha, revision_not_found

REGULAR_LIMIT = 10 << 20  # bytes that a file may have in git itself


# Uploads


@route("POST", "/api/{t}/{R}/preupload/{rev}")
async def preupload(hub, request: Request, type: str, id: str, rev: str) -> dict:
    repo = access_for_commit(hub, request, type, id, rev)
    present = hub.store.files(repo, rev)
    suffixes = suffixes_in_lfs(type)

    def mode(item: dict) -> str:
        binary = b"\0" in base64.b64decode(item.get("sample") or "")
        suffix = PurePosixPath(item["path"]).suffix.removeprefix(".").lower()
        large = item["size"] > REGULAR_LIMIT
        return "lfs" if large or binary or suffix in suffixes else "regular"

    def oid(file: File | None) -> str | None:
        return file and (file.sha256 if file.lfs else file.oid)

    return {
        "commitOid": repo.resolve(rev),
        "files": [
            {
                "path": item["path"],
                "uploadMode": mode(item),
                "shouldIgnore": False,
                "oid": oid(present.get(item["path"])),
            }
            for item in (await payload(request))["files"]
        ],
    }


@route("POST", r"/{P}{R}\.git/info/lfs/objects/batch")
async def lfs_batch(hub, request: Request, type: str, id: str) -> JSONResponse:
    data = await payload(request)
    upload = data["operation"] == "upload"
    # Whether the files end in a pull request is not known yet.
    find_repo(hub, request, type, id, "propose" if upload else "read")
    answer = {
        "transfer": "basic",
        "objects": [lfs_actions(hub, o, upload) for o in data["objects"]],
    }
    return JSONResponse(answer, media_type="application/vnd.git-lfs+json")


def lfs_actions(hub, item: dict, upload: bool) -> dict:
    oid = item["oid"]
    present = hub.store.object_path(oid).is_file()
    href = f"{hub.cdn}/lfs/{oid}"
    if upload == present:
        return {**item, **({} if upload else {"error": {"code": 404, "message": "not found"}})}
    if not upload:
        return {**item, "actions": {"download": {"href": href}}}
    verify = {"href": f"{hub.endpoint}/lfs/verify"}
    return {**item, "actions": {"upload": {"href": href}, "verify": verify}}


@route("PUT", "/lfs/{name}")
async def lfs_put(hub, request: Request, name: str) -> Response:
    """The storage behind the Hub: signed addresses on another host, no token."""
    if request.headers.get("authorization"):
        raise HubError(400, "Only one auth mechanism allowed")
    partial = hub.store.root / "incoming" / uuid.uuid4().hex
    digest = hashlib.sha256()
    with partial.open("wb") as file:
        async for chunk in request.stream():
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != name:
        partial.unlink()
        raise HubError(400, "The content does not match its hash")
    partial.replace(hub.store.object_path(name))
    return Response(headers={"ETag": f'"{digest.hexdigest()}"'})


@route("POST", "/lfs/verify")
async def lfs_verify(hub, request: Request) -> dict:
    data = await payload(request)
    if hub.store.lfs_file(data["oid"]).size != data["size"]:
        raise HubError(400, "The size does not match")
    return {}


# Commits


def access_for_commit(hub, request: Request, type: str, id: str, rev: str) -> Repo:
    """Everybody with a write token may open a pull request, and then add to it."""
    propose = flag(request, "create_pr") or rev.startswith("refs/pr/")
    return find_repo(hub, request, type, id, "propose" if propose else "write")


@route("POST", "/api/{t}/{R}/commit/{rev}")
async def commit(hub, request: Request, type: str, id: str, rev: str) -> dict:
    lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
    repo = access_for_commit(hub, request, type, id, rev)
    if not repo.is_head(rev):
        raise revision_not_found(rev)
    header = next(line["value"] for line in lines if line["key"] == "header")
    head, parent = repo.resolve(rev), header.get("parentCommit")
    create_pr = flag(request, "create_pr")
    if parent and not head.startswith(parent):
        if not create_pr:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        head = repo.resolve(parent)
    files = apply(hub, repo, dict(hub.store.commit(head).files), lines)
    user, title, text = user_of(hub, request), header["summary"], header.get("description") or ""
    answer = {"success": True}
    if create_pr:
        discussion = community.open_pull_request(repo, user.name, title, text, head, rev)
        rev = f"refs/pr/{discussion['num']}"
        answer["pullRequestUrl"] = community.url(hub, repo, discussion)
    new = hub.store.add_commit(repo, rev, files, title, text, [head], user.name)
    if rev.startswith("refs/pr/"):
        community.note_commit(repo, rev, new)
        hub.store.save(repo)
    return {
        **answer,
        "commitOid": new.sha,
        "commitUrl": f"{hub.endpoint}/{repo.url_path}/commit/{new.sha}",
    }


def apply(hub, repo: Repo, files: dict[str, File], lines: list[dict]) -> dict[str, File]:
    """The tree after the operations of a commit. Deletions come first, as on the Hub."""
    for line in sorted(lines, key=lambda line: not line["key"].startswith("deleted")):
        key, value = line["key"], line["value"]
        if key == "header":
            continue
        path = value["path"]
        if key == "deletedFile":
            if path not in files:
                raise entry_not_found(f"A file with this name doesn't exist: {path}")
            del files[path]
        elif key == "deletedFolder":
            gone = [name for name in files if name.startswith(path.rstrip("/") + "/")]
            if not gone:
                raise entry_not_found(f"A folder with this name doesn't exist: {path}")
            for name in gone:
                del files[name]
        elif key in ("file", "lfsFile"):
            check_path(path)
            files[path] = (
                hub.store.lfs_file(value["oid"])
                if key == "lfsFile"
                else regular_file(hub, repo, path, base64.b64decode(value["content"]))
            )
        else:
            raise HubError(400, f"Unknown operation {key}")
    return files


def check_path(path: str) -> None:
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts or ".git" in parts:
        raise HubError(400, f"Invalid path: {path}")


def regular_file(hub, repo: Repo, path: str, data: bytes) -> File:
    if len(data) > REGULAR_LIMIT:
        raise HubError(400, f"Your push was rejected: {path} is larger than 10 MiB, use git-lfs")
    if path == "README.md":
        errors, _ = cards.check_card(data.decode(), repo.type[:-1])
        if errors:
            raise HubError(400, "Invalid metadata in README.md. " + "\n".join(errors))
    return hub.store.put(data)


# Downloads


@route("GET HEAD", "/{P}{R}/(?:resolve|raw)/{rev}/{path}")
def resolve(hub, request: Request, type: str, id: str, rev: str, path: str) -> Response:
    repo = find_repo(hub, request, type, id, "read")
    commit = hub.store.commit(repo.resolve(rev))
    file = commit.files.get(path)
    if file is None:
        raise entry_not_found(f"Entry not found: {path}", commit.sha)
    headers = {"X-Repo-Commit": commit.sha, "Cache-Control": "no-store"}
    if not file.lfs:
        headers["ETag"] = f'"{file.oid}"'
        return FileResponse(hub.store.object_path(file.sha256), headers=headers)
    headers |= {
        "X-Linked-Etag": f'"{file.sha256}"',
        "X-Linked-Size": str(file.size),
        "ETag": f'"{git_blob_sha(file.sha256.encode())}"',
        "Location": f"{hub.cdn}/lfs/{file.sha256}",
    }
    if file.xet:
        headers["X-Xet-Hash"] = file.xet
        token = f"{hub.endpoint}/api/{type}/{id}/xet-read-token/{commit.sha}"
        headers["Link"] = f'<{token}>; rel="xet-auth"'
    return Response(status_code=302, headers=headers)


@route("GET HEAD", "/lfs/{name}")
def lfs_get(hub, request: Request, name: str) -> Response:
    path = hub.store.object_path(name)
    if request.headers.get("authorization"):
        raise HubError(400, "Only one auth mechanism allowed")
    if not path.is_file():
        raise HubError(404, "No such object")
    return FileResponse(path, headers={"ETag": f'"{name}"'})
