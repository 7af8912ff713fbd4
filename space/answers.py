"""What the endpoints and the page call: files in, answers out."""

import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import batch
import front
import gradio as gr
import pictures
import places
import render
import texts
from startup import Served, short_revision

from aihealth import Prediction
from aihealth.images import ImageError, ImageLike, decode_with_warning, read_bytes
from aihealth.structure import decodes_here

STEP = 0.3  # seconds between two reports of how far a batch is


class Answers:
    """The functions of the page, the API and the MCP tools, for one model.

    A file is what Gradio makes of an upload: a dictionary with `path`, where it lies, and
    `orig_name`, as the visitor calls it. Whatever a visitor can mend becomes a `gr.Error`, which
    the page shows and no log keeps.
    """

    def __init__(self, served: Served, threads: int) -> None:
        """Answer with one model.

        Args:
            served: the model.
            threads: how many images are looked at side by side. A classifier keeps an interpreter
                for each thread that uses it, and Gradio has forty: these few bound the memory.
        """
        self._served = served
        self._places = places.Places()
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="classify")

    def predict(self, image: dict) -> dict:
        """Compare one chest radiograph with radiographs labelled Covid, Normal and Pneumonia.

        For research and teaching; not a medical device, and no answer about a person's health.

        Args:
            image: a radiograph as PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM file, at most 50 MB.

        Returns:
            label: the most probable class, or null when the model is not sure or when the image
            does not look like a chest radiograph; probabilities: one per class, sum 1;
            is_chest_radiograph; abstained; warning; model and its revision.
        """
        if image is None:
            raise gr.Error("no image was sent", print_exception=False)
        return {**self._classify(_path(image)).to_dict(), **self._identity()}

    def predict_batch(self, files: list[dict]) -> list[dict]:
        """Compare many chest radiographs; a file that cannot be read has its reason in `error`.

        For research and teaching; not a medical device, and no answer about a person's health.

        Args:
            files: radiographs as for `predict`, or ZIP archives of them, at most 200 images in all.

        Returns:
            One object an image: `file` (its name), what `predict` returns, and `error`.
        """
        with batch.items(_uploads(files)) as images:
            return [{**row.to_dict(), **self._identity()} for row in self._rows(images)]

    def show(self, image: dict, language: str) -> dict:
        """The page's answer for one image.

        Args:
            image: the upload.
            language: "en" or "fr".

        Returns:
            `html`, the panel; `image`, what viewer.js takes, or None; `label`, or None without one;
            `refused`, whether the file cannot be used.
        """
        language = texts.of_language(language)
        try:
            prediction = self._classify(_path(image))
        except gr.Error as error:
            html = render.refusal(error.message, language)
            return {"html": html, "image": None, "label": None, "refused": True}
        config = self._served.classifier.config
        return {
            "html": render.answer(prediction, config, self._served.reliability, language),
            "image": render.picture(
                prediction, language, self._model(), self._stored(_path(image), prediction)
            ),
            "label": prediction.label,
            "refused": False,
        }

    def show_batch(self, files: list[dict], language: str) -> Iterator[dict]:
        """The page's table for many images: how far it is (done, total), at last the `html`."""
        language = texts.of_language(language)
        rows, told = [], 0.0
        with batch.items(_uploads(files)) as images:
            total = min(len(images), batch.MAX_IMAGES)
            for row in self._rows(images):
                rows.append(row)
                if time.monotonic() > told + STEP and len(rows) < total:
                    told = time.monotonic()
                    yield {"done": len(rows), "total": total}
        classifier = self._served.classifier
        warning = classifier.shift(row.prediction for row in rows if row.prediction).warning
        csv = batch.to_csv(rows, classifier, warning)
        yield {"html": render.table(rows, classifier.classes, language, warning, csv)}

    def _stored(self, path: str, prediction: Prediction) -> dict[str, Any] | None:
        return self._workers.submit(pictures.stored, _read(path), prediction.pixels).result()

    def _rows(self, images: list[batch.Item]) -> Iterator[batch.Row]:
        self._require_model()
        return batch.rows(self._predict, images)

    def _classify(self, path: str | Path) -> Prediction:
        self._require_model()
        try:
            return self._predict(path)
        except ImageError as error:
            reason = batch.ZIP_ALONE if zipfile.is_zipfile(path) else str(error)
            raise gr.Error(reason, print_exception=False) from None

    def _predict(self, image: ImageLike) -> Prediction:
        answer = self._workers.submit(self._answer_quickly, image).result()
        if answer is not None:
            return answer
        with self._places.place(front.current_visitor()):
            decoded = decode_with_warning(image)
        return self._workers.submit(self._served.classifier.answer, *decoded).result()

    def _answer_quickly(self, image: ImageLike) -> Prediction | None:
        """The answer, or None for a file that has to wait for a place behind the wall."""
        data = image if isinstance(image, bytes) else _read(image)
        return self._served.classifier.predict(data) if decodes_here(data) else None

    def _require_model(self) -> None:
        if self._served.classifier is None:
            raise gr.Error(self._served.problem, print_exception=False)

    def _model(self) -> str:
        revision = short_revision(self._served.classifier.revision)
        return " ".join(filter(None, [self._served.name, revision]))

    def _identity(self) -> dict[str, str | None]:
        return {"model": self._served.name, "revision": self._served.classifier.revision}


def _uploads(files: list[dict] | None) -> list[tuple[str, str]]:
    if not isinstance(files or [], list):
        raise gr.Error("a list of files is needed", print_exception=False)
    return [(str(_field(file, "orig_name") or "image"), _path(file)) for file in files or []]


def _path(file: object) -> str:
    """Where an upload lies, as a call says; Gradio has seen to it that it is one of ours."""
    path = _field(file, "path")
    if not isinstance(path, str) or not path:
        raise gr.Error("a file is an object with the path of an upload", print_exception=False)
    return path


def _field(file: object, name: str) -> object:
    return file.get(name) if isinstance(file, dict) else None


def _read(path: str | Path) -> bytes:
    if not Path(path).exists():
        raise ImageError(front.REMOVED)
    return read_bytes(path)
