"""Answering for one image: the release's LiteRT file, without TensorFlow."""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from aihealth import images, margins, release, upright
from aihealth.errors import UserError
from aihealth.ood import LEAST_FOR_SHIFT, FeatureDistance


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        label: the most probable class; None when the classifier abstains, or when the image does
            not look like a chest radiograph.
        probabilities: calibrated probability per class, in the release's order, sum 1. Given for
            every image, also where `label` is None.
        heatmaps: float32 `(classes, h, w)`, the class activation map of each class: the exact
            contribution of each place to that class's logit, negative ones cut off, 1 at the
            strongest place over all classes (Zhou et al., CVPR 2016); 0 in plain margins. None
            for networks without global average pooling.
        is_chest_radiograph: False when the features are far from those of the training images,
            and those of a smoothed copy are too.
        ood_score: distance from the training images, the smoothed copy's where that was looked at
            and is nearer; the release's threshold decides.
        abstained: True when the highest probability is below the release's threshold.
        warning: what the reader should know of this image, or None.
        pixels: uint8 `(h, w)`, the image as decoded, 0 black to 255 white; where it was a negative
            or lay on its side, as it was set right (`warning` says so).
        features: float32 `(d,)`, what the network saw, for `Classifier.shift`.
    """

    label: str | None
    probabilities: dict[str, float]
    heatmaps: np.ndarray | None = dataclasses.field(repr=False, compare=False)
    is_chest_radiograph: bool
    ood_score: float
    abstained: bool
    warning: str | None
    pixels: np.ndarray = dataclasses.field(repr=False, compare=False)
    features: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def without_pictures(self) -> "Prediction":
        """The answer without maps and pixels: thousands of these would fill the memory."""
        return dataclasses.replace(self, heatmaps=None, pixels=None)

    def to_dict(self) -> dict[str, Any]:
        """The answer without arrays, ready for JSON."""
        return {
            "label": self.label,
            "probabilities": self.probabilities,
            "is_chest_radiograph": self.is_chest_radiograph,
            "abstained": self.abstained,
            "warning": self.warning,
        }


@dataclasses.dataclass(frozen=True)
class Shift:
    """Whether images, taken together, come from elsewhere than the training data.

    Attributes:
        n: how many chest radiographs there were.
        value: how far they lie from the training data, see `FeatureDistance.shift`; None for
            fewer than `ood.LEAST_FOR_SHIFT`, and where the release has no limit.
        limit: what the known hospitals' keep within, or None.
    """

    n: int
    value: float | None
    limit: float | None

    @property
    def noticed(self) -> bool:
        """Whether they come from elsewhere."""
        return self.value is not None and self.value > self.limit

    @property
    def warning(self) -> str | None:
        """What the reader should know of these images, or None."""
        if not self.noticed:
            return None
        return (
            f"Taken together, these {self.n} images differ from those of the hospitals that the "
            f"model knows ({self.value:.2f}; theirs stay below {self.limit:.2f}): expect what its "
            "card says of hospitals that it has not seen."
        )


class Classifier:
    """A release, ready to answer. Safe to use from several threads.

    Example:
        >>> classifier = Classifier.from_pretrained("release")  # doctest: +SKIP
        >>> classifier.predict("chest.png").probabilities  # doctest: +SKIP
        {'Covid': 0.02, 'Normal': 0.95, 'Pneumonia': 0.03}
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        revision: str | None = None,
        name: str | None = None,
        num_threads: int | None = None,
    ) -> None:
        """Open a release folder.

        Args:
            folder: what `train.py` wrote, or the snapshot of a model repo.
            revision: commit that the folder was downloaded from, where it was.
            name: what rows of answers call it, by default as its folder.
            num_threads: threads for one image; by default two, or one where there is one core.

        Raises:
            UserError: the folder is no release, or its files are damaged.
        """
        self.folder = Path(folder)
        self.name, self.revision = name or self.folder.resolve().name, revision
        self.config = release.ReleaseConfig.load(self.folder)
        self.classes = list(self.config.classes)
        self._num_threads = num_threads or min(2, os.cpu_count() or 1)
        self._local = threading.local()
        self._distance = (
            FeatureDistance.load(self.folder / release.OOD)
            if self.config.ood_threshold is not None
            else None
        )
        try:
            self._model = (self.folder / release.LITERT).read_bytes()
        except FileNotFoundError as error:
            raise UserError(f"{self.folder} has no {release.LITERT}") from error
        with _quiet():  # LiteRT greets on the standard error when it first makes room.
            runner, _ = self._interpreter()  # A damaged file is found now, not at the first image.
        self._check_model(runner)

    @classmethod
    def from_pretrained(
        cls,
        repo_id_or_folder: str | os.PathLike,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        num_threads: int | None = None,
    ) -> "Classifier":
        """Open a release from a folder or from the Hub; only what serving needs is downloaded.

        Args:
            repo_id_or_folder: a folder, or a model repo such as "org/name".
            revision: branch, tag or commit; pin one where a service runs.
            token: as in `huggingface_hub`; None uses the one that `hf auth login` stored.
            cache_dir: where downloads are kept; the Hub's cache by default.
            local_files_only: answer from the cache, without the network.
            force_download: download again even what the cache has.
            num_threads: threads for one image.

        Raises:
            UserError: no such repo, revision or release, or no way to reach the Hub.
        """
        folder = release.local_folder(repo_id_or_folder)
        if folder is not None and revision is None:
            return cls(folder, num_threads=num_threads)
        from aihealth import hub  # The Hub's client takes longer to import than the rest.

        folder, commit = hub.resolve(
            repo_id_or_folder,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
            allow_patterns=list(release.SERVING_FILES),
        )
        return cls(folder, revision=commit, name=str(repo_id_or_folder), num_threads=num_threads)

    def predict(self, image: images.ImageLike) -> Prediction:
        """Answer for one image.

        Args:
            image: a path, the bytes of a file, a PIL image, or an array as `images.decode` takes.

        Raises:
            ImageError: the image cannot be read.
        """
        return self.answer(*images.decode_with_warning(image))

    def answer(self, pixels: np.ndarray, warning: str | None = None) -> Prediction:
        """Answer for an image that is decoded already, without its plain margins.

        Args:
            pixels: uint8 `(h, w)`, as `images.decode_with_warning` gives them.
            warning: what it said of the file.
        """
        box, inside, outputs = self._look(pixels)
        wrong = self._what_is_wrong(inside, outputs["features"])
        if wrong:
            pixels = np.ascontiguousarray(upright.VERSIONS[wrong](pixels))
            box, inside, outputs = self._look(pixels)
        probabilities = outputs["probabilities"]
        score, smoothed = self._distance_of(inside, outputs["features"])
        is_chest = self._distance is None or score <= self.config.ood_threshold
        abstained = bool(is_chest and probabilities.max() < self.config.abstain_below)
        warnings = [warning] if warning else []
        if is_chest and wrong:
            warnings.append(upright.warning(wrong))
        if is_chest and smoothed:
            warnings.append(SMOOTHED)
        limit = self.config.lateral_threshold
        if is_chest and limit is not None and images.mirror_correlation(inside) < limit:
            warnings.append(LATERAL)
        above = self.config.versions_above
        if is_chest and not warnings and above is not None and score > above:
            warnings.append(UNLIKE)
        return Prediction(
            label=self.classes[int(probabilities.argmax())] if is_chest and not abstained else None,
            probabilities={
                name: float(value) for name, value in zip(self.classes, probabilities, strict=True)
            },
            heatmaps=_scaled(outputs.get("heatmaps"), box, pixels.shape),
            is_chest_radiograph=bool(is_chest),
            ood_score=score,
            abstained=abstained,
            warning=" ".join(warnings) or None,
            pixels=pixels,
            features=outputs["features"],
        )

    def shift(self, answers: Iterable[Prediction]) -> Shift:
        """Whether answered images come, as a whole, from elsewhere than the training data.

        One image tells little of that; twenty of one hospital tell it nearly always.

        Args:
            answers: of this classifier; those that are no chest radiographs do not count.
        """
        answers = [answer for answer in answers if answer.is_chest_radiograph]
        seen = self._comparable(answers)
        value = None if seen is None else round(self._distance.shift(seen), 4)
        return Shift(len(answers), value, self.config.shift_limit)

    def how_often_noticed(self, answers: Iterable[Prediction]) -> float | None:
        """Share, 0..1, of draws of `ood.LEAST_FOR_SHIFT` of these images that `shift` notices.

        Args:
            answers: as for `shift`; None is given where its value is None.
        """
        seen = self._comparable(answers)
        if seen is None:
            return None
        return float((self._distance.shifts(seen) > self.config.shift_limit).mean())

    def _comparable(self, answers: Iterable[Prediction]) -> np.ndarray | None:
        seen = [answer.features for answer in answers if answer.is_chest_radiograph]
        known = self._distance is not None and self.config.shift_limit is not None
        return np.stack(seen) if known and len(seen) >= LEAST_FOR_SHIFT else None

    def predict_batch(self, batch: Iterable[images.ImageLike]) -> list[Prediction]:
        """Answer for several images, in their order; the first unreadable one raises."""
        return [self.predict(image) for image in batch]

    def _look(self, pixels: np.ndarray) -> tuple[margins.Box, np.ndarray, dict[str, np.ndarray]]:
        """What the network says of an image without its plain margins, and where that lies."""
        box = margins.content(pixels)
        inside = np.ascontiguousarray(pixels[box])
        return box, inside, self.outputs(inside)

    def outputs(self, image: images.ImageLike) -> dict[str, np.ndarray]:
        """What the network itself says of an image, plain margins and all.

        Returns:
            `probabilities` `(classes,)`; `features` `(d,)`, the means of the activations at
            several depths; and `heatmaps` `(classes, h, w)`, the unscaled class activation maps,
            where the network has them.
        """
        runner, names = self._interpreter()
        size = self.config.input_size
        pixels = images.prepare(image, size)
        outputs = runner(image=pixels.reshape(1, size, size, 1))
        return {name: outputs[name][0] for name in names}

    def _distance_of(self, pixels: np.ndarray, features: np.ndarray) -> tuple[float, bool]:
        """Distance from the training images, and whether it is that of a smoothed copy.

        Noise and the blocks of JPEG take a radiograph as far away as a hand. Smoothing takes them
        out again and brings a hand no nearer, so what is far gets a second look.
        """
        if self._distance is None:
            return 0.0, False
        score = self._score(features)
        if score <= self.config.ood_threshold:
            return score, False
        small = Image.fromarray(images.prepare(pixels, self.config.input_size))
        smooth = np.asarray(small.filter(ImageFilter.GaussianBlur(SMOOTHING)))
        second = self._score(self.outputs(smooth)["features"])
        return min(score, second), second < score

    def _what_is_wrong(self, pixels: np.ndarray, features: np.ndarray) -> str | None:
        """Which of `upright.VERSIONS` an image should be looked at in, None for most."""
        above = self.config.versions_above
        if self._distance is None or above is None:
            return None
        score = self._score(features)
        if score <= above:
            return None
        small = images.prepare(pixels, self.config.input_size)

        def score_of(version: np.ndarray) -> float:
            return self._score(self.outputs(version)["features"])

        return upright.set_right(small, score, self.config.ood_threshold, score_of)

    def _score(self, features: np.ndarray) -> float:
        return float(self._distance.score(features[None])[0])

    def _check_model(self, runner: Any) -> None:
        """Hold the LiteRT file to what the other files of the release say."""
        size, classes = self.config.input_size, len(self.classes)
        features = self._distance.width if self._distance else None
        inputs = {name: tuple(it["shape"]) for name, it in runner.get_input_details().items()}
        outputs = {name: tuple(it["shape"]) for name, it in runner.get_output_details().items()}
        vector, maps = outputs.get("features", ()), outputs.get("heatmaps", (1, classes, 1, 1))
        for wrong, what in (
            (inputs != {"image": (1, size, size, 1)}, f"one image of {size} x {size} pixels"),
            (outputs.get("probabilities") != (1, classes), f"{classes} probabilities"),
            (len(vector) != 2 or features not in (None, vector[1]), f"{features or ''} features"),
            (maps[:2] != (1, classes) or len(maps) != 4, f"{classes} heatmaps"),
        ):
            if wrong:
                raise UserError(
                    f"{self.folder / release.LITERT} does not fit {release.CONFIG} and "
                    f"{release.OOD}, which promise {what}; download or train the release again"
                )

    def _interpreter(self) -> tuple[Any, list[str]]:
        """One interpreter a thread: LiteRT interpreters are not thread-safe."""
        if not hasattr(self._local, "runner"):
            from ai_edge_litert.interpreter import Interpreter

            try:
                # The interpreter must stay alive as long as its runner.
                self._local.interpreter = Interpreter(
                    model_content=self._model, num_threads=self._num_threads
                )
                self._local.interpreter.allocate_tensors()
                runner = self._local.interpreter.get_signature_runner()
                self._local.names = list(runner.get_output_details())
                self._local.runner = runner
            except (ValueError, RuntimeError) as error:
                raise UserError(
                    f"{self.folder / release.LITERT} is damaged; download or train it again"
                ) from error
        return self._local.runner, self._local.names


# Pixels of the network's input; docs/lab-notebook.md has other values, and other filters.
SMOOTHING = 0.7

SMOOTHED = (
    "This image is like the training images only when it is smoothed, as noisy or strongly "
    "compressed ones are: the answer is less certain."
)

UNLIKE = (
    "This image differs from nearly all training images, as drawings and photographs of a screen "
    "do: the answer is less certain."
)

LATERAL = (
    "The two halves of this image differ more than in frontal radiographs: if it is a "
    "lateral radiograph, the answer means nothing."
)


def _scaled(maps: np.ndarray | None, box: margins.Box, shape: tuple[int, int]) -> np.ndarray | None:
    if maps is None:
        return None
    maps = margins.put_back(np.maximum(maps, 0.0), box, shape)
    peak = maps.max()
    return (maps / peak if peak > 0 else maps).astype(np.float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what native code writes to the standard error by itself out of people's tables."""
    try:
        saved = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
