"""One answer after another, from the bytes of a PNG to probabilities and heatmap."""

import time

import numpy as np

from benchmarks import original
from benchmarks.drawn import film, original_model, png_file
from benchmarks.harness import (
    ORIGINAL,
    OURS,
    Settings,
    Table,
    alternate,
    check_same,
    rows,
    seconds,
)


def run(settings: Settings) -> list[Table]:
    """Both warm in one process, two threads each."""
    import aihealth
    from aihealth import Classifier, images, margins

    data = png_file(settings).read_bytes()
    classifier = Classifier.from_pretrained(settings.model)
    old = original.load(original_model(settings))
    answer = {
        OURS: lambda: classifier.predict(data),
        ORIGINAL: lambda: original.answer(old, data),
    }
    wall, processor = (
        alternate(
            {
                name: (lambda call=call, clock=clock: 1000 * seconds(call, 15, clock))
                for name, call in answer.items()
            },
            settings.rounds,
        )
        for clock in (time.perf_counter, time.process_time)
    )
    pixels = images.decode(data)
    outputs = classifier.outputs(pixels)
    parts = {
        "decoding": lambda: images.decode(data),
        "network": lambda: classifier.outputs(pixels),
        "is it a chest radiograph": lambda: classifier._distance.score(outputs["features"][None]),
        "is it lateral": lambda: images.mirror_correlation(pixels),
    }
    checks = {
        f"ms of which {name}": round(1000 * seconds(part, 50), 3) for name, part in parts.items()
    }
    keras_model = aihealth.from_pretrained_keras(str(settings.model))
    drawn = [film(seed) for seed in range(4 if settings.quick else 24)]
    films = [pixels[margins.content(pixels)] for pixels in drawn]  # Keras sees margins, too.
    size = classifier.config.input_size
    batch = np.stack([images.prepare(pixels, size) for pixels in films])[..., None]
    expected = keras_model.predict(np.repeat(batch, 3, axis=-1).astype(np.float32), verbose=0)
    answers = [list(classifier.predict(pixels).probabilities.values()) for pixels in films]
    checks["largest difference to the Keras model"] = check_same(answers, expected)
    return [
        Table("next answers, warm, from bytes", "ms", rows(wall), "x20", checks),
        Table("the same, processor time of all threads", "ms", rows(processor)),
    ]
