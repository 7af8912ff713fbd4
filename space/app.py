"""The Space: a chest radiograph in, three probabilities out. Not a medical device.

    python space/app.py                                  # the release that the project ships
    MODEL_ID=runs/mine python space/app.py               # a release folder
    MODEL_ID=org/name MODEL_REVISION=v1.0 python space/app.py

Read on in answers.py (what the endpoints do), render.py (how answers look), startup.py (which
model is served). Settings are environment variables; README.md beside this file lists them.
"""
# ruff: noqa: E402  (what must be set before an import stands before it)

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if (HERE.parent / "aihealth").is_dir():  # a checkout; a published Space has the package beside it
    sys.path.insert(0, str(HERE.parent))

import privacy

UPLOADS = privacy.use_private_folder()  # before Gradio reads where to put uploads

from aihealth.errors import UserError, needs

try:
    with needs("space"):
        import gradio as gr
except UserError as error:
    sys.exit(f"error: {error}")

import adapter
import front
import guide
import looks
import render
import startup
import texts
from answers import Answers
from starlette.middleware import Middleware

from aihealth import files, images, wall

# === Settings ===
DELETE_EVERY = int(os.environ.get("DELETE_EVERY", 600))  # seconds
DELETE_AFTER = int(os.environ.get("DELETE_AFTER", 1800))
THREADS = os.cpu_count() or 2
EXAMPLES = [path for path in sorted(HERE.glob("examples/*")) if files.suffix_is_image(path)]
WARM_AFTER = 10  # seconds; at the start it would be in the way
QUEUE = 64  # visitors who may wait; the next one is told that the queue is full
CALLS = 32  # at once, of a function; most of them wait: for one of the threads, or for a place
SESSIONS = 64  # Gradio keeps the last answer of so many visitors in memory
MCP = importlib.util.find_spec("mcp") is not None  # Spaces install it with Gradio


# Called by gradio.js over the HTTP API; not offered to programs.
OURS = {"preprocess": False, "api_visibility": "undocumented"}


def build(served: startup.Served) -> gr.Blocks:
    """Put the page together; without a model it says why, and nothing else."""
    answers = Answers(served, THREADS)
    i18n = gr.I18n(**{language: sentences(served, language) for language in texts.LANGUAGES})
    ready = served.classifier is not None

    def part(name: str) -> None:
        gr.HTML(i18n(f"html_{name}"), apply_default_css=False)

    with gr.Blocks(title=texts.say("title", "en"), analytics_enabled=False) as page:
        if ready:
            for name in ("one", "many", "api"):
                with gr.Tab(i18n(f"tab_{name}")):
                    part(name)
        else:
            part("trust")
        part("footer")
        image = gr.File(visible=False)
        several = gr.File(file_count="multiple", visible=False)
        adapter.describe_in_full(several)
        language = gr.Textbox(visible=False)
        endpoint(answers.predict, [image])
        endpoint(answers.predict_batch, [several])
        endpoint(answers.show, [image, language], **OURS)
        endpoint(answers.show_batch, [several, language], **OURS)
    page.queue(max_size=QUEUE, default_concurrency_limit=CALLS)
    page.i18n_texts = i18n
    return page


def sentences(served: startup.Served, language: str) -> dict[str, str]:
    """Everything Gradio translates: the names of the tabs, and the parts of the page as HTML."""
    return {
        **{key: texts.say(key, language) for key in ("tab_one", "tab_many", "tab_api")},
        **{f"html_{name}": html for name, html in render.parts(served, language, EXAMPLES).items()},
        "html_api": render.page_part(
            "api",
            language,
            examples=guide.examples(MCP),
            card=startup.card_link(served),
            code=guide.code_link(),
        ),
    }


def settings() -> dict[str, Any]:
    """What gradio.js needs to know."""
    return {
        "megabytes": images.MAX_BYTES // 2**20,
        "texts": {language: texts.table(language) for language in texts.LANGUAGES},
    }


def endpoint(function: Callable, inputs: list, **how: Any) -> None:
    """Offer a function over HTTP under its own name."""
    how = {"preprocess": False, "api_name": function.__name__} | how
    gr.Button(visible=False).click(function, inputs, gr.JSON(visible=False), **how)


def main() -> None:
    """Serve the page."""
    served = startup.serve(startup.wanted(os.environ), startup.shipped_release())
    adapter.mend_mcp()
    page = build(served)
    headers = [render.header(served, language) for language in texts.LANGUAGES]
    # The usual way to stop a server; without a handler Python would skip what is due at exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    privacy.keep_clean(UPLOADS, page, DELETE_EVERY, DELETE_AFTER)
    front.quiet_log()
    front.say_failures()
    warming = threading.Timer(WARM_AFTER, wall.warm)
    warming.daemon = True  # Nothing at the end waits for it.
    warming.start()
    page.launch(
        theme=looks.theme(),
        css=looks.css(),
        head=looks.head(settings()),
        app_kwargs={
            "routes": looks.routes(),
            "middleware": [
                Middleware(front.Front, uploads=front.Uploads(UPLOADS)),
                Middleware(adapter.OursFirst, head=looks.first(), body=looks.above(headers)),
            ],
        },
        i18n=page.i18n_texts,
        max_file_size=images.MAX_BYTES,
        state_session_capacity=SESSIONS,
        run_history=False,
        ssr_mode=False,
        footer_links=[],
        mcp_server=MCP,
        _frontend=False,  # Else Gradio asks for the page, and ends if it has to wait 3 s for it.
    )


if __name__ == "__main__":
    main()
