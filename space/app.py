"""The Space: a chest radiograph in, three calibrated probabilities out. Not a medical device.

    python space/app.py                                  # the release that the project ships
    MODEL_ID=runs/mine python space/app.py               # a release folder
    MODEL_ID=org/name MODEL_REVISION=v1.0 python space/app.py

The page, the API (`/predict`, `/predict_batch`) and the MCP tools are the same two functions.
Settings are environment variables; README.md beside this file lists them.
"""
# ruff: noqa: E402  (what must be set before an import stands before it)

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
if (HERE.parent / "aihealth").is_dir():  # a checkout; a published Space has the package beside it
    sys.path.insert(0, str(HERE.parent))

import privacy

UPLOADS = privacy.use_private_folder()  # before Gradio reads where to put uploads

import batch
import gradio as gr
import guide
import looks
import overlay
import render
import startup
import texts

from aihealth import Prediction, images

# === Settings ===
DELETE_EVERY = int(os.environ.get("DELETE_EVERY", 600))  # seconds
DELETE_AFTER = int(os.environ.get("DELETE_AFTER", 1800))
THREADS = os.cpu_count() or 2
EXAMPLES = [path for path in sorted(HERE.glob("examples/*")) if images.suffix_is_image(path)]
DRAWN = "drawn-"  # names of examples that docs/examples.py drew
QUEUE = 64  # visitors who may wait; the next one is told that the queue is full
SESSIONS = 64  # Gradio keeps the last answer of so many visitors in memory

MCP = importlib.util.find_spec("mcp") is not None  # Spaces install it with Gradio
PROGRESS = gr.Progress()
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
    if image is None:
        raise gr.Error("no image was sent", print_exception=False)
    return {**_classify(image["path"]).to_dict(), **_identity()}


def predict_batch(files: list[dict]) -> list[dict]:
    """Compare many chest radiographs; a file that cannot be read has its reason in `error`.

    For research and teaching; not a medical device, and no answer about a person's health.

    Args:
        files: radiographs as for `predict`, or ZIP archives of them, at most 200 images in all.

    Returns:
        One object an image: `file` (its name), what `predict` returns, and `error`.
    """
    return [{**row.to_dict(), **_identity()} for row in _rows(_uploads(files))]


def show(image: dict, request: gr.Request) -> tuple[str, str, None]:
    """The page's answer: film, panel, and an upload area that is ready for the next file."""
    return *_film_and_panel(image["path"], texts.language_of(request)), None


def example_shower(path: Path) -> Callable[[gr.Request], tuple[str, str]]:
    """A function that gives the page's answer for an example that travels with it."""

    def show_example(request: gr.Request) -> tuple[str, str]:
        return _film_and_panel(path, texts.language_of(request))

    return show_example


def show_batch(
    files: list[dict], request: gr.Request, progress: gr.Progress = PROGRESS
) -> tuple[str, None]:
    """The page's table for many images."""
    language = texts.language_of(request)
    uploads = _uploads(files)
    steps = progress.tqdm(
        _rows(uploads),
        total=batch.count_images(uploads),
        desc=texts.say("reading", language),
        unit="images",  # in both languages
    )
    rows = list(steps)
    return render.table(rows, SERVED.classifier.classes, language), None


def _film_and_panel(path: str | Path, language: str) -> tuple[str, str]:
    try:
        prediction = _classify(path)
    except gr.Error as error:
        return "", render.refusal(error.message, language)
    return (
        render.viewer(prediction, language),
        render.answer(prediction, SERVED.classifier.config, language),
    )


def _uploads(files: list[dict] | None) -> list[tuple[str, str]]:
    """Pairs of the visitor's file name and the path where the file lies."""
    return [(file.get("orig_name") or "image", file["path"]) for file in files or []]


def _rows(uploads: list[tuple[str, str]]) -> Iterator[batch.Row]:
    _require_model()
    for name, content in batch.contents(uploads):
        yield batch.read(SERVED.classifier, name, content)


def _classify(path: str | Path) -> Prediction:
    """Read and answer; what a visitor can mend becomes a `gr.Error`, which leaves no log line."""
    _require_model()
    try:
        return SERVED.classifier.predict(path)
    except images.ImageError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _require_model() -> None:
    if SERVED.classifier is None:
        raise gr.Error(SERVED.problem, print_exception=False)


def _identity() -> dict[str, str | None]:
    return {"model": SERVED.name, "revision": SERVED.classifier.revision}


QUIET = {"preprocess": False, "api_visibility": "private"}


