"""What can be learned from a few numbers: how much they still know of a class or a source."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aihealth.evaluation.metrics import SEED, evaluate_predictions

FOLDS = 5


def learned(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> dict[str, Any] | None:
    """How well logistic regression tells labels from features, never within a group.

    Args:
        features: (n, d).
        labels: (n,) integers below len(names).
        groups: (n,) cross-validation keeps each on one side.
        names: of the labels.

    Returns:
        value and interval, the balanced accuracy over `FOLDS` folds; None where a label is in too
        few groups to be held out.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    present = np.unique(labels)
    folds = min(FOLDS, *(len(np.unique(groups[labels == label])) for label in present))
    if len(present) < 2 or folds < 2:
        return None
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    called = cross_val_predict(
        model, features.astype(np.float64), labels, groups=groups, cv=splitter
    )
    return balanced(labels, called, groups, names)


def sources_from(
    features: np.ndarray, labels: np.ndarray, sources: np.ndarray, groups: np.ndarray
) -> dict[str, Any] | None:
    """How well the source is told from features, and from the class alone; None with one source."""
    names, index = np.unique(sources, return_inverse=True)
    if len(names) < 2:
        return None
    sizes = np.bincount(index)  # Sources weigh alike in balanced accuracy, so they do here.
    usual = {
        label: (np.bincount(index[labels == label], minlength=len(names)) / sizes).argmax()
        for label in np.unique(labels)
    }
    guessed = np.array([usual[label] for label in labels])
    return {
        "sources": names.tolist(),
        "chance": round(1 / len(names), 6),
        "features": learned(features, index, groups, names),
        "class": balanced(index, guessed, groups, names),
    }


def balanced(
    labels: np.ndarray, called: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Balanced accuracy, its interval and the recalls of predictions `called`."""
    names = [str(name) for name in names]
    block = evaluate_predictions(labels, np.eye(len(names))[called], names, groups=groups)
    return {
        "value": block["balanced_accuracy"],
        "interval": block["intervals"]["balanced_accuracy"],
        "recall": block["recall"],
    }
