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
    "from_pretrained_keras": "aihealth.hub",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aihealth' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
