"""Groups: images that must stay on one side of a split.

Two images are of one group when they are near-duplicates or show the same patient. The patient is
known from `aihealth.data.patients`.
"""

from collections.abc import Sequence

import numpy as np

from aihealth.data.duplicates import NearDuplicates, connected
from data_prep.scan import Scanned


def group_images(
    images: Sequence[Scanned], patients: Sequence[str | None], near: NearDuplicates
) -> list[str]:
    """Tie near-duplicates and images of one patient together.

    Args:
        images: the readable images.
        patients: the patient of each, or None; the same number in two sources is two patients.
        near: their near-duplicates.

    Returns:
        The name of each image's group: a digest of the group's contents, so that it depends
        neither on paths nor on order nor on the machine, and tells nothing of a patient.
    """
    first: dict[tuple[str, str], int] = {}
    ties = []
    for index, (image, patient) in enumerate(zip(images, patients, strict=True)):
        if patient is not None:
            ties.append((first.setdefault((image.entry.source, patient), index), index))
    ties = np.array(ties, dtype=np.int64).reshape(-1, 2)
    numbers = connected(len(images), np.concatenate([near.edges(), ties])).tolist()
    least: dict[int, str] = {}
    for number, image in zip(numbers, images, strict=True):
        least[number] = min(least.get(number, image.sha256), image.sha256)
    return [least[number][:16] for number in numbers]
