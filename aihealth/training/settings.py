"""What a training is asked for: the options of `train.py`, checked."""

import dataclasses
from pathlib import Path
from typing import Any

from aihealth.errors import UserError
from aihealth.files import check_output

# What a recipe sets; the options of `train.py` of the same names go first.
RECIPE = (
    "size",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "augment",
    "background_swap",
    "balance",
    "smoothing",
    "consistency",
    "average",
    "patience",
)
SMALLEST = 32  # pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of one training, as `train.py --help` explains them.

    Attributes:
        data: prepared folders or dataset repos.
        out: the run's folder.
        held_out_predictions: the file of `python -m aihealth leave-one-source-out`.
        hold: with `stream`, images of each split to validate, calibrate and test on.
        buffer: with `stream`, images among which the next one is drawn.
        steps: of an epoch; None for as many as there are whole batches.
        leave_out: sources to train without, as `LeftOut.parse` reads them.
        train_only: folders of images to train on and not to measure with, or SOURCE=DIR.
        neither: folders of images that no class is right for, or SOURCE=DIR.

    Raises:
        UserError: options that exclude each other, or a number out of range.
    """

    data: list[str]
    out: Path
    arch: str
    size: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    augment: str
    background_swap: float
    balance: float
    smoothing: float
    consistency: float
    average: float
    patience: int
    seed: int = 1337
    weights: list[str] | None = None
    resume: bool = False
    leave_out: str | None = None
    held_out_predictions: str | None = None
    stream: bool = False
    hold: int = 4000
    buffer: int = 1000
    save_every: int = 1000
    freeze: int = 0
    steps: int | None = None
    train_only: list[str] = dataclasses.field(default_factory=list)
    neither: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.batch_size < 2 or self.batch_size % 2:
            raise UserError(f"--batch-size {self.batch_size}: an even number is needed")
        for name in ("background_swap", "balance", "smoothing", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{option(name)} {getattr(self, name)}: 0 to 1 is needed")
        for name in ("hold", "buffer", "save_every", "patience"):
            if getattr(self, name) < 1:
                raise UserError(f"{option(name)} {getattr(self, name)}: 1 or more is needed")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"--steps {self.steps}: 1 or more is needed")
        if not self.consistency >= 0:
            raise UserError(f"--consistency {self.consistency}: 0 or more is needed")
        if not self.learning_rate > 0:
            raise UserError(f"--learning-rate {self.learning_rate}: more than 0 is needed")
        if self.size < SMALLEST or self.epochs < (0 if self.weights else 1):
            raise UserError(
                f"--size must be at least {SMALLEST} and --epochs at least 1 (0 with --weights)"
            )
        for name in ("leave_out", "train_only", "neither"):
            if self.stream and getattr(self, name):
                raise UserError(f"{option(name)} needs all images in memory: leave out --stream")

    def recipe(self) -> dict[str, Any]:
        """What decides the weights besides the data, as `provenance.json` has it."""
        return {name: getattr(self, name) for name in ("arch", "seed", "freeze", *RECIPE)}

    def check_output(self, *, writes: bool = True) -> None:
        """Say now, not after an hour, that the output cannot be written.

        Args:
            writes: whether this process is the one that will.

        Raises:
            UserError: there is a release already, or a checkpoint and no `resume`.
        """
        if (self.out / "release").exists():
            raise UserError(f"--out {self.out} holds a release already; choose another folder")
        if (self.out / "checkpoint").exists() and not self.resume:
            raise UserError(
                f"--out {self.out} holds a checkpoint; add --resume or choose another folder"
            )
        if writes:
            check_output(self.out)
            self.out.mkdir(parents=True, exist_ok=True)


def option(name: str) -> str:
    """The option of a setting: "--leave-out" of "leave_out"."""
    return "--" + name.replace("_", "-")
