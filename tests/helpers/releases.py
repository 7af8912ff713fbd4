"""Small real releases and datasets for the tests of publishing and loading.

The network looks at one thing, how bright an image is: it is made by hand, so that a better and a
worse version can be had without training.
"""

import hashlib
import json
import shutil

import numpy as np
from PIL import Image

CLASSES = ["Covid", "Normal", "Pneumonia"]
BRIGHTNESS = {"Covid": 60, "Normal": 120, "Pneumonia": 180}  # grey levels
SIZE = 32


def brightness_model(centres=(60, 120, 180), sharpness=0.002, size=SIZE):
    """A flat Keras model that says which of the centres an image's mean is nearest to."""
    import keras
    from keras import layers

    from aihealth.modeling import architectures, graph

    inputs = layers.Input((size, size, 3), name="image")
    x = layers.Identity(name=graph.FEATURES)(architectures.greyscale(inputs))
    outputs = architectures.head(x, len(CLASSES), dropout=0.5)
    model = keras.Model(inputs, outputs, name="brightness")
    centres = np.array(centres, "float32")
    model.get_layer(graph.PROBABILITIES).set_weights(
        [2 * sharpness * centres[None], -sharpness * centres**2]
    )
    return model


def lively_model(x, spread=2.0):
    """The default network with random weights that answers each of the images differently.

    Batch normalisation has every scale and sign, as training leaves it. `spread` is the standard
    deviation of the logits over the images; features of random weights differ little, so a large
    one magnifies rounding as no trained network does.
    """
    import keras

    from aihealth.modeling import graph, networks

    keras.utils.set_random_seed(0)
    model = networks.build("compact", x.shape[1], len(CLASSES))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            gamma = rng.normal(1, 0.5, gamma.shape)
            gamma[0] = 0.0
            layer.set_weights([gamma, rng.normal(0, 0.3, beta.shape), mean, variance])
            layer.momentum = 0.0  # The statistics of these images, at once.
    model(x, training=True)
    features = keras.Model(model.inputs, model.get_layer("pool").output).predict(x, verbose=0)
    kernel = rng.normal(size=(features.shape[1], len(CLASSES)))
    kernel *= spread / (features @ kernel).std(axis=0)  # logits that differ between the images
    head = model.get_layer(graph.PROBABILITIES)
    head.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def make_release(folder, centres=(60, 120, 180), **config):
    """Write a whole release of a brightness model into `folder` and return it."""
    return write_release(brightness_model(centres), folder, **config)


def release_of_a_hospital(source, folder):
    """A copy, as if trained in a hospital whose films have grey levels of 120 +- 10."""
    from aihealth import release
    from aihealth.training.distance import fit_distance

    copy_release(source, folder, ood_threshold=20.0, shift_limit=0.6)
    levels = np.random.default_rng(0).normal(120, 10, (300, 1))
    fit_distance([levels], np.zeros(300, int)).save(folder / release.OOD)
    return folder


def write_release(model, folder, **config):
    """Write a whole release of a model into `folder` and return it."""
    from aihealth import release
    from aihealth.evaluation import metrics
    from aihealth.modeling import export
    from aihealth.publishing import card

    folder.mkdir(parents=True)
    export.round_weights(model)
    export.export_model(model, folder)
    settings = {
        "classes": CLASSES,
        "input_size": model.input_shape[1],
        "arch": model.name,
        "sources": ["demo"],
    }
    release.ReleaseConfig(**settings | {"drawn_data": True} | config).save(folder)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    block = metrics.evaluate_predictions(
        labels,
        (np.eye(3)[labels] + rng.dirichlet([1, 1, 1], 60)) / 2,
        CLASSES,
        groups=np.arange(60) // 2,
        sources=np.where(np.arange(60) % 2, "north", "harbour"),
        dataset="demo",
    )
    release.write_json(folder / release.METRICS, {"test": block})
    provenance = {
        "date": "2026-11-01",
        "command": "python train.py --data demo/data --out runs/demo",
        "parameters": 9,
        "seconds": 90,
        "seed": 1337,
        "data": [{"name": "demo", "images": 180, "fingerprint": "0" * 64, "repo_id": None}],
        "versions": {"keras": "3.15.1"},
    }
    release.write_json(folder / release.PROVENANCE, provenance)
    card.write(folder)
    return folder


def stage(source, target, repo_id="org/name"):
    """The whole repo, as it would be sent."""
    from aihealth.publishing import model, staging
    from aihealth.publishing.changelog import Entry

    files = staging.collect(source, (*model.RELEASE_FILES, *model.ADDED_FILES), "a release")
    model.stage_model(files, target, repo_id, [Entry("0" * 64, "2026-11-01", "A test.")])
    return target


def copy_release(source, target, **config):
    """The same network with other settings: a new version that is neither better nor worse."""
    from aihealth import release

    shutil.copytree(source, target)
    settings = release.read_json(target / release.CONFIG) | config
    release.write_json(target / release.CONFIG, settings)
    return target


def grey_image(level, seed=0):
    """A picture of a given brightness with some grain."""
    grain = np.random.default_rng(seed).normal(level, 12, (48, 48))
    return Image.fromarray(np.clip(grain, 0, 255).astype("uint8"))


def make_dataset(folder, per_class=12, brightness=BRIGHTNESS):
    """Write a prepared dataset, as data_prep leaves it, whose classes differ in brightness."""
    from aihealth.data.manifest import REPORT, Row, write_manifest

    rows = []
    for label, level in brightness.items():
        for index in range(per_class):
            split = ("train", "validation", "test")[index % 3]
            file = f"{split}/{label}/north_{index:03d}.png"
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            grey_image(level, seed=len(rows)).save(path)
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            group = f"{label}-{index // 2}-{split}"
            rows.append(Row(file, split, label, "north", group, digest, len(content)))
    write_manifest(folder, rows)
    (folder / REPORT).write_text(json.dumps({"drawn": len(rows)}))
    return folder


def damaged(data, times=200):
    """Copies of a file with some bytes wrong, some of them cut short too."""
    rng = np.random.default_rng(0)
    for number in range(times):
        copy = bytearray(data)
        for place in rng.integers(0, len(copy), 3):
            copy[place] ^= rng.integers(1, 256)
        yield bytes(copy[: rng.integers(len(copy))] if number % 4 == 0 else copy)
