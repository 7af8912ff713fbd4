"""Running `docs/retrain.ipynb` without Jupyter."""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "retrain.ipynb"


def code_cells():
    """Source of the cells after the set-up, which a checkout has behind it."""
    return [
        "".join(cell["source"])
        for cell in json.loads(NOTEBOOK.read_text())["cells"]
        if cell["cell_type"] == "code" and "setup" not in cell["metadata"].get("tags", ())
    ]


def run_notebook(environment):
    """Run the cells as Jupyter would; what their commands print."""
    names, printed = {}, ""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for source in code_cells():
        if not source.startswith("!"):
            exec(source, names)
            continue
        command = source[1:].strip().format(**names)
        done = subprocess.run(
            command, shell=True, cwd=NOTEBOOK.parents[1], env=environment | {"PATH": path},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed
