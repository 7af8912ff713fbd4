"""A small collection of drawn images, and the command line that prepares it."""

import pytest

from aihealth.errors import run_cli
from data_prep.__main__ import main
from tests.data_prep.files import collection


@pytest.fixture
def command(capsys):
    """Run a command line; gives exit status, stdout and stderr."""

    def run(*arguments):
        status = 0
        try:
            run_cli(lambda: main([str(argument) for argument in arguments]))
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refused(command, tmp_path):
    """Run a command line that must fail with one sentence and leave nothing in `out`."""

    def run(*arguments, out="out"):
        before = sorted(tmp_path.rglob("*"))
        status, _, err = command(*arguments, "--out", tmp_path / out)
        assert status == 2
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert sorted(tmp_path.rglob("*")) == before
        return errors[0]

    return run


@pytest.fixture
def source(tmp_path):
    return collection(tmp_path / "source")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"
