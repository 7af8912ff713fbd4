"""A Hugging Face Hub on 127.0.0.1 for tests: real commits in a folder, faults on demand.

    hub = Hub(tmp_path)
    hub.start()
    HfApi(hub.endpoint, token=hub.token).create_repo("org/name")
    hub.fault(method="POST", path_regex="/commit/", action="status:503")
    assert [call.status for call in hub.calls("POST", "/commit/")] == [503, 200]

By hand: `python -m tests.hub_server --port 8123 --store DIR`.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from . import community, content, repos, spaces, xet  # noqa: F401 (they register their routes)
from .routing import User, application
from .store import Commit, Store
from .wire import Call, Fault, Wire


def bind(port: int = 0) -> socket.socket:
    """Reserve a port of 127.0.0.1 without answering on it yet."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def address(sock: socket.socket) -> str:
    return "http://{}:{}".format(*sock.getsockname())


class Hub:
    """The server, its faults and its log.

    `paid_spaces`: whether Spaces that run code need a payment (402).

    `tester` may write everywhere, with `token`; `read_token` is his too, but only reads;
    `stranger_token` belongs to someone who owns only the namespace `stranger`.
    """

    token, read_token, stranger_token = "hf_write", "hf_read", "hf_stranger"

    def __init__(self, store: Path, sock: socket.socket | None = None, home: Path | None = None):
        self.store = Store(store)
        self.home = home or Path(store) / "home"
        # Large files live under another host name, as on the real Hub: no token may travel there.
        self.sockets = [sock or bind(), bind()]
        self.endpoint = address(self.sockets[0])
        self.cdn = address(self.sockets[1]).replace("127.0.0.1", "localhost")
        self.users = {
            self.token: User("tester", "write"),
            self.read_token: User("tester", "read"),
            self.stranger_token: User("stranger", "write"),
        }
        self.strangers = {"stranger"}
        self.wire = Wire(application(self), self.store.delete)
        self.reset()
        config = uvicorn.Config(
            self.wire,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="critical",
            proxy_headers=False,
            server_header=False,
            # uvicorn's is a second old or more. The client takes lines of a Space's log that are
            # younger for new ones, and leaves them out.
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": self.sockets}, daemon=True
        )

    def start(self) -> Hub:
        self.thread.start()
        while not self.server.started:
            if not self.thread.is_alive():
                raise RuntimeError("the test Hub did not start")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    # Watching and spoiling

    @property
    def requests(self) -> list[Call]:
        return self.wire.calls

    def calls(self, method: str = "", path_regex: str = "") -> list[Call]:
        """The requests so far, of one method and with a path that the expression finds."""
        return [
            call
            for call in self.requests
            if method in ("", call.method) and re.search(path_regex, call.path)
        ]

    def uploads(self) -> list[Call]:
        """The requests that would leave something here."""
        paths = "^/lfs/|/commit/|/repos/create|/tag/|/branch/|^/v1/"
        return [call for call in self.calls("", paths) if call.method != "GET"]

    def fault(
        self,
        action: str | Callable[[], Any],
        method: str | None = None,
        path_regex: str = "",
        times: int = 1,
        after: int = 0,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Spoil the next `times` calls that fit, after leaving the first `after` alone.

        Args:
            action: `status:N` (with `headers`), `close` (no answer), `close-upload`
                (break off while the request's body comes in), `close-mid` (break off halfway
                through the response), `truncate` (half a body, properly framed), `alter`
                (flip a byte of the body), `delay:SECONDS`,
                `delete:models/org/name` (the repo is gone before the call is answered), or a
                function that runs before the call is answered.
            method: HTTP method, any by default.
            path_regex: searched in the path and query as sent.
            times: how many calls to spoil.
            after: how many calls that fit pass unharmed first.
            headers: for `status`.
        """
        self.wire.faults.append(Fault(action, method, path_regex, times, after, headers or {}))

    def reset(self) -> None:
        """No faults, an empty log, Spaces for nothing. Repos stay."""
        self.paid_spaces = False
        self.wire.faults.clear()
        self.wire.calls.clear()

    # Looking into the store

    def commits(self, id: str, type: str = "models", rev: str = "main") -> list[Commit]:
        """History of a repo, newest first; a new repo has one commit."""
        return self.store.history(self.store.repos[type, id], rev)

    def read(self, id: str, path: str, type: str = "models", rev: str = "main") -> bytes:
        return self.store.read(self.store.files(self.store.repos[type, id], rev)[path])

    def commit(self, id: str, files: dict[str, bytes], type: str = "models") -> Commit:
        """Commit to main as somebody else would, past the HTTP interface."""
        repo = self.store.repos[type, id]
        added = {path: self.store.put(data) for path, data in files.items()}
        tree = self.store.files(repo) | added
        return self.store.add_commit(repo, "main", tree, "by hand", "", [repo.resolve("main")])

    def env(self, token: str | None = None, **more: str) -> dict[str, str]:
        """Environment for a child process that shall know this Hub and no other."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name not in ("HF_TOKEN", "HF_HUB_OFFLINE")
        }
        return kept | client_env(self.endpoint, self.home, token) | more


def client_env(endpoint: str, home: Path, token: str | None = None) -> dict[str, str]:
    """The variables that huggingface_hub and datasets read at import."""
    env = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return env | ({"HF_TOKEN": token} if token else {})
