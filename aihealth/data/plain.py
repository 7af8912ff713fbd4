"""Plain folders of images that a training takes besides its datasets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aihealth import images
from aihealth.data.prepared import Images
from aihealth.errors import UserError
from aihealth.files import suffix_is_image


def folder_pixels(folders: Sequence[str | Path], size: int) -> np.ndarray:
    """All images in folders, at any depth, as `images.prepare` gives them.

    Returns:
        uint8 `(n, size, size)`, in the order of the folders and their files' names.

    Raises:
        UserError: a folder without images, or one that cannot be read.
    """
    found = []
    for folder in folders:
        files = sorted(file for file in Path(folder).rglob("*") if suffix_is_image(file))
        if not files:
            raise UserError(f"{folder} holds no images")
        for file in files:
            try:
                found.append(images.prepare(file, size))
            except images.ImageError as error:
                raise UserError(f"{file}: {error}") from error
    return np.stack(found) if found else np.empty((0, size, size), np.uint8)


def class_folders(root: Path, source: str | None, classes: Sequence[str], size: int) -> Images:
    """The images in folders of some of the classes; their source by default has the root's name.

    Raises:
        UserError: there is no such folder, or as for `folder_pixels`.
    """
    folders = [folder for name in classes if (folder := Path(root, name)).is_dir()]
    if not folders:
        raise UserError(f"{root} has no folder {' or '.join(classes)}")
    pixels = [folder_pixels([folder], size) for folder in folders]
    labels = [classes.index(folder.name) for folder in folders]
    count = sum(map(len, pixels))
    return Images(
        np.concatenate(pixels),
        np.repeat(labels, list(map(len, pixels))),
        list(classes),
        np.full(count, source or root.resolve().name),
        np.array([f"{root}/{index}" for index in range(count)]),
    )
