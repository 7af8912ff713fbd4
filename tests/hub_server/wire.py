"""What happens between client and Hub: a log of every request, and faults made on purpose."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT_BODY = 4 << 20  # bytes of a request body that the log keeps


@dataclass
class Call:
    """One request as it came in, and the status it was answered with (None: cut off)."""

    method: str
    path: str  # still percent-encoded, without the query
    query: str
    headers: dict[str, str]  # lower-case names
    body: bytes = b""
    status: int | None = None

    @property
    def host(self) -> str:
        return self.headers.get("host", "")

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


@dataclass
class Fault:
    """See `Hub.fault`."""

    action: str | Callable
    method: str | None = None
    path_regex: str = ""
    times: int = 1
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def hits(self, call: Call) -> bool:
        """Whether this call is one to spoil; counts the calls that fit."""
        target = f"{call.path}?{call.query}" if call.query else call.path
        if self.times <= 0 or (self.method and self.method.upper() != call.method):
            return False
        if not re.search(self.path_regex, target):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


class Wire:
    """ASGI middleware around the Hub's application."""

    def __init__(self, app: Callable, on_delete: Callable[[str, str], None]):
        self.app, self.on_delete = app, on_delete
        self.calls: list[Call] = []
        self.faults: list[Fault] = []

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        path = scope["raw_path"].decode("latin-1")
        headers = {k.decode().lower(): v.decode("latin-1") for k, v in scope["headers"]}
        call = Call(scope["method"], path, scope["query_string"].decode(), headers)
        self.calls.append(call)

        async def listen() -> dict:
            message = await receive()
            call.body += message.get("body", b"")[: max(0, KEPT_BODY - len(call.body))]
            return message

        async def answer(message: dict) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
            await send(message)

        fault = next((fault for fault in self.faults if fault.hits(call)), None)
        if fault is None:
            return await self.app(scope, listen, answer)
        if callable(fault.action):
            await asyncio.to_thread(fault.action)
            return await self.app(scope, listen, answer)
        action, _, argument = fault.action.partition(":")
        # uvicorn offers no other way to drop a connection without an answer.
        transport = send.__self__.transport
        if action == "status":
            return await refuse(int(argument), fault, listen, answer)
        if action == "close":
            return transport.abort()
        if action == "close-upload":
            await listen()
            return transport.abort()
        if action == "delay":
            await asyncio.sleep(float(argument))
        elif action == "delete":
            type, _, id = argument.partition("/")
            self.on_delete(type, id)
        elif action in ("truncate", "alter", "close-mid"):
            answer = Spoiler(action, answer, transport)
        else:
            raise ValueError(f"unknown fault action {fault.action!r}")
        await self.app(scope, listen, answer)


async def refuse(status: int, fault: Fault, receive: Callable, send: Callable) -> None:
    """Read the request to its end, as a proxy in front would, and answer with a status."""
    while (await receive()).get("more_body"):
        pass
    body = json.dumps({"error": f"injected {status}"}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers |= {name.lower(): value for name, value in fault.headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class Spoiler:
    """A `send` that spoils the body of a response halfway.

    truncate: half the body, and a Content-Length that says so; alter: one byte flipped in the
    middle; close-mid: the connection breaks after half of the body.
    """

    def __init__(self, action: str, send: Callable, transport: asyncio.Transport):
        self.action, self.send, self.transport = action, send, transport
        self.offset = self.position = 0

    async def __call__(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            self.offset = int(headers.get(b"content-length", b"0")) // 2
            if self.action == "truncate":
                headers[b"content-length"] = str(self.offset).encode()
            return await self.send({**message, "headers": list(headers.items())})
        body, start = message.get("body", b""), self.position
        self.position += len(body)
        at = self.offset - start
        if self.action == "alter":
            if 0 <= at < len(body):
                body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
        else:
            body = body[: max(0, at)]
        if self.action == "close-mid" and self.position >= self.offset:
            await self.send({**message, "body": body, "more_body": True})
            return self.transport.close()
        await self.send({**message, "body": body})
