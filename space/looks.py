"""The page's theme: Gradio's own parts take their colours from the variables in top.css."""

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

_HERE = Path(__file__).resolve().parent
_INLINE = ("language.js", "scheme.js")  # short; all else would wait for them

_COLOURS = {
    "body_background_fill": "var(--paper)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--soft)",
    "background_fill_primary": "var(--card)",
    "block_background_fill": "var(--card)",
    "border_color_primary": "var(--line)",
    "color_accent": "var(--accent)",
    "loader_color": "var(--accent)",
}


def theme() -> gr.themes.Base:
    """System fonts and our colours; nothing is fetched from elsewhere."""
    base = gr.themes.Base(
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
        radius_size="md",
    )
    known = inspect.signature(base.set).parameters  # not every colour has a dark twin
    dark = {f"{name}_dark": colour for name, colour in _COLOURS.items()}
    return base.set(**_COLOURS, **{name: dark[name] for name in dark.keys() & known.keys()})


def css() -> str:
    """The style sheet."""
    return _text("style.css")


def head(settings: dict[str, Any]) -> str:
    """What goes into the page's head: its scripts, and what they need to know.

    Args:
        settings: for gradio.js.
    """
    # "<" would end the element early; nothing else in JSON can.
    text = json.dumps(settings, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<script type="application/json" id="settings">{text}</script>'
        '<script type="module" src="page/gradio.js"></script>'
    )


def first() -> str:
    """What goes before Gradio's own scripts: language, layout, and which modules will be wanted."""
    style = _text("top.css") + _text("first.css")
    others = (*_INLINE, "teach.js")  # teaching is loaded when somebody turns it on
    modules = (path.name for path in sorted(_HERE.glob("*.js")) if path.name not in others)
    wanted = "".join(
        f'<link rel="modulepreload" href="page/{name}" fetchpriority="low">' for name in modules
    )
    return f"<script>{_text('language.js')}</script><style>{style}</style>{wanted}"


def above(headers: Iterable[str]) -> str:
    """What goes above Gradio's page, and is seen before it is loaded.

    Args:
        headers: the header in each language; first.css shows that of the page.
    """
    return f"<script>{_text('scheme.js')}</script>{''.join(headers)}"


def routes() -> list[Mount]:
    """Where the browser finds the scripts and the examples; nothing else of this folder."""
    scripts = [Route(f"/{path.name}", _script(path)) for path in sorted(_HERE.glob("*.js"))]
    examples = StaticFiles(directory=_HERE / "examples", check_dir=False)
    return [Mount("/page", routes=[*scripts, Mount("/examples", app=examples)])]


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _script(path: Path) -> Callable[[Request], Response]:
    def send(request: Request) -> Response:
        return FileResponse(path, media_type="text/javascript")

    return send
