"""Decoding in a process that may die: what a file does to a decoder stays behind this wall.

The native decoders of compressed DICOM abort or overwrite memory on damaged frames, and large or
unusual pictures can take minutes or gigabytes. Such files (`structure.decodes_here` says which) are
sent as bytes to a worker, a Python process with limits on memory and time that knows neither the
tokens nor the environment of its parent and cannot write files. Back come grey levels, or one
sentence. A worker that dies or exceeds its limits costs its own file only; the next file gets
another worker.

A worker starts when the first such file comes (about half a second), and is kept. It ends when
its input does: with its parent, however that ends.
"""

import atexit
import contextlib
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

import numpy as np

from aihealth.errors import ImageError, NoImage
from aihealth.limits import (
    MAX_MEMORY,
    MAX_PIXELS,
    MAX_SECONDS,
    MIN_SIDE,
    TOO_MUCH_MEMORY,
    TOO_SLOW,
)

DIED = "the image is damaged: its decoder gave up"

# CPU seconds end a worker that is busy; this ends one that sleeps, and never one that a busy
# machine merely lets wait.
_PATIENCE = 12 * MAX_SECONDS
_START_SECONDS = 60.0
_WORKERS = max(4, os.cpu_count() or 1)
_KEPT_BYTES = 16 * 2**20

_REQUEST = struct.Struct("<Q")  # bytes that follow
_ANSWER = struct.Struct("<BIII")  # kind, height, width, bytes of text; the text and pixels follow
_PICTURE, _SENTENCE = 0, 1
_MAX_TEXT = 4096
_READY = b"R"

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from aihealth import images, wall; wall.serve(int(sys.argv[2]), images.decode_here)"
)
# Nothing else of the environment, where tokens are, reaches a worker.
_ENVIRONMENT = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG"),
    *("SYSTEMROOT", "WINDIR", "TMPDIR", "TEMP", "TMP"),
)
_WORKERS_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # glibc: keep so much memory for the next file; to ask the system for it anew, page by page,
    # takes a quarter of the time of a JPEG of 5 megapixels.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**25),
}


def decode(data: bytes) -> tuple[np.ndarray, str | None]:
    """Decode a file behind the wall.

    Args:
        data: the bytes of an image file.

    Returns:
        uint8 `(h, w)` and a warning or None, as `images.decode_here` gives them.

    Raises:
        ImageError: what `images.decode_here` raises, or the decoder died, or needs more time or
            memory than `limits` has for one file.
    """
    return _pool.decode(data)


def warm() -> None:
    """Start a worker now, so that the first file does not wait for it."""
    with contextlib.suppress(ImageError):
        _pool.give_back(_pool.take())


class _Worker:
    """One process, asked by one thread at a time."""

    def __init__(self) -> None:
        self.files = 0  # that it was given
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._shared = _Shared()
        environment |= _WORKERS_ENVIRONMENT
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-c", _START, json.dumps(sys.path), str(self._shared.fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # Decoders quote what they read.
                env=environment,
                pass_fds=[self._shared.fd] if self._shared.fd >= 0 else [],
                bufsize=0,
            )
            ready = self._watched(lambda: self._process.stdout.read(1), _START_SECONDS)
        except OSError as error:
            raise ImageError(f"no process to decode it in can be started: {error}") from error
        if ready != _READY:
            self.end()
            raise ImageError("no process to decode it in can be started")

    def decode(self, data: bytes) -> tuple[np.ndarray, str | None]:
        """As the function `decode`; after an exception that is no `ImageError`, `end` it."""
        self.files += 1
        return self._watched(lambda: self._ask(data), _PATIENCE)

    def lives(self) -> bool:
        """Whether it is still there: a short system may have ended it while it was idle."""
        return self._process.poll() is None

    def end(self) -> bool:
        """Stop the process and forget it.

        Returns:
            Whether it had used up its time.
        """
        self.let_go()
        with contextlib.suppress(subprocess.TimeoutExpired):  # It may be about to die by itself.
            self._process.wait(0.05)
        self._process.kill()
        return self._timed_out or -self._process.wait() == getattr(signal, "SIGXCPU", None)

    def let_go(self) -> None:
        """Close our ends of its pipes, at which it ends by itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self._shared.close()

    def _watched(self, work: Callable, seconds: float) -> object:
        """Do what waits for the process, but kill that when it takes too long."""
        self._timed_out = False
        watch = threading.Timer(seconds, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            return work()
        finally:
            watch.cancel()

    def _give_up(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _ask(self, data: bytes) -> tuple[np.ndarray, str | None]:
        self._shared.send(self._process.stdin, _REQUEST.pack(len(data)), data)
        answer = self._process.stdout
        kind, height, width, length = _ANSWER.unpack(_read(answer, _ANSWER.size))
        fits = min(height, width) >= MIN_SIDE and height * width <= MAX_PIXELS
        if length > _MAX_TEXT or not (kind == _SENTENCE or (kind == _PICTURE and fits)):
            raise EOFError  # Not what a worker writes that is in its right mind.
        text = bytes(_read(answer, length)).decode("utf-8", "replace")
        if kind == _SENTENCE:
            raise NoImage if text == NoImage.TEXT else ImageError(text)
        pixels = np.frombuffer(self._shared.receive(answer, height * width), np.uint8)
        return pixels.reshape(height, width), text or None


class _Pool:
    """As many workers as are asked for at once, up to a number; the idle ones are kept."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(_WORKERS)
        self._idle: list[_Worker] = []  # Taking from and adding to the end of a list is atomic.

    def decode(self, data: bytes) -> tuple[np.ndarray, str | None]:
        worker = self.take()
        try:
            try:
                result = worker.decode(data)
            except ImageError as error:
                if str(error) != TOO_MUCH_MEMORY or worker.files == 1:
                    raise
                worker.end()  # Earlier files may have left too little room in it.
                worker = _Worker()
                result = worker.decode(data)
        except ImageError:
            self.give_back(worker)
            raise
        except (EOFError, OSError):
            slow = worker.end()
            self._places.release()
            raise ImageError(TOO_SLOW if slow else DIED) from None
        except BaseException:  # The thread was stopped; what the worker still says is not for us.
            worker.end()
            self._places.release()
            raise
        self.give_back(worker)
        return result

    def take(self) -> _Worker:
        """A worker for the calling thread alone."""
        self._places.acquire()
        try:
            while self._idle:
                with contextlib.suppress(IndexError):  # Another thread was faster.
                    worker = self._idle.pop()
                    if worker.lives():
                        return worker
            return _Worker()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, worker: _Worker) -> None:
        """Keep it for the next file."""
        self._idle.append(worker)
        self._places.release()

    def close(self) -> None:
        """End the idle workers."""
        while self._idle:
            self._idle.pop().let_go()


