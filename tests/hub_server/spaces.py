"""What a Space has besides its files: hardware."""

from __future__ import annotations

from starlette.requests import Request

from .routing import find_repo, payload, route
from .store import HubError

HARDWARE = "cpu-basic cpu-upgrade cpu-xl zero-a10g t4-small t4-medium l4x1 a10g-small a100-large"


@route("POST", "/api/spaces/{R}/hardware")
async def hardware(hub, request: Request, id: str) -> dict:
    find_repo(hub, request, "spaces", id, "write")
    flavor = (await payload(request))["flavor"]
    if flavor not in HARDWARE.split():
        raise HubError(400, f"Unknown hardware {flavor}")
    return {"stage": "BUILDING", "hardware": {"current": None, "requested": flavor}}
