"""What stands between visitors and Gradio: headers, room for uploads, and a quiet log.

An open page takes requests from anyone. No answer leaves without its headers; uploads take a
bounded room on the disk; and a call that fails is one line in the log, which says nothing of what
the visitor sent.
"""

import contextlib
import errno
import ipaddress
import json
import os
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MB = 2**20
PER_VISITOR = int(os.environ.get("UPLOADS_PER_VISITOR_MB", 1000)) * MB
IN_ALL = int(os.environ.get("UPLOADS_MB", 5000)) * MB

REMOVED = (
    "the upload is no longer here: uploads leave after a while, and the oldest make room for new "
    "ones; send it again"
)
NO_ROOM = "there is no room for uploads at the moment; try again later"
FAILED = (
    "the call failed: send an image as an uploaded file, as the page's tab on the API shows; if it "
    "is one, try again"
)

# Gradio's page has inline scripts and styles, and makes functions out of text.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "content-security-policy": POLICY,
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def headers() -> list[tuple[bytes, bytes]]:
    """Headers for every answer; none on the Hub, which shows the page inside its own."""
    if os.environ.get("SPACE_ID"):
        return []
    return [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def visitor(peer: str, forwarded: str) -> str:
    """Who asks: the address, or behind a proxy the last one that is not the proxies' own.

    Args:
        peer: address of the other end.
        forwarded: the header X-Forwarded-For, to which each proxy adds whom it was asked by; what
            stands further left in it anyone could have written.
    """
    hops = [hop.strip() for hop in forwarded.split(",")] if _is_private(peer) else []
    who = next((hop for hop in reversed(hops) if not _is_private(hop)), peer)
    with contextlib.suppress(ValueError):  # It is of IPv4, or none.
        address = ipaddress.IPv6Address(who)
        if not address.ipv4_mapped:  # Who has one address has all that begin so.
            return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return who


def _is_private(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_global
    except ValueError:
        return True


class Uploads:
    """The folder of uploads, of which the oldest make room for new ones."""

    def __init__(self, folder: Path, per_visitor: int = PER_VISITOR, in_all: int = IN_ALL) -> None:
        """Watch over a folder.

        Args:
            folder: of all uploads.
            per_visitor: bytes that one visitor may have in it.
            in_all: bytes that all may have.
        """
        self._folder, self._per_visitor, self._in_all = folder, per_visitor, in_all
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, who: str, paths: Iterable[str]) -> None:
        """Note whose new uploads are, and make room."""
        with self._lock:
            self._owners |= dict.fromkeys(map(os.path.realpath, paths), who)
            files = self._files()
            self._owners = {p: o for p, o in self._owners.items() if p in files}
            own = {path: size for path, size in files.items() if self._owners.get(path) == who}
            gone = _remove_oldest(own, self._per_visitor)
            _remove_oldest({p: s for p, s in files.items() if p not in gone}, self._in_all)

    def _files(self) -> dict[str, int]:
        """Path and bytes of every file, the oldest first."""
        found = []
        for root, _, names in os.walk(os.path.realpath(self._folder)):
            for path in (os.path.join(root, name) for name in names):
                try:
                    about = os.lstat(path)
                except OSError:  # It left in this moment.
                    continue
                found.append((about.st_ctime_ns, path, about.st_size))
        return {path: size for _, path, size in sorted(found)}


def _remove_oldest(files: dict[str, int], most: int) -> set[str]:
    """Remove files, in their order, until the others have at most so many bytes."""
    total, gone = sum(files.values()), set()
    for path, size in files.items():
        if total <= most:
            break
        Path(path).unlink(missing_ok=True)
        gone.add(path)
        total -= size
    return gone


class Front:
    """ASGI middleware around Gradio's application."""

    def __init__(self, app: Callable, uploads: Uploads) -> None:
        """Wrap an application.

        Args:
            app: the application.
            uploads: where it puts uploads.
        """
        self._app, self._uploads, self._headers = app, uploads, headers()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_upload = scope["method"] == "POST" and scope["path"].endswith("/upload")
        status, body = 0, b""

        async def watched(message: dict) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            elif is_upload and len(body) < MB:
                body += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            log_failure(error)
            if status:  # A part of the answer is on its way.
                raise ConnectionAbortedError from None
            full = isinstance(error, OSError) and error.errno in _FULL
            await _refuse(watched, 507 if full else 500, NO_ROOM if full else FAILED)
            return
        if is_upload and status == 200:
            self._uploads.add(_visitor_of(scope), _paths(body))


def _visitor_of(scope: dict) -> str:
    forwarded = b",".join(v for k, v in scope["headers"] if k == b"x-forwarded-for")
    return visitor((scope.get("client") or ("",))[0], forwarded.decode("latin-1"))


def _paths(body: bytes) -> list[str]:
    try:
        paths = json.loads(body)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


async def _refuse(send: Callable, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    length = str(len(body)).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


# === The log ===

_HERE = Path(__file__).resolve()
_OURS = (str(_HERE.parent), str(_HERE.parents[1] / "aihealth"))


def log_failure(error: BaseException | None) -> None:
    """Log a call that failed: what kind of error, and where in our code, never its text.

    The text of an error quotes what the visitor sent: paths, file names, values.
    """
    frames = traceback.extract_tb(error.__traceback__) if error else []
    ours = [it for it in frames if it.filename.startswith(_OURS) and it.filename != str(_HERE)]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    print(f"a call failed: {type(error).__name__}{place}", file=sys.stderr, flush=True)


def quiet_log() -> None:
    """Have Gradio log the calls that fail as `log_failure` does, instead of with their text."""
    from gradio import queueing, routes

    quiet = types.SimpleNamespace(
        **{name: getattr(traceback, name) for name in traceback.__all__}
        | {"print_exc": lambda *_, **__: log_failure(sys.exc_info()[1])}
    )
    for module in (queueing, routes):
        module.traceback = quiet


def say_failures() -> None:
    """Have every failed call say what to do: Gradio answers null to what it cannot make out."""
    from gradio import queueing, utils

    plain = utils.error_payload

    def payload(error: BaseException | None, show_error: bool) -> dict:
        content = plain(error, show_error)
        return content if content["error"] else {**content, "error": FAILED}

    for module in (queueing, utils):
        module.error_payload = payload


def current_visitor() -> str:
    """Who asked for the event that this thread works on; "" outside of one."""
    from gradio.context import LocalContext

    request: Any = LocalContext.request.get(None)
    if request is None or getattr(request, "client", None) is None:
        return ""
    return visitor(request.client.host or "", request.headers.get("x-forwarded-for", ""))