def _new_pool() -> None:
    """After a fork: the workers are the parent's; let go of their pipes, and begin anew."""
    global _pool
    _pool.close()
    _pool = _Pool()


_pool = _Pool()
atexit.register(lambda: _pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool)


# === The worker's side ===


def serve(shared_fd: int, decode_here: Callable) -> None:
    """Answer requests on the standard input until it ends.

    Args:
        shared_fd: of the memory that files and pixels go through; -1 where they take the pipes.
        decode_here: `images.decode_here`, which stands above this module.
    """
    # What a library prints must not get between the answers.
    requests, answers = sys.stdin.buffer.raw, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when to stop.
    shared = _Shared(shared_fd)
    _limit_memory()
    _write(answers, _READY)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            (length,) = _REQUEST.unpack(_read(requests, _REQUEST.size))
            data = bytes(shared.receive(requests, length))
            _limit_time()
            answer = _answer(decode_here, data)
            shared.send(answers, *answer)
            del data, answer  # Room for the next.


def _answer(decode_here: Callable, data: bytes) -> tuple[bytes, memoryview | bytes]:
    try:
        pixels, warning = decode_here(data)
        text = (warning or "").encode()[:_MAX_TEXT]
        header = _ANSWER.pack(_PICTURE, *pixels.shape, len(text)) + text
        return header, memoryview(np.ascontiguousarray(pixels)).cast("B")
    except MemoryError:
        sentence = TOO_MUCH_MEMORY
    except ImageError as error:
        out_of_memory = isinstance(error.__cause__, MemoryError)
        sentence = TOO_MUCH_MEMORY if out_of_memory else str(error)
    text = sentence.encode("utf-8", "replace")[:_MAX_TEXT]
    return _ANSWER.pack(_SENTENCE, 0, 0, len(text)) + text, b""


def _limit_memory() -> None:
    """No more memory than one file may take, no files written, no core dumped."""
    try:
        import resource
    except ImportError:  # Windows: only the clock limits.
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    with contextlib.suppress(OSError):  # Where there is no such file, the limit has no effect.
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = taken + MAX_MEMORY
    for kind, limit in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def _limit_time() -> None:
    """Give the file that comes now its own seconds of CPU; the system ends us after them."""
    try:
        import resource
    except ImportError:
        return
    try:
        spent = time.clock_gettime(_LIMITS_CLOCK)
    except (AttributeError, OSError):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = usage.ru_utime + usage.ru_stime
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent + MAX_SECONDS), hard))


# CPUCLOCK_PROF of this process (Linux, posix-timers.h), by which RLIMIT_CPU goes. It counts ticks:
# on a busy machine it runs a fifth ahead of `getrusage`, so that a worker which had spent half a
# minute would be left no time for the next file.
_LIMITS_CLOCK = -8


# === Pipes, and memory that both processes see ===


class _Shared:
    """Memory for a file or the pixels of its answer, where the system has such (Linux).

    A pipe would copy them twice, and make the two processes change places often.
    """

    def __init__(self, fd: int | None = None) -> None:
        """Make it; or, given its descriptor, find it in the other process."""
        self.fd, self._memory = -1, None
        if (fd is None and not hasattr(os, "memfd_create")) or fd == -1:
            return
        self.fd = os.memfd_create("wall") if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, MAX_PIXELS)  # Takes room only where it is written to.
        self._memory = mmap.mmap(self.fd, MAX_PIXELS)

    def send(self, pipe: IO[bytes], header: bytes, data: bytes | memoryview) -> None:
        """Write a header, and let the other process have the data."""
        if self._memory is not None:
            self._memory[: len(data)] = data
            data = b""
        _write(pipe, header)
        _write(pipe, data)

    def receive(self, pipe: IO[bytes], count: int) -> bytearray:
        """Data that follow a header."""
        if self._memory is None:
            return _read(pipe, count)
        with memoryview(self._memory)[:count] as data:
            received = bytearray(data)
        if count > _KEPT_BYTES:  # Give the room back to the system.
            with contextlib.suppress(AttributeError, OSError):
                self._memory.madvise(mmap.MADV_REMOVE)
        return received

    def close(self) -> None:
        """Give it back."""
        if self._memory is not None:
            self._memory.close()
            os.close(self.fd)
            self.fd, self._memory = -1, None


def _write(pipe: IO[bytes], data: bytes | memoryview) -> None:
    """Write all of it: an unbuffered pipe may take less at once."""
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _read(pipe: IO[bytes], length: int) -> bytearray:
    """Read exactly so many bytes.

    Raises:
        EOFError: there are fewer.
    """
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return data
