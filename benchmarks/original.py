"""What people used before: the original AIHealth script's way, built anew.

    python -m benchmarks.original build MODEL.h5        # trained one step, as its file was saved
    python -m benchmarks.original answer MODEL.h5 FILE  # load, answer, stop
    python -m benchmarks.original page MODEL.h5 PORT    # its Gradio page

Nothing of `aihealth` is used here.
"""

import argparse
import io
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

SIZE = 224
CLASSES = ["Covid", "Normal", "Pneumonia"]
BATCH = 32


def network(units: int):
    """The CNN: 50.5 million parameters, nearly all between Flatten and the `units` of a Dense."""
    from tensorflow import keras

    model = keras.Sequential(
        [
            keras.layers.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def build(path: Path, units: int) -> None:
    """Save the network as training left it: with Adam's two moments of every weight."""
    model = network(units)
    labels = np.eye(len(CLASSES), dtype=np.float32)[np.arange(BATCH) % len(CLASSES)]
    model.train_on_batch(np.zeros((BATCH, SIZE, SIZE, 3), np.float32), labels)
    part = path.with_name(f"part-{path.name}")
    model.save(part)
    part.replace(path)


def load(path: str | Path):
    """Open the saved model."""
    from tensorflow import keras

    return keras.models.load_model(path)


def pixels(data: bytes) -> np.ndarray:
    """The bytes of a file as the network takes them, float32 `(1, 224, 224, 3)`.

    The original reads no DICOM; so that its loop can be measured, pydicom is called as its
    documentation does.
    """
    if data[128:132] == b"DICM":
        import pydicom

        raw = pydicom.dcmread(io.BytesIO(data)).pixel_array.astype(np.float32)
        image = Image.fromarray((255 * raw / raw.max()).astype(np.uint8))
    else:
        image = Image.open(io.BytesIO(data))
    image = image.convert("RGB").resize((SIZE, SIZE))
    return np.asarray(image, np.float32)[None] / 255


def answer(model, data: bytes) -> np.ndarray:
    """Probabilities for one file."""
    return model.predict(pixels(data), verbose=0)[0]


def page(model_path: str, port: int) -> None:
    """The Gradio page."""
    import gradio as gr

    model = load(model_path)

    def classify(image: Image.Image) -> dict[str, float]:
        image = np.asarray(image.convert("RGB").resize((SIZE, SIZE)), np.float32)[None] / 255
        return dict(zip(CLASSES, map(float, model.predict(image, verbose=0)[0]), strict=True))

    gr.Interface(classify, gr.Image(type="pil"), gr.Label()).launch(
        server_name="127.0.0.1", server_port=port
    )


def main() -> None:
    """Run one of the commands above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("build", "answer", "page"))
    parser.add_argument("subject", help="model file")
    parser.add_argument("rest", nargs="*", help="image files, or a number: units, port")
    args = parser.parse_args()
    if args.command == "build":
        build(Path(args.subject), *map(int, args.rest or [128]))
    elif args.command == "answer":
        model = load(args.subject)
        for file in args.rest:
            print(answer(model, Path(file).read_bytes()), flush=True)
    else:
        page(args.subject, int(args.rest[0]))


if __name__ == "__main__":
    main()
