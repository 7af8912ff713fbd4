"""What a TIFF says beside its pixels: which page is the radiograph, and what its numbers are."""

import numpy as np
from PIL import Image

from aihealth.errors import ImageError

_PAGES = 32  # of a TIFF, that are looked at
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _SUB_IFDS, _SAMPLE_FORMAT = 254, 255, 330, 339
_BITS = 258


def to_film(picture: Image.Image) -> bool:
    """Turn a TIFF to its first page that is no preview and no mask.

    Returns:
        Whether there are more such pages.

    Raises:
        ImageError: there is none.
    """
    pages: list[tuple[int, int, int]] = []  # number, width, height
    previews = list(pages)
    for number in range(_PAGES):
        try:
            picture.seek(number)
        except Exception:  # There is no such page, or it is damaged.
            break
        reduced = picture.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 5 or (
            picture.tag_v2.get(_SUBFILE_TYPE) == 2
        )
        (previews if reduced else pages).append((number, *picture.size))
    if not pages:
        if len(previews) > 1 or picture.tag_v2.get(_SUB_IFDS):
            raise ImageError("the TIFF file has a preview where its image should be; save it anew")
        pages = previews
    first = next((page for page in pages if _is_preview_of(pages[0], page)), pages[0])
    picture.seek(first[0])
    return any(page != first and not _is_preview_of(page, first) for page in pages)


def _is_preview_of(small: tuple[int, int, int], large: tuple[int, int, int]) -> bool:
    """Whether a page is another one at a quarter of its sides or less, as previews are."""
    _, width, height = small
    _, whole_width, whole_height = large
    alike = abs(width * whole_height - height * whole_width) <= 0.1 * height * whole_width
    return alike and 4 * width <= whole_width and 4 * height <= whole_height


def number_kind(picture: Image.Image) -> type | None:
    """Numbers of a TIFF that Pillow takes for others of the same length, None for all the rest."""
    tags = getattr(picture, "tag_v2", {})
    (sample_format, *_) = np.ravel(tags.get(_SAMPLE_FORMAT, 1))
    (bits, *_) = np.ravel(tags.get(_BITS, 1))
    if picture.mode == "L" and (sample_format, bits) == (2, 8):
        return np.int8
    return np.uint32 if picture.mode == "I" and (sample_format, bits) == (1, 32) else None
