"""One trained Keras model in every layout that a loader may want.

- Keras 3: `config.json`, `metadata.json`, `model.weights.h5`
  (`keras.saving.load_model("hf://...")`, `aihealth.from_pretrained_keras`);
- TensorFlow SavedModel with Keras metadata (`huggingface_hub` 0.x with `tf_keras`);
- LiteRT: probabilities, heatmaps and features in one call (`aihealth.Classifier`).

Needs TensorFlow, also where the model was trained on another backend.
"""

import importlib
import inspect
import shutil
import tempfile
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import h5py
import keras
import numpy as np

from aihealth import release
from aihealth.errors import UserError
from aihealth.modeling import architectures, graph

HALF_MAX = float(np.finfo(np.float16).max)


def export_model(model: keras.Model, folder: str | Path) -> None:
    """Write all layouts of a model into a release folder.

    Args:
        model: one flat functional model as `aihealth.modeling.networks.build` makes it.
        folder: must exist.
    """
    folder = Path(folder)
    save_keras(model, folder)
    save_tf_keras(model, folder)
    save_litert(model, folder / release.LITERT)


def round_weights(model: keras.Model) -> None:
    """Round all weights to half precision, in place, so that every layout holds the same ones.

    The LiteRT file stores half floats, and a compressed `.h5` of rounded floats is half as large.
    """
    rescaled = rescale_to_unit_batch_norm(model)
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight.value)
        if weight.path not in rescaled and np.abs(value).max(initial=0.0) < HALF_MAX:
            weight.assign(value.astype(np.float16).astype(value.dtype))


def rescale_to_unit_batch_norm(model: keras.Model) -> set[str]:
    """Scale each convolution so that the batch normalisation after it multiplies by 1 or -1.

    The LiteRT converter multiplies that factor into the convolution before it rounds to half
    floats; with any other factor it would round other numbers than Keras has (0.007 of
    probability were seen). The function stays the same, in training too, as batch normalisation
    undoes any scale of its input.

    Args:
        model: a flat functional model; changed in place, its convolutions rounded.

    Returns:
        Paths of the weights of batch normalisation, which must not be rounded any more.
    """
    takes = defaultdict(set)  # name of a layer: those whose outputs it takes
    for name, _, origins in graph.calls(model):
        takes[name].update(origin for origin, _ in origins)
    users = Counter(origin for origins in takes.values() for origin in origins)
    settled = set()
    for norm in model.layers:
        if not isinstance(norm, keras.layers.BatchNormalization):
            continue
        maker, *others = takes[norm.name]
        conv = model.get_layer(maker)
        plain = isinstance(conv, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
        if others or not plain or conv.use_bias or users[maker] > 1 or len(norm.weights) != 4:
            continue
        (kernel,) = conv.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        size = np.maximum(np.abs(gamma), np.sqrt(2 * norm.epsilon))
        scale = size / np.sqrt(variance + norm.epsilon)
        shape = kernel.shape[2:] if isinstance(conv, keras.layers.DepthwiseConv2D) else (-1,)
        kernel = kernel * scale.reshape(shape)
        if np.abs(kernel).max() >= HALF_MAX:
            continue
        conv.set_weights([kernel.astype(np.float16).astype(kernel.dtype)])
        mean, factor = mean * scale, gamma / size
        offset = (beta - factor * mean).astype(np.float16).astype(beta.dtype)
        norm.set_weights([gamma, offset + factor * mean, mean, size**2 - norm.epsilon])
        settled |= {weight.path for weight in norm.weights}
    return settled


def scale_logits(model: keras.Model, temperature: float) -> None:
    """Divide the model's logits by a temperature, inside its last layer (Guo et al., ICML 2017)."""
    dense = model.get_layer(graph.PROBABILITIES)
    dense.set_weights([weight / temperature for weight in dense.get_weights()])


def save_keras(model: keras.Model, folder: Path) -> None:
    """Write the Keras 3 folder layout: the members of a `.keras` archive as files."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "model.keras"
        # A second model of the same layers: it was never compiled, so no optimizer is saved.
        keras.Model(model.inputs, model.outputs, name=model.name).save(archive)
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
    _compress_h5(folder / "model.weights.h5")


def _compress_h5(path: Path) -> None:
    """Rewrite a weights file with compression, which every HDF5 reader undoes."""
    part = path.with_suffix(".part")
    with h5py.File(path) as source, h5py.File(part, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                # Small arrays would grow: a chunk costs more than it saves.
                packed = (
                    {"compression": "gzip", "shuffle": True, "chunks": item.shape}
                    if item.nbytes > 4096
                    else {}
                )
                made = target.create_dataset(name, data=item[()], **packed)
            else:
                made = target.require_group(name)
            made.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    part.replace(path)


# === TensorFlow SavedModel for loaders of the previous generation ===


def save_tf_keras(model: keras.Model, folder: Path) -> None:
    """Write a SavedModel that `tf_keras.models.load_model` revives as a Keras model."""
    twin = to_tf_keras(model)
    for name in release.SAVED_MODEL_FILES:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    # Built-in layers are revived from their configuration: traces would only add megabytes.
    twin.save(str(folder), save_format="tf", include_optimizer=False, save_traces=False)
    (folder / "assets").rmdir()
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # random, and nobody reads it


def to_tf_keras(model: keras.Model) -> object:
    """The same network with the same weights as a `tf_keras` (Keras 2) functional model.

    Args:
        model: a flat functional model of layers that both generations have.

    Raises:
        UserError: a layer exists in Keras 3 only.
    """
    tf_keras = importlib.import_module("tf_keras")
    made, tensors = {}, {}  # tensors: what each call of each layer gives
    for spec in model.get_config()["layers"]:
        name, config = spec["config"]["name"], spec["config"]
        if spec["class_name"] == "InputLayer":
            tensors[name, 0] = tf_keras.Input(config["batch_shape"][1:], name=name)
            continue
        try:
            made[name] = _tf_keras_layer(tf_keras, spec["class_name"], config)
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(
                f"--arch {model.name} cannot be released: tf_keras has no {spec['class_name']} "
                f"like its layer {name}; choose another architecture"
            ) from error
    for name, call, origins in graph.calls(model):
        inputs = [tensors[origin] for origin in origins]
        tensors[name, call] = made[name](inputs if len(inputs) > 1 else inputs[0])
    for name, layer in made.items():
        layer.set_weights(model.get_layer(name).get_weights())
    return tf_keras.Model(
        [tensors[tensor.name, 0] for tensor in model.inputs],
        tensors[graph.PROBABILITIES, 0],
        name=model.name,
    )


def _tf_keras_layer(tf_keras: object, class_name: str, config: dict) -> object:
    """A Keras 2 layer from a Keras 3 configuration: what Keras 2 does not know is left out."""
    if config.get("activation") in ("silu", "swish"):
        raise ValueError("a SavedModel of TensorFlow 2.21 cannot hold this activation's gradient")
    cls = getattr(tf_keras.layers, class_name)
    known = cls(**_required(cls, config)).get_config()
    plain = {
        key: value
        for key, value in config.items()
        if key in known and key != "dtype" and not isinstance(value, dict)
    }
    return cls.from_config(known | plain)


def _required(cls: type, config: dict) -> dict:
    """Those arguments of a Keras 2 layer that have no default, from a Keras 3 configuration."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {
        parameter.name: config[parameter.name]
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.name in config
    }


