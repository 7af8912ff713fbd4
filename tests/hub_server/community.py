"""Pull requests, which are all the discussions that this Hub has."""

from __future__ import annotations

import uuid

from starlette.requests import Request

from .routing import find_repo, payload, route, user_of
from .store import Commit, HubError, Repo, now


def event(kind: str, author: str, data: dict) -> dict:
    return {
        "id": uuid.uuid4().hex[:24],
        "type": kind,
        "createdAt": now(),
        "author": {"name": author},
        "data": data,
    }


def comment(author: str, text: str) -> dict:
    return event("comment", author, {"edited": False, "hidden": False, "latest": {"raw": text}})


def open_pull_request(repo: Repo, author: str, title: str, text: str, head: str, base: str) -> dict:
    """Add a pull request, with its ref at `head`."""
    num = len(repo.discussions) + 1
    discussion = {
        "num": num,
        "title": title,
        "author": {"name": author},
        "createdAt": now(),
        "status": "open",
        "isPullRequest": True,
        "repo": {"name": repo.id, "type": repo.type[:-1]},
        "events": [comment(author, text)],
        "changes": {"base": f"refs/heads/{base}"},
        "filesWithConflicts": [],
        "fork_point": head,
    }
    repo.pull_requests[str(num)] = head
    repo.discussions.append(discussion)
    return discussion


def note_commit(repo: Repo, ref: str, commit: Commit) -> None:
    discussion = repo.discussions[int(ref.rsplit("/", 1)[1]) - 1]
    data = {"subject": commit.title, "oid": commit.sha}
    discussion["events"].append(event("commit", commit.author, data))


def url(hub, repo: Repo, discussion: dict) -> str:
    return f"{hub.endpoint}/{repo.url_path}/discussions/{discussion['num']}"


def find(repo: Repo, n: str) -> dict:
    if not 0 < int(n) <= len(repo.discussions):
        raise HubError(404, f"Discussion {n} not found")
    return repo.discussions[int(n) - 1]


@route("GET", "/api/{t}/{R}/discussions")
def listing(hub, request: Request, type: str, id: str) -> dict:
    repo = find_repo(hub, request, type, id)
    status, author = (request.query_params.get(key) for key in ("status", "author"))
    found = [
        discussion
        for discussion in repo.discussions
        if author in (None, discussion["author"]["name"])
        and (status in (None, "all") or (discussion["status"] == "open") == (status == "open"))
    ]
    start = min(len(found), 50 * int(request.query_params.get("p", 0)))
    return {"count": len(found), "start": start, "discussions": found[start : start + 50]}


@route("GET", "/api/{t}/{R}/discussions/{n}")
def details(hub, request: Request, type: str, id: str, n: str) -> dict:
    return find(find_repo(hub, request, type, id), n)


@route("POST", "/api/{t}/{R}/discussions/{n}/comment")
async def add_comment(hub, request: Request, type: str, id: str, n: str) -> dict:
    repo = find_repo(hub, request, type, id, "propose")
    message = comment(user_of(hub, request).name, (await payload(request))["comment"])
    find(repo, n)["events"].append(message)
    hub.store.save(repo)
    return {"newMessage": message}


@route("POST", "/api/{t}/{R}/discussions/{n}/title")
async def rename(hub, request: Request, type: str, id: str, n: str) -> dict:
    repo, user = find_repo(hub, request, type, id, "propose"), user_of(hub, request)
    discussion, data = find(repo, n), await payload(request)
    if user.name != discussion["author"]["name"]:
        find_repo(hub, request, type, id, "write")
    titles = {"from": discussion["title"], "to": data["title"]}
    discussion["title"] = data["title"]
    change = event("title-change", user.name, titles)
    discussion["events"].append(change)
    hub.store.save(repo)
    return {"newTitle": change}


@route("POST", "/api/{t}/{R}/discussions/{n}/status")
async def status(hub, request: Request, type: str, id: str, n: str) -> dict:
    repo = find_repo(hub, request, type, id, "write")
    discussion, data = find(repo, n), await payload(request)
    discussion["status"] = data["status"]
    change = event("status-change", user_of(hub, request).name, {"status": data["status"]})
    discussion["events"].append(change)
    hub.store.save(repo)
    return {"newStatus": change}


@route("POST", "/api/{t}/{R}/discussions/{n}/merge")
def merge(hub, request: Request, type: str, id: str, n: str) -> dict:
    """Replay what the pull request changed since its fork point onto its base branch."""
    repo = find_repo(hub, request, type, id, "write")
    discussion, user = find(repo, n), user_of(hub, request)
    if discussion["status"] != "open":
        raise HubError(400, "This is not an open pull request")
    base = discussion["changes"]["base"].removeprefix("refs/heads/")
    before = hub.store.commit(discussion["fork_point"]).files
    theirs = hub.store.commit(repo.pull_requests[n]).files
    ours = dict(hub.store.files(repo, base))
    changed = {p for p in before.keys() | theirs.keys() if before.get(p) != theirs.get(p)}
    conflicts = [p for p in sorted(changed) if ours.get(p) not in (before.get(p), theirs.get(p))]
    if conflicts:
        discussion["filesWithConflicts"] = conflicts
        raise HubError(409, f"Merge conflict in {', '.join(conflicts)}")
    for path in changed:
        ours.pop(path, None)
        if path in theirs:
            ours[path] = theirs[path]
    parents = [repo.resolve(base), repo.pull_requests[n]]
    title = f"{discussion['title']} (#{n})"
    commit = hub.store.add_commit(repo, base, ours, title, "", parents, user.name)
    discussion["status"] = "merged"
    discussion["changes"]["mergeCommitId"] = commit.sha
    discussion["events"].append(event("status-change", user.name, {"status": "merged"}))
    hub.store.save(repo)
    return {}
