"""Every generation of loaders, each in a virtual environment of its own; see tests/loading."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loading.environments import ENVIRONMENTS

WHERE = "AIHEALTH_LOADING_ENVS"


@pytest.mark.slow
@pytest.mark.skipif(WHERE not in os.environ, reason=f"{WHERE} names no folder for environments")
@pytest.mark.parametrize("name", [environment.name for environment in ENVIRONMENTS])
def test_a_published_repo_loads_the_same_everywhere(name):
    done = subprocess.run(
        [sys.executable, "-m", "tests.loading.run", "--only", name],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
