"""From one item of an archive to its row, in whichever process."""

from collections.abc import Callable
from typing import Any

from aihealth import answers
from aihealth.classifier import Classifier, Prediction
from aihealth.data.archive import Item
from aihealth.errors import NoImage
from aihealth.files import HOLDS_NONE, NO_IMAGE, SYSTEM
from aihealth.images import ImageError

Answered = tuple[dict[str, Any], Prediction | None]


def answer(
    classifier: Classifier, item: Item, see: Callable[[str, Prediction], None] | None = None
) -> Answered:
    """Answer for one image.

    Args:
        classifier: the release.
        item: of an archive.
        see: shown each prediction with its pictures and the item's name.

    Returns:
        The row of `answers.row`, and the prediction without pictures, where there is one. The row
        of a file in a folder that proves to be no image, or to hold none by nature, has only
        `left_out`: why.
    """
    if item.hidden:
        return {"left_out": SYSTEM}, None
    try:
        content = item.read()
        if content is None:
            return {"left_out": NO_IMAGE}, None
        prediction = classifier.predict(content)
    except ImageError as error:
        if item.found and isinstance(error, NoImage):
            return {"left_out": HOLDS_NONE}, None
        return answers.row(classifier, item.name, error=str(error)), None
    if see:
        see(item.name, prediction)
    return answers.row(classifier, item.name, prediction), prediction.without_pictures()
