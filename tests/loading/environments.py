"""The environments in which people load a published model, and what each of them runs.

Each is a virtual environment of its own, made once by `uv` (or `venv` and pip) under the folder
that AIHEALTH_LOADING_ENVS names, by default a temporary one. Together they take about 5 GB.
"""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

IMAGES = ("numpy>=2", "pillow>=11.3")


@dataclasses.dataclass(frozen=True)
class Environment:
    """One kind of user.

    Attributes:
        name: of its folder.
        who: the people, as in the table of the README.
        packages: what pip installs.
        programs: `check_*.py` files that run in it.
        variables: environment variables for these.
        tolerance: largest difference from the Keras model that is allowed.
        card_blocks: phrases of code blocks of the card that must run here as written.
    """

    name: str
    who: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-5
    card_blocks: tuple[str, ...] = ()


ENVIRONMENTS = (
    Environment(
        "today",
        "today's stack",
        ("tensorflow>=2.21,<2.22", "keras>=3.13,<4", "huggingface_hub>=2.4,<3", *IMAGES),
        ("check_aihealth_keras.py", "check_keras_hf.py"),
        card_blocks=(
            "from aihealth import from_pretrained_keras",
            'load_model("hf://',
            "load_model(snapshot_download",
        ),
    ),
    # Keras 3.15 reads hf:// through TensorFlow's file system, whatever the backend.
    Environment(
        "jax",
        "Keras on JAX",
        ("jax", "tensorflow", "keras>=3.13,<4", "huggingface_hub>=2.4,<3", *IMAGES),
        ("check_keras_hf.py", "check_aihealth_keras.py"),
        {"KERAS_BACKEND": "jax"},
        card_blocks=('load_model("hf://',),
    ),
    Environment(
        "torch",
        "Keras on torch",
        ("torch", "tensorflow", "keras>=3.13,<4", "huggingface_hub>=2.4,<3", *IMAGES),
        ("check_keras_hf.py", "check_aihealth_keras.py"),
        {"KERAS_BACKEND": "torch"},
        card_blocks=('load_model("hf://',),
    ),
    Environment(
        "jax-alone",
        "Keras on JAX without TensorFlow",
        ("jax", "keras>=3.13,<4", "huggingface_hub>=2.4,<3", *IMAGES),
        ("check_aihealth_keras.py",),
        {"KERAS_BACKEND": "jax"},
        card_blocks=("load_model(snapshot_download",),
    ),
    Environment(
        "hub0-keras3",
        "existing code, huggingface_hub 0.36 with Keras 3",
        ("tensorflow>=2.21,<2.22", "keras>=3.13,<4", "huggingface_hub==0.36.2", *IMAGES),
        ("check_hub0.py",),
        card_blocks=("huggingface_hub<1",),
    ),
    Environment(
        "hub0-tf_keras",
        "existing code, huggingface_hub 0.36 with tf_keras",
        ("tensorflow>=2.21,<2.22", "tf_keras>=2.21,<2.22", "huggingface_hub==0.36.2", *IMAGES),
        ("check_hub0.py",),
        card_blocks=("huggingface_hub<1",),
    ),
    Environment(
        "litert",
        "no Keras at all, and Inference Endpoints",
        ("ai-edge-litert>=2.1", "huggingface_hub>=1.31,<3", *IMAGES),
        ("check_classifier.py", "check_handler.py"),
        tolerance=1e-3,
        card_blocks=("from aihealth import Classifier", "from handler import EndpointHandler"),
    ),
)


def python_of(environment: Environment, root: Path) -> Path:
    """The interpreter of an environment, which is made where it is missing or has changed.

    Args:
        environment: which one.
        root: folder of all environments.
    """
    folder = root / environment.name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "packages.txt"
    wanted = "\n".join(environment.packages)
    if done.is_file() and done.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        run(uv, "venv", "--quiet", "--python", sys.executable, folder)
        run(uv, "pip", "install", "--quiet", "--python", python, *environment.packages)
    else:
        run(sys.executable, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet", *environment.packages)
    done.write_text(wanted)
    return python


def run(*words: object) -> None:
    """Run a command; its output is shown, a failure ends the run."""
    subprocess.run([str(word) for word in words], check=True)
