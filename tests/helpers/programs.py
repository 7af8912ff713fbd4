"""The project's programs: as processes, and in this one where TensorFlow is loaded already."""

import contextlib
import importlib
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aihealth.errors import UserError, run_cli

ROOT = Path(__file__).resolve().parents[2]


def run(*words, python=sys.executable, **options):
    """Run Python in the checkout."""
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([str(python), *map(str, words)], text=True, **options)


def works(*words, **options):
    """As `run`, of what has to succeed; its standard output."""
    done = run(*words, **options)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def inside(*words, token=None):
    """As `run`, in this process: `push_to_hub.py ...`, `-m data_prep ...`, `-m aihealth ...`."""
    words = [str(word) for word in words]
    module = "push_to_hub" if words[0] == "push_to_hub.py" else f"{words[1]}.__main__"
    program = importlib.import_module(module)
    rest, out, err = words[1 if words[0] != "-m" else 2 :], io.StringIO(), io.StringIO()
    main = push if module == "push_to_hub" else lambda *rest: program.main(rest)
    status = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        if token:
            patch.setenv("HF_TOKEN", token)
        try:
            run_cli(lambda: main(*rest))
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def push(*words):
    """`push_to_hub.py` with these words, in this process."""
    import push_to_hub

    push_to_hub.publish(push_to_hub.parse_args([*map(str, words)]))


def sentence(function, *args, **options):
    """The text of the `UserError` that a call ends in: one line."""
    with pytest.raises(UserError) as error:
        function(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def kill_at_checkpoint(run, processes, victim=0):
    """Wait for the first checkpoint of a run that processes train, and kill one of them."""
    deadline = time.monotonic() + 300
    while not (run / "checkpoint" / "state.json").exists():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes[victim].send_signal(signal.SIGKILL)
