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

HERE = Path(__file__).resolve().parent
if (HERE.parent / "aihealth").is_dir():  # a checkout; a published Space has the package beside it
    sys.path.insert(0, str(HERE.parent))

import privacy

UPLOADS = privacy.use_private_folder()  # before Gradio reads where to put uploads

import front
import gradio as gr
import guide
import looks
import overlay
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
DRAWN = "drawn-"  # names of examples that docs/examples.py drew
QUEUE = 64  # visitors who may wait; the next one is told that the queue is full
CALLS = 32  # at once, of a function; most of them wait: for one of the threads, or for a place
SESSIONS = 64  # Gradio keeps the last answer of so many visitors in memory
MCP = importlib.util.find_spec("mcp") is not None  # Spaces install it with Gradio


# Gradio's own preparation of an upload would write another file; private functions are no API.
QUIET = {"preprocess": False, "api_visibility": "private"}


def build(served: startup.Served) -> gr.Blocks:
    """Put the page together; without a model it says why, and nothing else."""
    answers = Answers(served, THREADS)
    i18n = gr.I18n(**{language: sentences(served, language) for language in texts.LANGUAGES})
    ready = served.classifier is not None
    with gr.Blocks(title=texts.EN["title"], analytics_enabled=False) as page:
        gr.HTML(i18n("html_header"), apply_default_css=False)
        with gr.Tab(i18n("tab_one"), visible=ready):
            with gr.Row(elem_id="one"):
                with gr.Column(scale=6, min_width=320):
                    film = gr.HTML("", elem_id="film", apply_default_css=False)
                    gr.HTML(i18n("html_upload"), elem_id="upload-hint", apply_default_css=False)
                    upload = gr.File(show_label=False, elem_id="upload", height=120)
                    gr.HTML(i18n("html_examples"), elem_id="examples-hint", visible=bool(EXAMPLES))
                    with gr.Row(elem_id="examples"):
                        buttons = [example_button(path) for path in EXAMPLES]
                with gr.Column(scale=5, min_width=320):
                    panel = gr.HTML("", elem_id="panel", apply_default_css=False)
                    gr.HTML(i18n("html_trust"), elem_id="trust", apply_default_css=False)
            answered = [
                upload.upload(
                    answers.show, upload, [film, panel, upload], show_progress_on=upload, **QUIET
                )
            ]
            for path, button in zip(EXAMPLES, buttons, strict=True):
                answered.append(
                    button.click(
                        answers.example(path), None, [film, panel], show_progress_on=button, **QUIET
                    )
                )
            for event in answered:
                event.then(None, js="() => window.showAnswer()", api_visibility="private")
        with gr.Tab(i18n("tab_many"), visible=ready):
            gr.HTML(i18n("html_upload_many"), apply_default_css=False)
            many = gr.File(
                show_label=False, file_count="multiple", elem_id="upload-many", height=120
            )
            table = gr.HTML("", elem_id="table", apply_default_css=False)
            many.upload(answers.show_batch, many, [table, many], show_progress_on=many, **QUIET)
        with gr.Tab(i18n("tab_api"), visible=ready):
            gr.HTML(i18n("html_api"), elem_id="api", apply_default_css=False)
        if not ready:
            gr.HTML(i18n("html_trust"), elem_id="trust", apply_default_css=False)
        gr.HTML(i18n("html_footer"), apply_default_css=False)
        endpoint(answers.predict, gr.File(visible=False))
        endpoint(answers.predict_batch, gr.File(visible=False, file_count="multiple"))
    page.queue(max_size=QUEUE, default_concurrency_limit=CALLS)
    page.i18n_texts = i18n
    return page


def sentences(served: startup.Served, language: str) -> dict[str, str]:
    """Everything Gradio translates: single sentences, and the parts of the page as HTML."""
    drawn = served.classifier is not None and served.classifier.config.drawn_data
    examples = all(path.name.startswith(DRAWN) for path in EXAMPLES)
    return {
        **texts.TEXTS[language],
        "html_header": render.page_part("header", language, drawn=drawn),
        "html_upload": render.hint("upload", language),
        "html_upload_many": render.hint("upload_many", language),
        "html_examples": render.hint("examples" if examples else "examples_own", language),
        "html_api": render.page_part("api", language, examples=guide.examples(MCP)),
        "html_footer": render.page_part("footer", language),
        "html_trust": render.trust(served, language),
    }


def example_button(path: Path) -> gr.Button:
    """A picture to click: "drawn-1-Normal.png" is called "Normal", others as their file is."""
    label = path.stem.split("-", 2)[-1] if path.name.startswith(DRAWN) else path.stem
    picture = overlay.film_url(images.decode(path), overlay.EXAMPLE_SIDE)
    # As a data URL, because the file of an icon would be swept away with the uploads.
    return gr.Button(label, icon={"path": path.name, "url": picture})


def endpoint(function: Callable, source: gr.File) -> None:
    """Offer a function to programs under its own name."""
    gr.Button(visible=False).click(
        function, source, gr.JSON(visible=False), preprocess=False, api_name=function.__name__
    )


def main() -> None:
    """Serve the page."""
    page = build(startup.serve(startup.wanted(os.environ), startup.shipped_release()))
    # The usual way to stop a server; without a handler Python would skip what is due at exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    privacy.keep_clean(UPLOADS, page, DELETE_EVERY, DELETE_AFTER)
    front.quiet_log()
    front.say_failures()
    warming = threading.Timer(WARM_AFTER, wall.warm)
    warming.daemon = True  # Nothing at the end waits for it.
    warming.start()
    page.launch(
        app_kwargs={"middleware": [Middleware(front.Front, uploads=front.Uploads(UPLOADS))]},
        theme=looks.theme(),
        css=looks.css(),
        head=looks.head(),
        i18n=page.i18n_texts,
        max_file_size=images.MAX_BYTES,
        state_session_capacity=SESSIONS,
        run_history=False,
        ssr_mode=False,
        footer_links=["settings"],
        mcp_server=MCP,
    )


if __name__ == "__main__":
    main()
