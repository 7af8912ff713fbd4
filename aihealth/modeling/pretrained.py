"""From a repo id or a release folder to a Keras model."""

import os
from typing import TYPE_CHECKING

from aihealth import hub, release
from aihealth.errors import UserError, first_line

if TYPE_CHECKING:
    import keras


def from_pretrained_keras(
    repo_id: str | os.PathLike,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> "keras.Model":
    """Load the Keras 3 model of a release, on whichever backend Keras runs.

    Takes over from `huggingface_hub.from_pretrained_keras`, which 1.0 dropped, with the same
    arguments. Keras loads in safe mode: nothing from the repo is executed.

    Args:
        repo_id: a model repo such as "org/name", or a release folder.
        revision: branch, tag or commit; None is `main`.
        token: as in `huggingface_hub`; None uses HF_TOKEN or what `hf auth login` stored.
        cache_dir: where downloads are kept; the Hub's cache by default.
        local_files_only: answer from the cache, without the network.
        force_download: download again even what the cache has.

    Returns:
        A model that takes `(n, size, size, 3)` with values 0 to 255 and gives `(n, classes)`
        probabilities, classes in the order of `aihealth.json`.

    Raises:
        UserError: Keras is not installed, the repo cannot be had, or it holds no Keras 3 model.
    """
    try:
        import keras
    except ImportError as error:
        raise UserError(f"Keras cannot be imported ({error}): pip install keras tensorflow") from (
            error
        )
    folder, _ = hub.resolve(
        repo_id,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        force_download=force_download,
        allow_patterns=list(release.KERAS_FILES),
    )
    for name in release.KERAS_FILES:
        if not (folder / name).is_file():
            raise UserError(f"{repo_id} holds no Keras 3 model: {name} is missing")
    try:
        return keras.saving.load_model(str(folder))
    except Exception as error:  # Keras raises many kinds on damaged files.
        raise UserError(
            f"the Keras model of {repo_id} cannot be loaded: {first_line(error)}"
        ) from error