def build() -> gr.Blocks:
    """Put the page together."""
    drawn = SERVED.classifier is not None and SERVED.classifier.config.drawn_data
    parts = {
        language: {
            **texts.TEXTS[language],
            "html_header": render.page_part("header", language, drawn=drawn),
            "html_upload": render.hint("upload", language),
            "html_upload_many": render.hint("upload_many", language),
            "html_examples": render.hint(_examples_text(), language),
            "html_api": render.page_part("api", language, examples=guide.examples(MCP)),
            "html_footer": render.page_part("footer", language),
            "html_trust": render.trust(SERVED, language),
        }
        for language in texts.LANGUAGES
    }
    i18n = gr.I18n(**parts)
    with gr.Blocks(title=texts.EN["title"], analytics_enabled=False) as page:
        gr.HTML(i18n("html_header"), apply_default_css=False)
        with gr.Tab(i18n("tab_one"), visible=SERVED.classifier is not None):
            with gr.Row(elem_id="one"):
                with gr.Column(scale=6, min_width=320):
                    film = gr.HTML("", elem_id="film", apply_default_css=False)
                    gr.HTML(i18n("html_upload"), elem_id="upload-hint", apply_default_css=False)
                    upload = gr.File(show_label=False, elem_id="upload", height=120)
                    gr.HTML(i18n("html_examples"), elem_id="examples-hint", visible=bool(EXAMPLES))
                    with gr.Row(elem_id="examples"):
                        buttons = [_example_button(path) for path in EXAMPLES]
                with gr.Column(scale=5, min_width=320):
                    panel = gr.HTML("", elem_id="panel", apply_default_css=False)
                    gr.HTML(i18n("html_trust"), elem_id="trust", apply_default_css=False)
            upload.upload(show, upload, [film, panel, upload], show_progress_on=upload, **QUIET)
            for path, button in zip(EXAMPLES, buttons, strict=True):
                button.click(
                    example_shower(path), None, [film, panel], show_progress_on=button, **QUIET
                )
        with gr.Tab(i18n("tab_many"), visible=SERVED.classifier is not None):
            gr.HTML(i18n("html_upload_many"), apply_default_css=False)
            many = gr.File(
                show_label=False, file_count="multiple", elem_id="upload-many", height=120
            )
            table = gr.HTML("", elem_id="table", apply_default_css=False)
            many.upload(show_batch, many, [table, many], show_progress_on=many, **QUIET)
        with gr.Tab(i18n("tab_api"), visible=SERVED.classifier is not None):
            gr.HTML(i18n("html_api"), elem_id="api", apply_default_css=False)
        if SERVED.classifier is None:
            gr.HTML(i18n("html_trust"), elem_id="trust", apply_default_css=False)
        _endpoint(predict, gr.File(visible=False), "predict")
        _endpoint(predict_batch, gr.File(visible=False, file_count="multiple"), "predict_batch")
        gr.HTML(i18n("html_footer"), apply_default_css=False)
    page.queue(max_size=QUEUE, default_concurrency_limit=THREADS)
    page.i18n_texts = i18n
    return page


def _examples_text() -> str:
    drawn = all(path.name.startswith(DRAWN) for path in EXAMPLES)
    return "examples" if drawn else "examples_own"


def _example_button(path: Path) -> gr.Button:
    """A picture to click: "drawn-1-Normal.png" is called "Normal", others as their file is."""
    label = path.stem.split("-", 2)[-1] if path.name.startswith(DRAWN) else path.stem
    picture = overlay.film_url(images.decode(path), overlay.EXAMPLE_SIDE)
    # As a data URL, because the file of an icon would be swept away with the uploads.
    return gr.Button(label, icon={"path": path.name, "url": picture})


def _endpoint(function: object, source: gr.File, name: str) -> None:
    gr.Button(visible=False).click(
        function, source, gr.JSON(visible=False), preprocess=False, api_name=name
    )


def main() -> None:
    """Serve the page."""
    page = build()
    privacy.keep_clean(UPLOADS, page, DELETE_EVERY, DELETE_AFTER)
    page.launch(
        theme=looks.theme(),
        css=looks.css(),
        head=looks.head(),
        i18n=page.i18n_texts,
        max_file_size=images.MAX_BYTES,
        state_session_capacity=SESSIONS,
        max_threads=4 * THREADS,  # each keeps an interpreter of its own
        run_history=False,
        ssr_mode=False,
        footer_links=["settings"],
        mcp_server=MCP,
    )


if __name__ == "__main__":
    main()
