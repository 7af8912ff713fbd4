"""From the start of the Space until it answers over HTTP."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator

from benchmarks.drawn import original_model
from benchmarks.harness import (
    ORIGINAL,
    OURS,
    ROOT,
    Settings,
    Table,
    alternate,
    environment,
    rows,
)


def run(settings: Settings) -> list[Table]:
    """Start both pages over and over."""
    old = original_model(settings)
    values = alternate(
        {
            OURS: lambda: start(["space/app.py"], {"MODEL_ID": str(settings.model)}),
            f"{ORIGINAL}: Gradio and TensorFlow": lambda: start(
                ["-m", "benchmarks.original", "page", str(old), "PORT"], {}
            ),
            "an empty Gradio page": lambda: start(["-c", EMPTY], {}),
        },
        settings.rounds,
    )
    return [Table("start of the Space until it answers", "s", rows(values), "x3")]


EMPTY = "import gradio as gr\ngr.Interface(str, 'text', 'text').launch()"


def start(arguments: list[str], environ: dict[str, str]) -> float:
    """Seconds until a page answers; it is stopped then."""
    started = time.perf_counter()
    with running(arguments, environ):
        return time.perf_counter() - started


@contextlib.contextmanager
def running(arguments: list[str], environ: dict[str, str], limit: float = 120.0) -> Iterator[str]:
    """A page that answers; its address.

    Args:
        arguments: of Python; "PORT" stands for the port.
        environ: added to the environment.
        limit: seconds.

    Raises:
        RuntimeError: it ended, or gave no answer within `limit` seconds.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory() as uploads, tempfile.TemporaryFile("w+") as log:
        environ = {
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": port,
            "GRADIO_TEMP_DIR": uploads,
            "GRADIO_ANALYTICS_ENABLED": "False",
            **environ,
        }
        command = [sys.executable, *(port if part == "PORT" else part for part in arguments)]
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(environ), stdout=log, stderr=log
        )
        try:
            while not _answers(url):
                if process.poll() is not None or time.perf_counter() - started > limit:
                    log.seek(0)
                    raise RuntimeError(f"no answer from {arguments}: {log.read()[-2000:]}")
                time.sleep(0.02)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(url, timeout=5).read()
        return True
    return False
