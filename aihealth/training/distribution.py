"""Training on several processes, with JAX: joining, agreeing, and what ends badly.

Each process is started with the same command; the environment says which one it is (see
`aihealth.data.cluster`). Keras' `DataParallel` then keeps the weights equal on all of them.
Without such an environment everything here does nothing.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np

from aihealth.data.cluster import VARIABLES, Cluster
from aihealth.errors import UserError

# A process that is not heard of for so long counts as lost, and a start with one missing fails.
HEARTBEAT_SECONDS = 30
START_SECONDS = 120


@contextlib.contextmanager
def joined(cluster: Cluster) -> Iterator[None]:
    """Take part in a training; the model must be built inside.

    With one process and the JAX backend, all devices of the machine are used. When another
    process is lost, this one ends within `HEARTBEAT_SECONDS` and says so.

    Raises:
        UserError: several processes, or an unknown backend, without JAX.
    """
    # Read as Keras reads it, before Keras starts its backend: JAX must be joined first.
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend not in ("tensorflow", "jax"):
        raise UserError(f"KERAS_BACKEND={backend}: train with tensorflow or jax")
    if cluster.processes == 1:
        if backend == "jax":
            _spread()
        yield
        return
    if backend != "jax":
        raise UserError(
            f"training on {cluster.processes} processes needs KERAS_BACKEND=jax in the environment "
            'and `pip install "jax[cpu]"` or JAX for your accelerator'
        )
    jax = _import_jax()
    companion = _start_companion(cluster)
    try:
        jax.distributed.initialize(
            cluster.address,
            # Where SLURM started us, JAX finds all of it, and which GPU is whose.
            *((cluster.processes, cluster.index) if cluster.address else ()),
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=START_SECONDS,
        )
        _spread()
        yield
        jax.distributed.shutdown()
    except BaseException as error:
        _leave(error, companion)
    companion.communicate(b"done")


def _import_jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise UserError(
            'KERAS_BACKEND=jax: install JAX first, `pip install "jax[cpu]"` or as '
            "https://docs.jax.dev/en/latest/installation.html says for your accelerator"
        ) from error
    return jax


def _spread() -> None:
    """Keep the weights on all devices of all processes, and split batches between them."""
    jax = _import_jax()
    import keras

    if jax.device_count() > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )


def device_count() -> int:
    """Over how many devices, of all processes together, a batch is split."""
    import keras

    found = keras.distribution.distribution()
    return found.device_mesh.devices.size if found else 1


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What this process makes inside is its own; else JAX would wait for the other processes."""
    import keras

    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


# === Ends ===

# JAX aborts a process that has lost another from a thread of its own, and leaves no time to say
# anything. This small process does: its standard input ends when the process it watches ends.
_COMPANION = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if sys.stdin.read() != "done":
    print(sys.argv[1], file=sys.stderr, flush=True)
"""


def _start_companion(cluster: Cluster) -> subprocess.Popen:
    sentence = (
        f"error: process {cluster.index} of {cluster.processes} (0 is the first) ended early: it "
        "failed, or lost another one, which died or cannot be reached; see above and the others' "
        "output, then start all of them again with --resume"
    )
    return subprocess.Popen([sys.executable, "-c", _COMPANION, sentence], stdin=subprocess.PIPE)


def _leave(error: BaseException, companion: subprocess.Popen) -> None:
    """End now. Ending as usual would wait for processes that are lost, or let others wait."""
    import jax

    status = 1
    if isinstance(error, UserError):
        status = 2
        print(f"error: {error}", file=sys.stderr)
        companion.communicate(b"done")
    elif isinstance(error, jax.errors.JaxRuntimeError):
        print(f"JAX: ... {str(error)[-200:]}", file=sys.stderr)
    elif not isinstance(error, KeyboardInterrupt):
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        companion.stdin.close()
        companion.wait()
    os._exit(status)


# === Agreement ===


def gather(text: str, cluster: Cluster) -> list[str]:
    """What each process says, in their order. All must call this at the same point."""
    if cluster.processes == 1:
        return [text]
    from jax.experimental import multihost_utils

    data = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(data)], np.int32)).reshape(-1)
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(data)] = data
    rows = multihost_utils.process_allgather(padded).reshape(cluster.processes, -1)
    return [bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)]


def check_agreement(what: str, value: object, cluster: Cluster) -> None:
    """End all processes that were started with different things, before they train apart.

    Raises:
        UserError: the processes differ in `value`.
    """
    said = gather(hashlib.sha256(repr(value).encode()).hexdigest(), cluster)
    if len(set(said)) > 1:
        raise UserError(
            f"the processes do not have the same {what}: start them with the same options, the "
            "same data and an --out that all of them see"
        )


def go_on_with_tensorflow() -> None:
    """Run this command again with `--resume` and TensorFlow, which the export needs.

    The training is over and in its checkpoint, so what is left is the release. The process is
    replaced: its memory is free, its exit status is the new one's.
    """
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    words = [sys.executable, *sys.argv, *(() if "--resume" in sys.argv else ("--resume",))]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, words, env | {"KERAS_BACKEND": "tensorflow"})
