"""Figures for the model card and the README, drawn to be read at 600 to 800 pixels wide.

Colours are Okabe and Ito's, told apart with any colour vision; lines also differ in their dashes.
The same numbers give the same bytes: the files carry no time stamp.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from aihealth.evaluation.calibration import (
    ECE_BINS,
    bin_of,
    expected_calibration_error,
    risk_coverage,
)
from aihealth.release import whole_file

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
_INK, _GRID = "#333333", "#DDDDDD"
_DPI = 130
_LEAST = 10  # images in a bin of one source among several; fewer make a point of no meaning


def write_all(
    folder: str | Path,
    y_true: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    dataset: str,
) -> list[Path]:
    """Draw everything that predictions on one data set show.

    Args:
        folder: created where it does not exist.
        y_true: (n,) integer class indices.
        probabilities: (n, C).
        classes: C names.
        dataset: name and split, for the titles.

    Returns:
        The PNG files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    y_true, probabilities = np.asarray(y_true), np.asarray(probabilities)
    figures = {
        "confusion_matrix": confusion_figure(y_true, probabilities, classes, dataset),
        "roc": roc_figure(y_true, probabilities, classes, dataset),
        "reliability": reliability_figure(y_true, probabilities, dataset),
        "risk_coverage": risk_coverage_figure(y_true, probabilities, dataset),
    }
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def write_left_out(
    folder: str | Path, y_true: np.ndarray, probabilities: np.ndarray, sources: np.ndarray
) -> list[Path]:
    """Draw how far answers can be trusted at sources that training left out, a line for each.

    Args:
        folder: created where it does not exist.
        y_true: (n,) integer class indices.
        probabilities: (n, C), each row by a model that was trained without its source.
        sources: (n,) names.

    Returns:
        The PNG files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about, wide = ("sources left out", len(y_true)), (7.2, 4.7)
    reliability, agreement = _axes("Reliability", *about, wide)
    errors, risk = _axes("Errors when the least certain are left out", *about, wide)
    agreement.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for index, source in enumerate(np.unique(sources)):
        here = sources == source
        y, p = y_true[here], probabilities[here]
        confidence, accuracy, counts = _reliability(y, p)
        enough = counts >= _LEAST
        label = f"{source} (ECE {expected_calibration_error(p, y):.3f})"
        points = confidence[enough], accuracy[enough]
        agreement.plot(*points, marker="o", markersize=5, label=label, **_line(index))
        risk.plot(*_risk_coverage(y, p), label=str(source), **_line(index))
    agreement.set(xlabel="confidence of the most probable class", ylabel="accuracy")
    _unit_square(agreement)
    risk.set(
        xlabel="coverage (share of images answered)",
        ylabel="risk (share of errors among them)",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    for axes in (agreement, risk):
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=10.5, frameon=False)
    return [
        save(reliability, folder / "left_out_reliability.png"),
        save(errors, folder / "left_out_risk_coverage.png"),
    ]


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG of 64 colours, a third of the bytes of full colour."""
    path = Path(path)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI, facecolor="white")
    with Image.open(drawn) as picture, whole_file(path, "wb") as file:
        picture.convert("RGB").quantize(64).save(file, format="PNG", optimize=True)
    return path


