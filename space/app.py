"""The Space: a chest radiograph in, three calibrated probabilities out. Not a medical device.

    python space/app.py                                  # the release that the project ships
    MODEL_ID=runs/mine python space/app.py               # a release folder
    MODEL_ID=org/name MODEL_REVISION=v1.0 python space/app.py

The page, the API (`/predict`, `/predict_batch`) and the MCP tools are the same two functions.
Settings are environment variables; README.md beside this file lists them.
"""

import importlib.util
import os
import sys
from pathlib import Path

import gradio as gr

HERE = Path(__file__).resolve().parent
if (HERE.parent / "aihealth").is_dir():  # a checkout; a published Space has the package beside it
    sys.path.insert(0, str(HERE.parent))

import render
import startup
import texts

from aihealth.images import MAX_BYTES, ImageError

# === Settings ===
DELETE_EVERY = int(os.environ.get("DELETE_EVERY", 600))  # seconds
DELETE_AFTER = int(os.environ.get("DELETE_AFTER", 1800))
THREADS = os.cpu_count() or 2
QUEUE = 64  # visitors who may wait; the next one is told that the queue is full

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    radius_size="md",
)

SERVED = startup.serve(startup.wanted(os.environ), startup.shipped_release())


def predict(image: dict) -> dict:
    """Compare one chest radiograph with films labelled Covid, Normal and Pneumonia.

    For research and teaching; not a medical device, and no answer about a person's health.

    Args:
        image: a radiograph as PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM file, at most 50 MB.

    Returns:
        label: the most probable class, or null when the model is not sure or when the image does
        not look like a chest radiograph; probabilities: calibrated, one per class, sum 1;
        is_chest_radiograph; abstained; warning; model and its revision.
    """
    return {**_classify(image).to_dict(), **_identity()}


def show(image: dict, request: gr.Request) -> tuple[str, str, None]:
    """The page's answer: film, panel, and an upload area that is ready for the next file."""
    language = texts.language_of(request)
    try:
        prediction = _classify(image)
    except gr.Error as error:
        return "", render.refusal(error.message, language), None
    return (
        render.viewer(prediction, language),
        render.answer(prediction, SERVED.classifier.config, language),
        None,
    )


def _classify(image: dict | None) -> "render.Prediction":
    """Read and answer; what a visitor can mend becomes a `gr.Error`, which leaves no log line."""
    if SERVED.classifier is None:
        raise gr.Error(SERVED.problem, print_exception=False)
    if image is None:
        raise gr.Error("no image was sent", print_exception=False)
    try:
        return SERVED.classifier.predict(image["path"])
    except ImageError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _identity() -> dict[str, str | None]:
    return {"model": SERVED.name, "revision": SERVED.classifier.revision}


def build() -> gr.Blocks:
    """Put the page together."""
    drawn = SERVED.classifier is not None and SERVED.classifier.config.drawn_data
    parts = {
        language: {
            **texts.TEXTS[language],
            "html_header": render.page_part("header", language, drawn=drawn),
            "html_footer": render.page_part("footer", language),
            "html_trust": render.trust(SERVED, language),
        }
        for language in texts.LANGUAGES
    }
    i18n = gr.I18n(**parts)
    with gr.Blocks(
        title=texts.EN["title"],
        analytics_enabled=False,
        delete_cache=(DELETE_EVERY, DELETE_AFTER),
    ) as page:
        gr.HTML(i18n("html_header"), apply_default_css=False)
        with gr.Tab(i18n("tab_one"), visible=SERVED.classifier is not None):
            with gr.Row(elem_id="one"):
                with gr.Column(scale=6, min_width=320):
                    film = gr.HTML("", elem_id="film", apply_default_css=False)
                    upload = gr.File(label=i18n("upload"), elem_id="upload", height=150)
                with gr.Column(scale=5, min_width=320):
                    panel = gr.HTML("", elem_id="panel", apply_default_css=False)
                    gr.HTML(i18n("html_trust"), elem_id="trust", apply_default_css=False)
            upload.upload(
                show,
                upload,
                [film, panel, upload],
                preprocess=False,
                api_visibility="private",
                show_progress="minimal",
                show_progress_on=panel,
            )
        _endpoint(predict, gr.File(visible=False), "predict")
        gr.HTML(i18n("html_footer"), apply_default_css=False)
    page.queue(max_size=QUEUE, default_concurrency_limit=THREADS)
    page.i18n_texts = i18n
    return page


def _endpoint(function: object, source: gr.File, name: str) -> None:
    gr.Button(visible=False).click(
        function, source, gr.JSON(visible=False), preprocess=False, api_name=name
    )


def main() -> None:
    """Serve the page."""
    page = build()
    page.launch(
        theme=THEME,
        css=(HERE / "style.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        i18n=page.i18n_texts,
        max_file_size=MAX_BYTES,
        run_history=False,
        ssr_mode=False,
        footer_links=["settings"],
        mcp_server=importlib.util.find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    main()
