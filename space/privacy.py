"""Nothing that a visitor sends stays: uploads go to one private folder that is swept by age.

Gradio's own `delete_cache` knows only the uploads that arrived whole. It forgets uploads that were
cut off, files that MCP clients send inside a request, and the folders that it empties.
"""

import atexit
import contextlib
import datetime
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
    from gradio.state_holder import StateHolder


def use_private_folder() -> Path:
    """Make the folder and point Gradio to it; call this before Gradio is imported.

    The folder lies in GRADIO_TEMP_DIR, or where temporary files go, and leaves with the process.
    """
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="aihealth-", dir=parent))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


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
            if hasattr(page, "state_holder"):  # from launch on
                forget(page.state_holder, after)

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


def forget(sessions: "StateHolder", after: float) -> None:
    """Drop the answers of visitors who asked nothing for `after` seconds: they hold their films."""
    oldest = datetime.datetime.now() - datetime.timedelta(seconds=after)
    with sessions.lock:
        for name, last in list(sessions.time_last_used.items()):
            if last < oldest:
                sessions.session_data.pop(name, None)
                sessions.time_last_used.pop(name, None)


def _changed(path: Path) -> float:
    """When the inode last changed, which a client cannot set; infinity if it is gone."""
    try:
        return path.lstat().st_ctime
    except FileNotFoundError:
        return math.inf
