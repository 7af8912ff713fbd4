"""Before a release is published: every loader that the card promises opens it and agrees."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from aihealth import images, release
from aihealth.errors import UserError, first_line
from aihealth.publishing import staging

TOLERANCE = 1e-3
REQUIRED = (
    *release.KERAS_FILES,
    *release.SAVED_MODEL_FILES,
    release.LITERT,
    release.CONFIG,
    release.METRICS,
    release.PROVENANCE,
    release.HANDLER,
    release.EXAMPLE,
    *(f"aihealth/{name}" for name in release.SERVING_MODULES),
)

# Run in a process of its own, where only the release's own modules can be imported.
_ASK_HANDLER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from handler import EndpointHandler
from PIL import Image
assert "tensorflow" not in sys.modules
handler = EndpointHandler(sys.argv[1])
print("ANSWER" + json.dumps([handler({"inputs": Image.open(name)}) for name in sys.argv[2:]]))
"""


def check_release(folder: str | Path) -> dict[str, float]:
    """Open a model repo in each way that its card promises and compare the answers.

    Args:
        folder: what will be sent.

    Returns:
        Per way of loading, the largest difference from `keras.Model.predict`.

    Raises:
        UserError: a file is missing, a loader fails, or two of them disagree by more than
            `TOLERANCE`.
    """
    folder = Path(folder)
    config = release.ReleaseConfig.load(folder)
    missing = [name for name in REQUIRED if not (folder / name).exists()]
    if config.ood_threshold is not None and not (folder / release.OOD).exists():
        missing.append(release.OOD)
    if missing:
        raise UserError(f"{folder} is not a whole release: {', '.join(missing)} missing")
    _only_keras_layers(folder)
    pictures = variants(config.input_size)
    x = np.repeat(np.stack(pictures)[..., None], 3, axis=-1).astype("float32")
    network, answered = _classifier(folder, pictures)
    answers = {
        **_keras(folder, x),
        "tf_keras": _tf_keras(folder, x),
        "aihealth.Classifier": network,
        "handler.py": _handler(folder, pictures, config.classes),
    }
    expected = answers["model.predict"]
    whole = np.allclose(expected.sum(axis=-1), 1, atol=TOLERANCE)
    if expected.shape != (len(pictures), len(config.classes)) or not whole:
        raise UserError(
            f"{folder}: the model does not give {len(config.classes)} probabilities that sum to 1"
        )
    # What is far from all training images may be set right before it is answered: the handler's
    # answers are the classifier's, the classifier's network is Keras's.
    wanted = {"handler.py": answered}
    differences = {
        name: float(np.abs(given - wanted.get(name, expected)).max())
        for name, given in answers.items()
    }
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise UserError(
                f"{folder}: {name} gives other probabilities than Keras ({difference:.4f} apart); "
                "export the release again with train.py"
            )
    return differences


def variants(size: int) -> list[np.ndarray]:
    """The example image in six ways, so that answers differ.

    All upright and positive: others the classifier would set right before it answers.

    Args:
        size: side, pixels.

    Returns:
        uint8 arrays `(size, size)`.
    """
    scaled = images.prepare(staging.example(), size) / 255
    tones = [scaled, scaled**1.5, scaled**0.7, scaled * 0.7 + 0.1]
    tones += [scaled[:, ::-1], scaled[:, ::-1] * 0.8 + 0.2]
    return [np.round(255 * tone).astype(np.uint8) for tone in tones]


def _only_keras_layers(folder: Path) -> None:
    """A layer of our own would need our code wherever the model is loaded, and a Lambda runs code.

    Raises:
        UserError: the model has such a layer, or a model within the model.
    """
    for layer in release.read_json(folder / "config.json").get("config", {}).get("layers", []):
        name = layer.get("class_name")
        own = not str(layer.get("module") or "").startswith("keras.")
        if own or layer.get("registered_name") or name in ("Lambda", "Functional", "Sequential"):
            raise UserError(
                f"{folder}: the model's layer {layer.get('name')!r} ({name}) is not a plain layer "
                "of Keras, so that it would not load everywhere; publish one flat model"
            )


def _keras(folder: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    from aihealth.modeling.pretrained import from_pretrained_keras

    model = from_pretrained_keras(folder)
    import keras

    return {
        "model.predict": model.predict(x, verbose=0),
        # Called as users do, without training=False: dropout must stay off.
        "model(x)": keras.ops.convert_to_numpy(model(x)),
    }


def _tf_keras(folder: Path, x: np.ndarray) -> np.ndarray:
    try:
        import tf_keras
    except ImportError as error:
        raise UserError(f"the SavedModel cannot be checked: {error}; pip install tf_keras") from (
            error
        )
    try:
        model = tf_keras.models.load_model(str(folder), compile=False)
    except Exception as error:  # TensorFlow raises many kinds on damaged files.
        raise UserError(
            f"{folder}: tf_keras cannot load the SavedModel: {first_line(error)}"
        ) from error
    return model.predict(x, verbose=0)


def _classifier(folder: Path, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """`(n, classes)` probabilities: what its network gives, and what it answers."""
    from aihealth.classifier import Classifier

    classifier = Classifier(folder)
    network = [classifier.outputs(picture)["probabilities"] for picture in pictures]
    answers = classifier.predict_batch(pictures)
    return np.array(network), np.array([list(answer.probabilities.values()) for answer in answers])


def _handler(folder: Path, pictures: list[np.ndarray], classes: list[str]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as temporary:
        names = []
        for index, picture in enumerate(pictures):
            names.append(str(Path(temporary) / f"{index}.png"))
            Image.fromarray(picture).save(names[-1])
        command = [sys.executable, "-I", "-B", "-c", _ASK_HANDLER, str(folder.resolve()), *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise UserError(f"{folder}: {release.HANDLER} fails: {reason}")
    answers = json.loads(lines[-1].removeprefix("ANSWER"))
    scores = [{row["label"]: row["score"] for row in answer} for answer in answers]
    return np.array([[score.get(name, np.nan) for name in classes] for score in scores])
