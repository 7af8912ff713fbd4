"""AIHealth: chest radiographs as Covid, Normal or Pneumonia, on the Hugging Face Hub.

Not a medical device. Importing this package loads neither TensorFlow nor the Hub client:
`Classifier` and `from_pretrained_keras` are loaded when they are first asked for.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Classifier", "Prediction", "UserError", "__version__", "from_pretrained_keras"]

_HOMES = {
    "Classifier": "aihealth.classifier",
    "Prediction": "aihealth.classifier",
    "UserError": "aihealth.errors",
    "from_pretrained_keras": "aihealth.modeling.pretrained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aihealth' has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("aihealth.modeling", _HOMES[name]):
            raise
        raise ImportError(
            f"aihealth.{name} needs the whole package, and this copy is for serving only: install "
            "the project, or use keras.saving.load_model"
        ) from error
