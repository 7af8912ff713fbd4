"""Inference Endpoints: the release's own classifier behind the Hub's custom handler interface.

The toolkit imports this file from the root of the model repo, calls `EndpointHandler(path)` once
and the instance for each request. Not a medical device.
"""

import base64
import binascii
import sys
from pathlib import Path
from typing import Any

# The release carries the modules that it needs, so that an endpoint installs nothing of ours. In
# the Hub's cache this file is a link: its folder counts, not that of the file it points to.
sys.path.insert(0, str(Path(__file__).absolute().parent))

from aihealth.classifier import Classifier
from aihealth.images import ImageError

NOT_A_RADIOGRAPH = "This does not look like a chest radiograph: the scores mean nothing."
NOT_SURE = "The model is not sure about this image."


class EndpointHandler:
    """What Hugging Face Inference Endpoints calls for each request.

    Example:
        >>> handler = EndpointHandler("release")  # doctest: +SKIP
        >>> handler({"inputs": Image.open("radiograph.png")})  # doctest: +SKIP
        [{'label': 'Normal', 'score': 0.95}, {'label': 'Pneumonia', 'score': 0.03}, ...]
    """

    def __init__(self, path: str = "") -> None:
        """Load the release.

        Args:
            path: the folder of the model repo; the folder of this file by default.
        """
        self.classifier = Classifier(path or Path(__file__).absolute().parent)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Classify one image.

        Args:
            data: `inputs` is a PIL image (what the toolkit makes of an image body), bytes, or
                base64 text with or without a "data:image/...;base64," prefix.

        Returns:
            One `{"label", "score"}` for each class, highest score first; scores are calibrated
            probabilities that sum to 1. Where they should not be relied on each also has a
            `warning` that says why.

        Raises:
            ValueError: there is no image in the request, or it cannot be read.
        """
        image = data.get("inputs")
        if image is None:
            raise ValueError('the request has no image: send the bytes, or {"inputs": base64}')
        if isinstance(image, str):
            image = _from_base64(image)
        try:
            answer = self.classifier.predict(image)
        except ImageError as error:
            raise ValueError(str(error)) from error
        notes = [answer.warning] if answer.warning else []
        if not answer.is_chest_radiograph:
            notes.insert(0, NOT_A_RADIOGRAPH)
        elif answer.abstained:
            notes.insert(0, NOT_SURE)
        extra = {"warning": " ".join(notes)} if notes else {}
        ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])
        return [{"label": label, "score": score, **extra} for label, score in ranked]


def _from_base64(text: str) -> bytes:
    """Bytes of base64 text; text that is none is refused, so that no path is ever opened."""
    try:
        return base64.b64decode(text.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("inputs is text but not base64 of an image") from error
