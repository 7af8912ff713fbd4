"""All that the page uses of Gradio beyond its documented interface; tests fail when it moves."""

import datetime
import gzip
import json
from collections.abc import Callable
from typing import Any

import gradio as gr


def describe_in_full(component: gr.File) -> None:
    """Describe a component so that its JSON schema can become a part of another one.

    Gradio describes the items of a list by a reference to `#/$defs/FileData`, which leads nowhere
    in MCP's description of a tool.
    """
    schema = dict(component.api_info())
    component._api_info_cache = _inlined(schema, schema.pop("$defs", {}))


class OursFirst:
    """Puts elements before Gradio's own into the page, and compresses it, which Gradio does not.

    The page's language has to be known before Gradio asks the browser for it, and the page's
    modules are wanted before Gradio, which runs `head` of `launch` at its end, asks for the first.
    What Gradio draws is seen late: first its scripts are loaded.
    """

    def __init__(self, app: Any, head: str, body: str) -> None:
        """Wrap an ASGI application.

        Args:
            app: the application.
            head: HTML.
            body: HTML, which stands above Gradio's page.
        """
        self._app, self._head, self._body = app, head.encode(), body.encode()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request; only the page itself is changed."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        start: dict = {}
        body = b""

        async def changed(message: dict) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            whole = body.replace(b"<head>", b"<head>" + self._head, 1)
            whole = whole.replace(b"<gradio-app", self._body + b"<gradio-app", 1)
            headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
            headers.append((b"vary", b"accept-encoding"))
            accepted = b",".join(v for k, v in scope["headers"] if k == b"accept-encoding")
            if b"gzip" in accepted:
                whole = gzip.compress(whole, 6)
                headers.append((b"content-encoding", b"gzip"))
            headers.append((b"content-length", str(len(whole)).encode()))
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, changed)


def mend_mcp() -> None:
    """Make MCP tools take lists of files and answer JSON, where MCP is installed.

    Gradio looks for files in a list under the name `items` where their numbers stand, and answers
    objects as Python writes them.
    """
    try:
        from gradio.mcp import GradioMCPServer
    except ImportError:
        return
    take, answer = (
        GradioMCPServer.convert_strings_to_filedata,
        GradioMCPServer.postprocess_output_data,
    )

    def convert_strings_to_filedata(self: Any, value: Any, positions: list[list]) -> Any:
        numbered = [
            [number if part == "items" else part for part in position]
            for position in positions
            for number in range(_longest_list(value) if "items" in position else 1)
        ]
        return take(self, value, numbered)

    def postprocess_output_data(self: Any, data: Any, root_url: str) -> list:
        texts = [json.dumps(item) if isinstance(item, (dict, list)) else item for item in data]
        return answer(self, texts, root_url)

    GradioMCPServer.convert_strings_to_filedata = convert_strings_to_filedata
    GradioMCPServer.postprocess_output_data = postprocess_output_data


def forget(page: gr.Blocks, after: float) -> None:
    """Drop what Gradio remembers of visitors who asked nothing for `after` seconds.

    Args:
        page: before its launch nothing is remembered.
        after: seconds.
    """
    sessions = getattr(page, "state_holder", None)
    if sessions is None:
        return
    oldest = datetime.datetime.now() - datetime.timedelta(seconds=after)
    with sessions.lock:
        for name, last in list(sessions.time_last_used.items()):
            if last < oldest:
                sessions.session_data.pop(name, None)
                sessions.time_last_used.pop(name, None)


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions:
        return _inlined(definitions[name], definitions)
    return {key: _inlined(value, definitions) for key, value in node.items()}


def _longest_list(value: Any) -> int:
    values = value.values() if isinstance(value, dict) else []
    return max((len(item) for item in values if isinstance(item, list)), default=0)