# === LiteRT ===


def save_litert(model: keras.Model, path: Path) -> None:
    """Write the serving file: one uint8 image `(1, size, size, 1)` in, three outputs.

    `probabilities` `(1, classes)`, `features` `(1, d)` and, where the network allows it,
    `heatmaps` `(1, classes, h, w)`.

    Args:
        model: as `networks.build` makes it.
        path: of the file.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    size = model.input_shape[1]
    signature = [tf.TensorSpec((1, size, size, 1), tf.uint8, name="image")]
    depths = architectures.feature_layers(model)
    # What is grey already needs neither three channels nor their weighted sum.
    grey = [layer.output for layer in model.layers if layer.name == graph.GREYSCALE]
    inner = [model.get_layer(name).output for name in depths]
    taps = keras.Model(grey or model.inputs, inner + model.outputs)

    @tf.function(input_signature=signature, autograph=False)
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.cast(image, tf.float32)
        *activations, probabilities = taps(
            [pixels if grey else tf.repeat(pixels, 3, axis=-1)], training=False
        )
        means = [tf.reduce_mean(x, (1, 2)) if x.shape.rank == 4 else x for x in activations]
        outputs = {"probabilities": probabilities, "features": tf.concat(means, axis=-1)}
        if graph.has_class_activation_maps(model):
            kernel = model.get_layer(graph.PROBABILITIES).kernel
            maps = tf.nn.conv2d(activations[-1], kernel[None, None], 1, "VALID")
            outputs["heatmaps"] = tf.transpose(maps, (0, 3, 1, 2))
        return outputs

    # The converter of TensorFlow 2.21 drops variables (the file answers NaN), so they are made
    # constants first; that loses the outputs' names, which the outer function gives back.
    concrete = serve.get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete)
    names = sorted(concrete.structured_outputs)  # the order in which a dictionary is flattened

    @tf.function(input_signature=signature, autograph=False)
    def named(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(names, frozen(image), strict=True))

    with tempfile.TemporaryDirectory() as temporary:
        tf.saved_model.save(tf.Module(), temporary, signatures={"serving_default": named})
        converter = tf.lite.TFLiteConverter.from_saved_model(temporary)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())
