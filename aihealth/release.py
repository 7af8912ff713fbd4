"""What a release folder holds: its file names and its one configuration file.

What `train.py` wrote is what lies at the root of the model repo on the Hub; publishing adds the
serving modules, the handler and an example image (`aihealth.publishing.staging`). Every name and
every fact that more than one module needs stands here and nowhere else.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from aihealth import schema, schema_facts
from aihealth.errors import CHECKOUT, UserError, first_line
from aihealth.schema import FORMAT

# === File names ===
RELEASE = "release"  # of the folder itself, in that of the run that made it
CONFIG = "aihealth.json"  # Keras owns the name config.json.
KERAS_FILES = ("config.json", "metadata.json", "model.weights.h5")
SAVED_MODEL_FILES = ("saved_model.pb", "keras_metadata.pb", "variables")
LITERT = "model.tflite"
OOD = "ood.npz"
METRICS = "metrics.json"
PROVENANCE = "provenance.json"
CARD = "README.md"
HANDLER = "handler.py"
FIGURES = "figures"
HISTORY = "history.json"
AUDIT = "audit.json"  # what `python -m aihealth audit` found out about the release
CHANGELOG = "changelog.json"
SEEN = "seen.npz"  # salted hashes of what it was trained and validated on
EXAMPLE = "examples/drawn.png"  # what the card's code blocks are tried on

# What `aihealth.Classifier` downloads, and a Space preloads.
SERVING_FILES = (CONFIG, LITERT, OOD, METRICS)

# Modules of `aihealth` that serving needs; they travel with a Space and with a model repo. All that
# lie directly in the package, but for the command line.
SERVING_MODULES = tuple(
    sorted(path.name for path in Path(__file__).parent.glob("*.py") if path.name != "__main__.py")
)


@dataclasses.dataclass
class ReleaseConfig:
    """The content of `aihealth.json`.

    Attributes:
        classes: class names in the order of the model's outputs.
        input_size: side of the square model input, pixels.
        arch: name given to `train.py --arch`.
        sources: names of the data sources the weights were trained on.
        drawn_data: True when the training images were drawn by the demo generator.
        temperature: what the logits were divided by; already inside the model.
        abstain_below: highest probability under which the answer is "not sure", 0..1.
        abstain_rule: one sentence that says how `abstain_below` was chosen.
        ood_threshold: out-of-distribution score above which an image is no chest radiograph.
        versions_above: out-of-distribution score above which an image is looked at as a negative
            and turned, too, and answered with a warning; None never.
        lateral_threshold: mirror correlation under which a radiograph may be lateral, -1..1.
        shift_limit: what images of known hospitals, taken together, differ by at most.
        version: semantic version of a published release, None before.
        format: version of this file's layout.
    """

    classes: list[str]
    input_size: int
    arch: str
    sources: list[str] = dataclasses.field(default_factory=list)
    drawn_data: bool = False
    temperature: float = 1.0
    abstain_below: float = 0.0
    abstain_rule: str = ""
    ood_threshold: float | None = None
    versions_above: float | None = None
    lateral_threshold: float | None = None
    shift_limit: float | None = None
    version: str | None = None
    format: int = FORMAT

    def save(self, folder: str | Path) -> None:
        """Write `aihealth.json` into `folder`."""
        write_json(Path(folder) / CONFIG, dataclasses.asdict(self))

    @classmethod
    def load(cls, folder: str | Path) -> "ReleaseConfig":
        """Read `aihealth.json` of a release folder.

        Raises:
            UserError: the folder is no release, one of a later format, or says what it may not.
        """
        path = Path(folder) / CONFIG
        refuse_pointers(path.parent)
        data = read_json(path, missing=f"{folder} is not a release: it has no {CONFIG}")
        schema.check(str(path), data, schema.CONFIG)
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{key: value for key, value in data.items() if key in known})
        except TypeError as error:
            raise UserError(f"{path} is incomplete: {error}") from error


def in_checkout(name: str) -> Path:
    """A file or folder of the project that the installed package does not carry.

    Raises:
        UserError: the package runs from somewhere else than a checkout.
    """
    path = CHECKOUT / name
    if not path.exists():
        raise UserError(
            f"{name} is needed, which the installed package does not carry: clone the "
            "repository and run this there"
        )
    return path


def refuse_pointers(folder: Path) -> None:
    """Refuse a folder in which git has left pointers where large files should be.

    Raises:
        UserError: with the name of the first.
    """
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.stat().st_size < 1024:
            with open(path, "rb") as file:
                if file.read(22) == b"version https://git-lf":
                    raise UserError(
                        f"{path} is a git-lfs pointer, not the file itself; get it with "
                        "`git lfs pull`"
                    )


def local_folder(repo_id_or_folder: str | os.PathLike) -> Path | None:
    """The folder that is meant, or None where a repo id is meant.

    The folder of a run stands for the release in it.

    Raises:
        UserError: it reads like a path, and there is no such folder.
    """
    text = os.fspath(repo_id_or_folder)
    if not text:
        return None
    path = Path(text).expanduser()
    if path.is_dir():
        inside = path / RELEASE
        is_run = not (path / CONFIG).exists() and (inside / CONFIG).exists()
        return inside if is_run else path
    if path.exists():
        raise UserError(f"{text} is a file; a folder or a repo id such as org/name is needed")
    if isinstance(repo_id_or_folder, Path) or text.startswith((".", "~", "/", "\\")):
        raise UserError(f"there is no folder {text}; a folder or a repo id is needed")
    return None


def model_digest(folder: str | Path) -> str:
    """SHA-256 of a release's network: what says of a measurement that it is of this one."""
    with (Path(folder) / LITERT).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path, missing: str | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        missing: the sentence when the file does not exist.

    Raises:
        UserError: no such file, or not a JSON object.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_JSON:
            raise UserError(f"{path} has more than {_MAX_JSON // 2**20} MB")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(missing or f"{path} does not exist") from error
    except (ValueError, RecursionError) as error:  # Not text, not JSON, too deep, too many digits.
        raise UserError(f"{path} is not valid JSON: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return data


_MAX_JSON = 64 * 2**20
_SCHEMAS = {
    METRICS: schema_facts.METRICS,
    PROVENANCE: schema_facts.PROVENANCE,
    AUDIT: schema_facts.AUDIT,
    CHANGELOG: schema_facts.CHANGELOG,
}


def read_facts(path: str | Path) -> dict[str, Any]:
    """Read what a release says of itself beside `aihealth.json`.

    Args:
        path: of a `metrics.json`, `provenance.json`, `audit.json` or `changelog.json`.

    Returns:
        What it says; {} where there is no such file.

    Raises:
        UserError: it is not valid JSON, or says what it may not.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    data = read_json(path)
    schema.check(str(path), data, _SCHEMAS[path.name])
    return data


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON so that a reader never sees half a file."""
    with whole_file(path) as file:
        file.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that appears under its name once it is whole.

    Links are followed; a device or a pipe is written to as it stands.

    Args:
        path: of the file.
        mode: "w" for UTF-8 text, "wb" for bytes.

    Raises:
        UserError: the path is a folder, or lies in none.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; name a file")
    in_place = os.path.exists(path) and not os.path.isfile(path)
    target = Path(path if in_place else os.path.realpath(path))
    part = target if in_place else target.with_name(target.name + ".part")
    try:
        file = part.open(mode, **text)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(f"{path} cannot be written: {target.parent} is no folder") from error
    try:
        with file:
            yield file
        if not in_place:
            part.replace(target)
    finally:
        if not in_place:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def no_part_left(folder: str | Path) -> Iterator[None]:
    """Remove from a folder what is half-written, `*.part`, when what is done there fails."""
    try:
        yield
    except BaseException:
        for part in Path(folder).glob("*.part"):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()
        raise
