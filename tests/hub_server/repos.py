"""Accounts, repos, and what can be listed about them."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse

from . import cards
from .routing import find_repo, flag, paged, payload, route, user_of, writer
from .store import File, HubError, Repo, entry_not_found

LFS_SUFFIXES = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib keras mlmodel model msgpack npy npz onnx ot parquet pb"
    " pickle pkl pt pth rar safetensors tar tflite tgz wasm xz zip zst"
)
IMAGE_SUFFIXES = " jpg jpeg png tiff webp"
SPACE_README = "---\ntitle: {}\nsdk: {}\n---\n"


def suffixes_in_lfs(type: str) -> list[str]:
    return (LFS_SUFFIXES + (IMAGE_SUFFIXES if type == "datasets" else "")).split()


@route("GET", "/api/whoami-v2")
def whoami(hub, request: Request) -> dict:
    user = user_of(hub, request)
    if user is None:
        raise HubError(401, "Invalid username or password.")
    return {
        "type": "user",
        "id": hashlib.sha1(user.name.encode()).hexdigest()[:24],
        "name": user.name,
        "fullname": user.name.title(),
        "orgs": []
        if user.name in hub.strangers
        else [{"type": "org", "name": "org", "fullname": "Org", "roleInOrg": "admin"}],
        "auth": {
            "type": "access_token",
            "accessToken": {"displayName": f"{user.role} token", "role": user.role},
        },
    }


@route("POST", "/api/validate-yaml")
async def validate_yaml(hub, request: Request) -> JSONResponse:
    data = await payload(request)
    errors, warnings = cards.check_card(data["content"], data.get("repoType") or "model")
    content = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    if errors:
        content["error"] = "\n".join(errors)
    return JSONResponse(content, 400 if errors else 200)


@route("POST", "/api/repos/create")
async def create(hub, request: Request) -> JSONResponse:
    data = await payload(request)
    user = writer(hub, request)
    namespace = data.get("organization") or user.name
    writer(hub, request, namespace)
    type, id = (data.get("type") or "model") + "s", f"{namespace}/{data['name']}"
    repo = hub.store.repo(type, id)
    if repo:
        url = f"{hub.endpoint}/{repo.url_path}"
        return JSONResponse({"error": "You already created this repo", "url": url}, 409)
    if type == "spaces" and hub.paid_spaces and data.get("sdk") != "static":
        raise HubError(402, "A Space on this hardware needs a PRO subscription or a grant.")
    private = data.get("visibility", "public") == "private" or bool(data.get("private"))
    repo = Repo(type, id, user.name, private=private, sdk=data.get("sdk"))
    attributes = "".join(
        f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in suffixes_in_lfs(type)
    )
    files = {".gitattributes": hub.store.put(attributes.encode())}
    if type == "spaces":
        readme = SPACE_README.format(data["name"], data["sdk"])
        files["README.md"] = hub.store.put(readme.encode())
    hub.store.add_commit(repo, "main", files, "initial commit", author=user.name)
    return JSONResponse({"url": f"{hub.endpoint}/{repo.url_path}", "name": id, "id": id})


@route("PUT", "/api/{t}/{R}/settings")
async def settings(hub, request: Request, type: str, id: str) -> dict:
    repo = find_repo(hub, request, type, id, "write")
    data = await payload(request)
    if "visibility" in data or "private" in data:
        repo.private = data.get("visibility") == "private" or bool(data.get("private"))
    repo.gated = data.get("gated", repo.gated)
    hub.store.save(repo)
    return {"private": repo.private, "gated": repo.gated}


@route("GET", "/api/{t}/{R}/auth-check(?P<write>/write)?")
def auth_check(hub, request: Request, type: str, id: str, write: str = "") -> dict:
    find_repo(hub, request, type, id, "write" if write else "read")
    return {}


def repo_info(hub, repo: Repo, rev: str, blobs: bool) -> dict:
    commit = hub.store.commit(repo.resolve(rev))
    card = {}
    if "README.md" in commit.files:
        try:
            text = hub.store.read(commit.files["README.md"]).decode()
            card = cards.front_matter(text) or {}
        except (yaml.YAMLError, ValueError):
            card = {}
    info = {
        "_id": hashlib.sha1(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.id.split("/")[0],
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags") or [],
        "cardData": card,
        "siblings": [sibling(path, file, blobs) for path, file in commit.files.items()],
    }
    if repo.type == "models":
        info |= {"modelId": repo.id, "pipeline_tag": card.get("pipeline_tag")}
        info |= {"library_name": card.get("library_name"), "spaces": []}
        info["model-index"] = card.get("model-index")
    if repo.type == "spaces":
        info |= {"sdk": card.get("sdk", repo.sdk), "subdomain": repo.id.replace("/", "-")}
    return info


def sibling(path: str, file: File, blobs: bool) -> dict:
    item: dict = {"rfilename": path}
    if blobs:
        item |= {"size": file.size, "blobId": file.oid}
        if file.lfs:
            item["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
    return item


@route("GET", "/api/{t}/{R}")
@route("GET", "/api/{t}/{R}/revision/{rev}")
def info(hub, request: Request, type: str, id: str, rev: str = "main") -> dict:
    repo = find_repo(hub, request, type, id)
    return repo_info(hub, repo, rev, blobs=flag(request, "blobs"))


# Trees


def entries(hub, repo: Repo, rev: str, expand: bool) -> dict[str, dict]:
    """Path -> what the tree says about it, folders included."""
    files = hub.store.files(repo, rev)
    found: dict[str, dict] = {}
    for path, file in files.items():
        for end in (i for i, letter in enumerate(path) if letter == "/"):
            folder = path[:end]
            if folder not in found:
                inside = [f.oid for p, f in files.items() if p.startswith(folder + "/")]
                oid = hashlib.sha1("".join(inside).encode()).hexdigest()
                found[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        item = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
        if file.lfs:
            item["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
        if file.xet:
            item["xetHash"] = file.xet
        found[path] = item
    if expand:
        for path, item in found.items():
            commit = hub.store.last_change(repo, rev, path)
            item["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": commit.date}
    return found


@route("GET", "/api/{t}/{R}/tree/{rev}(?:/{path})?")
def tree(hub, request: Request, type: str, id: str, rev: str, path: str = "") -> JSONResponse:
    repo = find_repo(hub, request, type, id)
    found = entries(hub, repo, rev, flag(request, "expand"))
    path = path.rstrip("/")
    if path and found.get(path, {}).get("type") != "directory":
        raise entry_not_found(f"{path} does not exist on {rev!r}", repo.resolve(rev))
    inside = path + "/" if path else ""
    listed = [
        found[name]
        for name in sorted(found)
        if name.startswith(inside)
        and (flag(request, "recursive") or "/" not in name.removeprefix(inside))
    ]
    return paged(hub, request, listed)


@route("POST", "/api/{t}/{R}/paths-info/{rev}")
async def paths_info(hub, request: Request, type: str, id: str, rev: str) -> list[dict]:
    repo = find_repo(hub, request, type, id)
    form = parse_qs((await request.body()).decode())
    expand = form.get("expand", [""])[0].lower() == "true"
    found = entries(hub, repo, rev, expand)
    paths = [path.strip("/") for path in form.get("paths", [])]
    return [found[path] for path in paths if path in found]


# Refs and history


@route("GET", "/api/{t}/{R}/refs")
def refs(hub, request: Request, type: str, id: str) -> dict:
    repo = find_repo(hub, request, type, id)

    def named(prefix: str) -> list[dict]:
        short = "" if prefix != "refs/pr/" else "refs/pr/"
        return [
            {"name": short + name, "ref": prefix + name, "targetCommit": sha}
            for name, sha in repo.refs()[prefix].items()
        ]

    answer = {"branches": named("refs/heads/"), "converts": [], "tags": named("refs/tags/")}
    if flag(request, "include_prs"):
        answer["pullRequests"] = named("refs/pr/")
    return answer


@route("GET", "/api/{t}/{R}/commits/{rev}")
def commits(hub, request: Request, type: str, id: str, rev: str) -> JSONResponse:
    repo = find_repo(hub, request, type, id)
    listed = [
        {
            "id": commit.sha,
            "title": commit.title,
            "message": commit.description,
            "authors": [{"user": commit.author}],
            "date": commit.date,
        }
        for commit in hub.store.history(repo, rev)
    ]
    return paged(hub, request, listed)


@route("POST", "/api/{t}/{R}/tag/{rev}")
async def tag(hub, request: Request, type: str, id: str, rev: str) -> dict:
    repo = find_repo(hub, request, type, id, "write")
    name = (await payload(request))["tag"]
    if name in repo.tags:
        raise HubError(409, f"Tag reference exists already: {name}")
    repo.tags[name] = repo.resolve(rev)
    hub.store.save(repo)
    return {}
