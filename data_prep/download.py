"""Fetching a collection to prepare: the original project's, Kaggle's, or a dataset on the Hub."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from aihealth.errors import UserError, first_line
from aihealth.files import check_output, whole_folder
from aihealth.hub import resolve

# The collection that the original project ships: 1626 Covid, 1802 Normal, 1800 Pneumonia.
KAGGLE_ID = "sachinkumar413/covid-pneumonia-normal-chest-xray-images"


def download(
    source: str, out: str | Path, *, url: str | None = None, name: str | None = None
) -> str:
    """Fetch a collection into `out`.

    Args:
        source: "original", "kaggle" or "hub".
        out: folder to make; it must be empty or not there.
        url: address of the original project's git repository, for "original".
        name: dataset id, for "hub" and, instead of `KAGGLE_ID`, for "kaggle".

    Returns:
        The revision or version that was fetched, "" where the source names none.

    Raises:
        UserError: a missing option, something in the way, or the network says no.
    """
    out = check_output(out, built=True)
    with whole_folder(out) as part:
        if source == "original":
            return _clone(url, part)
        if source == "kaggle":
            return _kaggle(name or KAGGLE_ID, part)
        return _hub(name, part)


def _clone(url: str | None, folder: Path) -> str:
    if not url:
        raise UserError("download original needs --url, the address of its git repository")
    if url.startswith("-"):
        raise UserError(f"--url {url} is no address")
    # Without a terminal prompt git fails instead of asking for a password.
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "clone", "--depth", "1", "--", url, str(folder)]
    try:
        # On a terminal git shows its own progress; else its last line goes into our sentence.
        watched = None if sys.stderr.isatty() else subprocess.PIPE
        done = subprocess.run(command, env=environment, stderr=watched, text=True)
    except FileNotFoundError as error:
        raise UserError("git is not installed; install it, or download the zip file") from error
    if done.returncode:
        lines = (done.stderr or "").strip().splitlines() or ["see its message above"]
        raise UserError(f"git could not clone {url}: {lines[-1]}")
    head = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()


def _kaggle(name: str, folder: Path) -> str:
    try:
        import kagglehub
    except ImportError as error:
        raise UserError("download kaggle needs kagglehub: pip install kagglehub") from error
    try:
        fetched = Path(kagglehub.dataset_download(name))
    except Exception as error:  # kagglehub hands through whatever its HTTP client raises.
        raise UserError(f"Kaggle did not give {name}: {first_line(error)}") from error
    shutil.copytree(fetched, folder, dirs_exist_ok=True)  # Its cache keeps a copy of its own.
    return fetched.name


def _hub(name: str | None, folder: Path) -> str:
    if not name:
        raise UserError("download hub needs --id, a dataset id such as org/name")
    fetched, revision = resolve(name, repo_type="dataset")
    shutil.copytree(fetched, folder, dirs_exist_ok=True)  # The Hub's cache keeps its own copy.
    return revision or ""
