"""Old against new on the same images, before a version is published."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from aihealth import release
from aihealth.data.prepared import Images
from aihealth.data.seen import Seen
from aihealth.errors import UserError
from aihealth.evaluation import metrics
from aihealth.images import prepare
from aihealth.publishing.card_tables import dig, with_interval

SEEN = "{} more were left out: one of the versions was trained on them."


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure of both versions.

    Attributes:
        name: what is measured.
        old: value and 95% interval, for people.
        new: the same of the new version.
        difference: new minus old, with the 95% interval of the paired difference.
        worse: the whole interval lies on the bad side of no difference.
    """

    name: str
    old: str
    new: str
    difference: str
    worse: bool


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the regression check found.

    Attributes:
        dataset: name of the test data.
        n: images.
        groups: groups that the bootstrap resamples.
        rows: balanced accuracy, each class's sensitivity, calibration error.
        seen: images of the test data that one of the versions was trained on; they are not among
            the n.
    """

    dataset: str
    n: int
    groups: int
    rows: list[Row]
    seen: int = 0

    @property
    def worse(self) -> list[str]:
        """Names of the figures that are worse beyond their interval."""
        return [row.name for row in self.rows if row.worse]

    @property
    def headline(self) -> str:
        """What changed, in a line."""
        first = self.rows[0]
        old, new = (text.partition(" ")[0] for text in (first.old, first.new))
        return f"{first.name} {old} -> {new} on {self.n} images of {self.dataset}"

    def verdict(self, allowed: str | None = None) -> str:
        """One sentence on whether the new version may be published."""
        if not self.worse:
            return "Passed: no figure is worse beyond its interval."
        worse = f"worse beyond the interval on {', '.join(self.worse)}"
        return f"Allowed although {worse}: {allowed}" if allowed else f"Refused: {worse}."

    def table(self, allowed: str | None = None) -> str:
        """Markdown for a pull request: old, new and their difference, and the verdict."""
        lines = [
            f"Both versions on the same {self.n} images in {self.groups} groups of "
            f"`{self.dataset}`; 95% intervals, bootstrap over groups.",
            *([SEEN.format(self.seen)] if self.seen else []),
            "",
            "| figure | on the Hub | this version | difference |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {row.name} | {row.old} | {row.new} | {row.difference}{' ⚠' if row.worse else ''} |"
            for row in self.rows
        ]
        return "\n".join([*lines, "", f"**{self.verdict(allowed)}**"])


def compare(old: Path, new: Path, data: str) -> Comparison:
    """Evaluate two releases on the same test images.

    Args:
        old: the release on the Hub, downloaded.
        new: the release to publish.
        data: prepared dataset (its test split), plain folder with a folder per class, or dataset
            repo id. Images that a version says it was trained on are left out.

    Raises:
        UserError: the data cannot be read, or the releases have other classes than it.
    """
    from aihealth.classifier import Classifier
    from aihealth.data.opening import open_test
    from aihealth.evaluation.evaluate import answer_all

    before, after = Classifier(old, num_threads=1), Classifier(new, num_threads=1)
    classes = after.classes
    if set(before.classes) != set(classes):
        raise UserError(
            f"the classes differ: {', '.join(before.classes)} on the Hub, {', '.join(classes)} in "
            "the new version"
        )

    def ask(image: bytes) -> tuple[list[list[float]], np.ndarray]:
        answers = (before.predict(image).probabilities, after.predict(image).probabilities)
        given = [[answer[name] for name in classes] for answer in answers]
        return given, prepare(image, after.config.input_size)

    samples, answers, _ = answer_all(ask, open_test(data, classes)[0], "comparing")
    given = np.array([answer for answer, _ in answers])
    test = Images(
        np.stack([pixels for _, pixels in answers]),
        np.array([sample.label for sample in samples]),
        classes,
        np.array([sample.source for sample in samples]),
        np.array([sample.group for sample in samples]),
    )
    known = [folder / release.SEEN for folder in (old, new)]
    seen = np.zeros(len(test), bool)
    for path in filter(Path.is_file, known):
        seen |= Seen.load(path).contains(test)
    if seen.all():
        raise UserError(
            f"{data}: one of the versions was trained on all of its test images; name other ones "
            "with --regression-data"
        )
    found = compare_predictions(
        test.labels[~seen],
        given[~seen, 0],
        given[~seen, 1],
        classes,
        test.groups[~seen],
        Path(data).name,
    )
    return dataclasses.replace(found, seen=int(seen.sum()))


def compare_predictions(
    labels: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    classes: list[str],
    groups: np.ndarray,
    dataset: str,
) -> Comparison:
    """The comparison from arrays.

    Args:
        labels: `(n,)` integers.
        old: `(n, classes)` probabilities of the version on the Hub.
        new: `(n, classes)` of the new one.
        classes: names.
        groups: `(n,)` what the bootstrap resamples as a whole.
        dataset: its name, for people.
    """
    blocks = [
        metrics.evaluate_predictions(labels, given, classes, groups=groups) for given in (old, new)
    ]
    rows = [_row("balanced accuracy", ("balanced_accuracy",), blocks, labels, old, new, groups)]
    for index, name in enumerate(classes):
        of_class = labels == index
        if of_class.any():
            # Sensitivity is accuracy among the images of the class.
            part = [array[of_class] for array in (labels, old, new, groups)]
            rows.append(_row(f"sensitivity {name}", ("recall", name), blocks, *part))
    rows.append(_row("calibration error", ("ece",), blocks, labels, old, new, groups))
    return Comparison(dataset, len(labels), len(np.unique(groups)), rows)


def _row(
    name: str,
    keys: tuple[str, ...],
    blocks: list[dict[str, Any]],
    labels: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    groups: np.ndarray,
) -> Row:
    figure = "accuracy" if keys[0] == "recall" else keys[0]
    paired = metrics.paired_bootstrap_difference(labels, new, old, groups=groups, figure=figure)
    bounds = paired["interval"]
    # A single group cannot be resampled: its difference alone decides nothing.
    worse = bounds is not None and (bounds[0] > 0 if figure == "ece" else bounds[1] < 0)
    texts = [with_interval(dig(b, keys), dig(b["intervals"], keys)) for b in blocks]
    return Row(name, *texts, with_interval(paired["difference"], bounds), worse)