def confusion_figure(
    y_true: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], dataset: str
) -> Figure:
    """Counts, shaded by the share of the true class (rows)."""
    count = len(classes)
    counts = np.zeros((count, count), int)
    np.add.at(counts, (y_true, probabilities.argmax(axis=1)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _axes("Confusion matrix", dataset, len(y_true), size=(5.2, 4.7))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(count, count):
        axes.text(
            column,
            row,
            f"{shares[row, column]:.1%}\n{counts[row, column]:,}",
            ha="center",
            va="center",
            fontsize=12,
            color="white" if shares[row, column] > 0.5 else _INK,
        )
    axes.set_xticks(range(count), classes)
    axes.set_yticks(range(count), classes)
    axes.set(xlabel="predicted (most probable class)", ylabel="true")
    axes.grid(False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def roc_figure(
    y_true: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], dataset: str
) -> Figure:
    """One-vs-rest ROC curves; a class without both positives and negatives has none."""
    from sklearn.metrics import auc, roc_curve

    figure, axes = _axes("ROC, each class against the rest", dataset, len(y_true))
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for index, name in enumerate(classes):
        positive = y_true == index
        if positive.all() or not positive.any():
            continue
        fall_out, recall, _ = roc_curve(positive, probabilities[:, index])
        label = f"{name} (AUROC {auc(fall_out, recall):.3f})"
        axes.plot(fall_out, recall, label=label, **_line(index))
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    _unit_square(axes)
    _legend(axes, "lower right")
    return figure


def reliability_figure(y_true: np.ndarray, probabilities: np.ndarray, dataset: str) -> Figure:
    """Accuracy against confidence of the most probable class, and how often each occurs."""
    mean_confidence, accuracy, counts = _reliability(y_true, probabilities)
    filled = counts > 0
    error = expected_calibration_error(probabilities, y_true)

    figure, axes = _axes("Reliability", dataset, len(y_true))
    edges = np.arange(ECE_BINS) / ECE_BINS
    width = 1 / ECE_BINS
    share = counts / counts.sum()
    axes.bar(edges, share, width, align="edge", color="#BBD7EA", label="share of images")
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="perfect")
    label = f"accuracy (ECE {error:.3f})"
    axes.plot(mean_confidence[filled], accuracy[filled], marker="o", markersize=5, label=label,
              **_line(0))  # fmt: skip
    axes.set(xlabel="confidence of the most probable class", ylabel="accuracy")
    _unit_square(axes)
    _legend(axes, "best")
    return figure


def risk_coverage_figure(y_true: np.ndarray, probabilities: np.ndarray, dataset: str) -> Figure:
    """Share of errors among what is answered, for every share of images answered."""
    coverage, risk = _risk_coverage(y_true, probabilities)
    figure, axes = _axes("Errors when the least certain are left out", dataset, len(y_true))
    axes.plot(coverage, risk, **_line(0))
    axes.set(
        xlabel="coverage (share of images answered)",
        ylabel="risk (share of errors among them)",
        xlim=(0, 1),
        ylim=(0, max(0.05, float(risk.max()) * 1.1)),
    )
    return figure


def training_figure(history: dict[str, Sequence[float]]) -> Figure:
    """Loss and accuracy by epoch, for training and validation.

    Args:
        history: what `keras.callbacks.History.history` holds: "loss", "val_loss", and a metric
            with and without "val_".
    """
    names = {name.removeprefix("val_") for name in history if "learning_rate" not in name}
    metrics = sorted(n for n in names if "accuracy" in n or "recall" in n)
    panels = ["loss", *metrics[:1]] if "loss" in names else metrics[:2]
    figure = Figure(figsize=(8.4, 3.5), layout="constrained")
    figure.suptitle("Training", fontsize=13, color=_INK)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for index, (key, label) in enumerate(((panel, "training"), (f"val_{panel}", "validation"))):
            values = history.get(key)
            if values:
                marker = "o" if len(values) < 3 else None
                epochs = np.arange(1, len(values) + 1)
                axes.plot(epochs, values, label=label, marker=marker, **_line(1 - index))
        axes.set(xlabel="epoch", ylabel=panel.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
        _legend(axes, "best")
    return figure


# === Curves ===


def _reliability(
    y_true: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and number of images of each bin; 0 where there are none."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == y_true
    column = bin_of(confidence)
    counts = np.bincount(column, minlength=ECE_BINS)
    some = np.maximum(counts, 1)
    mean_confidence = np.bincount(column, confidence, ECE_BINS) / some
    return mean_confidence, np.bincount(column, correct, ECE_BINS) / some, counts


def _risk_coverage(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk; without the few samples that alone decide whether it starts at 0 or 1."""
    correct = probabilities.argmax(axis=1) == y_true
    coverage, risk = risk_coverage(probabilities.max(axis=1), correct)
    shown = coverage >= min(0.05, coverage[-1])
    return coverage[shown], risk[shown]


# === Looks ===


def _axes(
    title: str, dataset: str, n: int, size: tuple[float, float] = (5.2, 4.7)
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"{title}\n{dataset}, n = {n:,}")
    axes.title.set(fontsize=12.5, color=_INK)
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=10.5, colors=_INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=11.5, color=_INK)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color("#888888")


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")


def _legend(axes: Axes, place: str) -> None:
    if not axes.get_legend_handles_labels()[1]:
        return  # No curve could be drawn.
    axes.legend(loc=place, fontsize=10.5, frameon=True, framealpha=0.9, edgecolor="none")


def _line(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "linewidth": 2,
    }
