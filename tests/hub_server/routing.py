"""How a request finds its handler, and who may do what."""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .store import HubError, Repo

ROUTES: list[tuple[str, re.Pattern, Callable]] = []
PAGE_SIZE = 1000  # entries of a tree or a list
PLACEHOLDERS = {
    "{t}": "(?P<type>models|datasets|spaces)",
    "{P}": "(?P<prefix>datasets/|spaces/)?",
    "{R}": "(?P<id>[^/]+/[^/]+?)",
    "{rev}": "(?P<rev>refs/(?:pr|heads|tags|convert)/[^/]+|[^/]+)",
    "{name}": "(?P<name>[^/]+)",
    "{n}": "(?P<n>[0-9]+)",
    "{path}": "(?P<path>.+)",
}


@dataclass(frozen=True)
class User:
    name: str
    role: str  # read or write

    def owns(self, namespace: str, strangers: set[str]) -> bool:
        """Everybody but a stranger shares all namespaces that are not a stranger's."""
        return namespace == self.name or (self.name not in strangers and namespace not in strangers)


def route(methods: str, pattern: str) -> Callable:
    """Register `handler(hub, request, **groups)`; groups arrive percent-decoded."""
    for name, regex in PLACEHOLDERS.items():
        pattern = pattern.replace(name, regex)

    def register(handler: Callable) -> Callable:
        ROUTES.extend((method, re.compile(pattern), handler) for method in methods.split())
        return handler

    return register


def application(hub) -> Callable:
    """The ASGI application. Paths are matched as sent: `refs%2Fpr%2F1` is one segment."""

    async def app(scope: dict, receive: Callable, send: Callable) -> None:
        try:
            response = await dispatch(hub, Request(scope, receive))
        except HubError as error:
            headers = {"X-Error-Message": error.message.replace("\n", " "), **error.headers}
            if error.code:
                headers["X-Error-Code"] = error.code
            response = JSONResponse({"error": error.message}, error.status, headers)
        response.headers["X-Request-Id"] = uuid.uuid4().hex
        await response(scope, receive, send)

    return app


async def dispatch(hub, request: Request) -> Response:
    path = request.scope["raw_path"].decode("latin-1")
    for method, pattern, handler in ROUTES:
        match = pattern.fullmatch(path) if method == request.method else None
        if not match:
            continue
        groups = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
        if "prefix" in pattern.groupindex:
            groups["type"] = groups.pop("prefix", "models").rstrip("/")
        answer = handler(hub, request, **groups)
        answer = await answer if inspect.isawaitable(answer) else answer
        return answer if isinstance(answer, Response) else JSONResponse(answer)
    raise HubError(404, f"The test Hub has no {request.method} {path}")


async def payload(request: Request) -> dict:
    data = await request.body()
    return json.loads(data) if data else {}


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("1", "true")


def paged(hub, request: Request, items: list) -> JSONResponse:
    """One page of a list; the address of the next one stands in the Link header."""
    query = dict(request.query_params)
    size, start = int(query.get("limit", PAGE_SIZE)), int(query.get("cursor", 0))
    headers = {}
    if start + size < len(items):
        path = request.scope["raw_path"].decode("latin-1")
        following = urlencode({**query, "cursor": start + size})
        headers["Link"] = f'<{hub.endpoint}{path}?{following}>; rel="next"'
    return JSONResponse(items[start : start + size], headers=headers)


def user_of(hub, request: Request) -> User | None:
    """Who sends this, None without a token; an unknown token is refused."""
    header = request.headers.get("authorization")
    if not header:
        return None
    user = hub.users.get(header.removeprefix("Bearer "))
    if user is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return user


def writer(hub, request: Request, namespace: str | None = None) -> User:
    """The user behind a write token, who may write in the namespace."""
    user = user_of(hub, request)
    if user is None:
        raise HubError(401, "Invalid username or password.")
    if user.role != "write":
        raise HubError(
            403, "Forbidden: you must use a write token to upload to a repository.", "Forbidden"
        )
    if namespace and not user.owns(namespace, hub.strangers):
        raise HubError(403, f"You don't have the rights to write under the namespace {namespace}")
    return user


def find_repo(hub, request: Request, type: str, id: str, access: str = "see") -> Repo:
    """The repo, if it exists and this caller may `see` its listing, `read` its files,
    `propose` a pull request or `write`."""
    user, repo, namespace = user_of(hub, request), hub.store.repo(type, id), id.split("/")[0]
    owner = user is not None and user.owns(namespace, hub.strangers)
    if repo is None or (repo.private and not owner):
        if user is None:
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        raise HubError(404, "Repository not found", "RepoNotFound")
    if access == "read" and repo.gated and not owner:
        message = f"Access to {type[:-1]} {id} is restricted."
        raise HubError(401 if user is None else 403, message, "GatedRepo")
    if access in ("propose", "write"):
        writer(hub, request, namespace if access == "write" else None)
    return repo
