"""`predict --engine ray`: the same answers from many processes, on one machine or on a cluster.

Ray Data does the work: one task lists the archive, a pool of actors, each with the model loaded
once, answers part after part, and what a killed actor had begun goes to another. Only lists of
names and rows of answers pass between processes; each worker reads its images itself.
"""

import contextlib
import logging
import os
import pickle
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aihealth import release
from aihealth.classifier import Classifier
from aihealth.data.archive import Part, parts
from aihealth.errors import UserError, first_line, needs
from aihealth.inference.answering import Answered, answer

if TYPE_CHECKING:
    import pyarrow
    import ray.data

_OBJECT_STORE = 256 * 2**20  # bytes; names and rows need little
_TRIES = 3  # how often a part is begun again after its worker died


def answers(
    model: str, revision: str | None, inputs: Sequence[str], workers: int | None = None
) -> Iterator[Answered]:
    """Answer for an archive; what `answering.answer` gives, in the order of its parts.

    Ray is started on this machine for the time being, answers only to who knows a token made for
    this run, and keeps its logs in a folder that is removed; where RAY_ADDRESS names a cluster,
    that is used.

    Args:
        model: release folder or repo id that every worker can open.
        revision: commit of the repo.
        inputs: as for `archive.parts`; every worker must be able to read them.
        workers: actors, one core each; by default one for each core there is.

    Raises:
        UserError: Ray is not installed or cannot start, the same part killed its worker again and
            again, or whatever `archive.parts` raises.
    """
    ray = _import_ray()
    from tqdm.auto import tqdm

    local = release.local_folder(model)
    model = str(local.resolve()) if local else model
    with _cluster(ray, workers) as size, _sentences(ray):
        batches = _dataset(ray, model, revision, list(inputs), size).iter_batches(
            batch_size=None, batch_format="pyarrow"
        )
        with tqdm(desc="predicting", unit=" images", disable=None, leave=False) as bar:
            for batch in batches:
                for part in batch.column("answers").to_pylist():
                    found = pickle.loads(part)
                    bar.update(len(found))
                    yield from found


def _dataset(
    ray: Any, model: str, revision: str | None, inputs: list[str], workers: int
) -> "ray.data.Dataset":
    """Archive to parts to rows. A block holds one part, pickled, or the rows of one part."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # bytes: no two parts share a block
    context.execution_options.preserve_order = True
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # The successor of `max_task_retries` is not there yet; see pyproject.toml.
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        archive = ray.data.from_items([{"inputs": pickle.dumps(inputs)}], override_num_blocks=1)
        here = os.getcwd()
        listed = archive.map_batches(
            _list,
            fn_args=(here,),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=0.5,  # Half a core, for otherwise Ray would fuse the two steps into one actor.
        )
        return listed.map_batches(
            _Worker,
            fn_constructor_args=(model, revision, here),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            max_task_retries=_TRIES,
        )


def _list(batch: "pyarrow.Table", here: str) -> Iterator["pyarrow.Table"]:
    """Yield the parts of an archive as they are asked for."""
    import pyarrow

    _enter(here)
    for part in parts(pickle.loads(batch.column("inputs")[0].as_py())):
        yield pyarrow.table({"part": [pickle.dumps(part)]})


class _Worker:
    """An actor: the model, loaded once, and one thread."""

    def __init__(self, model: str, revision: str | None, here: str) -> None:
        _enter(here)
        self._classifier = Classifier.from_pretrained(model, revision=revision, num_threads=1)

    def __call__(self, batch: "pyarrow.Table") -> "pyarrow.Table":
        """Answer for each part of a block."""
        import pyarrow

        found = [self._answer(pickle.loads(part)) for part in batch.column("part").to_pylist()]
        return pyarrow.table({"answers": [pickle.dumps(part) for part in found]})

    def _answer(self, part: Part) -> list[Answered]:
        return [answer(self._classifier, item) for item in part.items()]


def _enter(folder: str) -> None:
    """Relative paths mean what they mean to the caller; a machine without the folder has none."""
    with contextlib.suppress(FileNotFoundError):
        os.chdir(folder)


# === Ray itself ===


def _import_ray() -> Any:
    # Nothing is reported to anyone, and what Ray's processes say stays in its log folder.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with needs("ray"):
        import ray
        import ray.data
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, workers: int | None) -> Iterator[int]:
    """Connect to RAY_ADDRESS or start Ray here; yields the number of workers."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        if os.environ.get("RAY_ADDRESS"):
            stack.callback(ray.shutdown)
            _start(ray, **quiet)
            # One core lists the archive.
            yield workers or max(1, int(ray.cluster_resources()["CPU"]) - 1)
            return
        workers = workers or os.cpu_count() or 1
        # Ray puts sockets there, whose paths may have no more than 107 bytes: TMPDIR is too long.
        place = "/tmp" if os.path.isdir("/tmp") else None
        folder = stack.enter_context(
            tempfile.TemporaryDirectory("", "aihealth-ray-", place, ignore_cleanup_errors=True)
        )
        stack.callback(ray.shutdown)  # before its folder is removed
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # else Ray writes one into the home folder
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        _start(
            ray,
            address="local",
            num_cpus=workers + 1,
            object_store_memory=_OBJECT_STORE,
            include_dashboard=False,
            _temp_dir=folder,
            **quiet,
        )
        yield workers


def _start(ray: Any, **options: Any) -> None:
    try:
        ray.init(**options)
    except Exception as error:  # Of many kinds: no such cluster, too busy a machine.
        raise UserError(f"Ray cannot be started or reached: {first_line(error)}") from error


@contextlib.contextmanager
def _sentences(ray: Any) -> Iterator[None]:
    """What the user can mend, out of the tracebacks of other processes."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is not None:
            raise UserError(str(cause)) from None
        if getattr(error, "actor_init_failed", False):
            *_, last = str(error).strip().splitlines()
            raise UserError(f"a worker could not start: {last}") from error
        if isinstance(error, (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)):
            raise UserError(
                f"a worker died {_TRIES + 1} times over the same images: a file breaks the "
                "decoder, or the memory is too small for so many workers"
            ) from error
        raise
