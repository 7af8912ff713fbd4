"""What a Space has besides its files: settings, hardware, and the stages of its life."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from .routing import find_repo, payload, route
from .store import HubError, Repo, now

HARDWARE = "cpu-basic cpu-upgrade cpu-xl zero-a10g t4-small t4-medium l4x1 a10g-small a100-large"


@route("GET POST DELETE", "/api/spaces/{R}/(?P<kind>secrets|variables)")
async def settings(hub, request: Request, id: str, kind: str) -> dict:
    repo = find_repo(hub, request, "spaces", id, "write")
    stored, data = getattr(repo, kind), await payload(request)
    if request.method == "POST":
        stored[data["key"]] = {**data, "updatedAt": now()}
    if request.method == "DELETE":
        stored.pop(data["key"], None)
    hub.store.save(repo)
    hidden = {"value"} if kind == "secrets" else set()
    return {
        key: {name: value for name, value in item.items() if name not in hidden}
        for key, item in stored.items()
    }


def runtime_of(repo: Repo) -> dict:
    stage = repo.stages[0]
    if stage == "RUNNING":
        repo.hardware["current"] = repo.hardware["requested"]
    runtime = {"stage": stage, "hardware": repo.hardware, "gcTimeout": repo.sleep_time}
    if stage.endswith("_ERROR"):
        runtime["errorMessage"] = "the Space failed, see its log"
    return runtime


@route("GET", "/api/spaces/{R}/runtime")
def runtime(hub, request: Request, id: str) -> dict:
    """Every look moves the Space one stage on."""
    repo = find_repo(hub, request, "spaces", id)
    answer = runtime_of(repo)
    if len(repo.stages) > 1:
        del repo.stages[0]
    hub.store.save(repo)
    return answer


@route("GET", "/api/spaces/{R}/logs/(?P<what>build|run)")
def logs(hub, request: Request, id: str, what: str) -> Response:
    repo = find_repo(hub, request, "spaces", id, "write")
    events = [json.dumps({"data": line, "timestamp": repo.created}) for line in hub.space_log]
    text = "".join(f"data: {event}\n\n" for event in events)
    return Response(text, media_type="text/event-stream")


@route("POST", "/api/spaces/{R}/(?P<what>hardware|sleeptime|restart|pause)")
async def control(hub, request: Request, id: str, what: str) -> dict:
    repo = find_repo(hub, request, "spaces", id, "write")
    data = await payload(request)
    if what == "hardware":
        if data["flavor"] not in HARDWARE.split():
            raise HubError(400, f"Unknown hardware {data['flavor']}")
        if data["flavor"] != "cpu-basic" and hub.paid_spaces:
            raise HubError(402, "This hardware needs a payment method.")
        repo.hardware["requested"] = data["flavor"]
    if what == "pause":
        repo.stages = ["PAUSED"]
    if what in ("hardware", "restart"):
        repo.stages = list(hub.space_stages)
    repo.sleep_time = data.get("sleepTimeSeconds", data.get("seconds", repo.sleep_time))
    hub.store.save(repo)
    return runtime_of(repo)
