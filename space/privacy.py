"""Nothing that a visitor sends stays: uploads go to one private folder that is swept by age.

Gradio's own `delete_cache` knows only the uploads that arrived whole. It forgets uploads that were
cut off, files that MCP clients send inside a request, and the folders that it empties.
"""

import atexit
import contextlib
import math
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

# Not "aihealth-", as before folders were locked: nobody can tell whether such a one is in use.
PREFIX = "aihealth-space-"


def use_private_folder() -> Path:
    """Make the folder and point Gradio to it; call this before Gradio is imported.

    The folder lies in GRADIO_TEMP_DIR, or where temporary files go, and leaves with the process;
    those of processes that were killed leave now.
    """
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        _hold(folder, wait=True)
        # A Space that starts at the same time may have taken it for a dead one.
        if folder.exists():
            break
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def remove_left_behind(parent: Path) -> None:
    """Delete the folders of Spaces whose process is gone: nobody holds them any more."""
    for folder in parent.glob(PREFIX + "*"):
        held = _hold(folder, wait=False)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)


def _hold(folder: Path, wait: bool) -> int | None:
    """Lock a folder until the process ends, however it ends, or the result is closed.

    Returns:
        An open descriptor; None where another process holds the folder, it is not ours, or there
        are no such locks (Windows, some network file systems).
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(held).st_uid == os.getuid():
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return held
    except OSError:
        pass
    os.close(held)
    return None


def keep_clean(folder: Path, page: "gr.Blocks", every: float, after: float) -> None:
    """Sweep for as long as the process lives.

    Args:
        folder: what `use_private_folder` gave.
        page: the Gradio page, whose memory of visitors is swept too.
        every: seconds between sweeps.
        after: age in seconds at which things go; nothing is kept longer than `every + after`.
    """

    def loop() -> None:
        while True:
            time.sleep(every)
            sweep(folder, after)
            adapter.forget(page, after)

    import adapter  # It imports Gradio, which reads at once where to put uploads.

    threading.Thread(target=loop, name="sweep", daemon=True).start()


def sweep(folder: Path, after: float) -> None:
    """Delete what is older than `after` seconds, and the folders that this empties."""
    oldest = time.time() - after
    for root, _, names in os.walk(folder, topdown=False):
        for path in [Path(root, name) for name in names]:
            if _changed(path) < oldest:
                path.unlink(missing_ok=True)
        # A folder that was just emptied has changed: it goes later, not under a new upload's feet.
        if Path(root) != folder and _changed(Path(root)) < oldest:
            with contextlib.suppress(OSError):  # not empty, or gone already
                os.rmdir(root)


def _changed(path: Path) -> float:
    """When the inode last changed, which a client cannot set; infinity if it is gone."""
    try:
        return path.lstat().st_ctime
    except FileNotFoundError:
        return math.inf
