"""The Space as a process, for tests: started as a visitor's host starts it."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "space"
RELEASE = Path(os.environ.get("AIHEALTH_TEST_RELEASE", ROOT / "release"))

if str(SPACE) not in sys.path:
    sys.path.insert(0, str(SPACE))

START_SECONDS = 300  # far more than it takes, for machines that are busy


class SpaceApp:
    """`python space/app.py` on a free port; use it as a context."""

    def __init__(self, folder: Path, app: Path = SPACE / "app.py", **environ: str):
        self.uploads = folder / "uploads"
        self.log = folder / "log.txt"
        self.model = Path(environ.get("MODEL_ID", RELEASE))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._app = app
        self._environ = {
            **{k: v for k, v in os.environ.items() if k not in ("MODEL_ID", "MODEL_REVISION")},
            "MODEL_ID": str(RELEASE),
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_TEMP_DIR": str(self.uploads),
            **environ,
        }

    def __enter__(self):
        self._output = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(self._app)],
            env={key: value for key, value in self._environ.items() if value},
            cwd=self.log.parent,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.page = urllib.request.urlopen(self.url, timeout=5).read().decode()
                return self
            except OSError:
                time.sleep(0.2)
        self.__exit__()
        raise AssertionError(f"no answer within {START_SECONDS} s:\n{self.log.read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()

    def files(self) -> list[Path]:
        """What lies in the uploads folder."""
        return [path for path in self.uploads.rglob("*") if path.is_file()]


# Thresholds with which a release answers for whatever it is shown.
ACCEPT = {"ood_threshold": 1e9, "abstain_below": 0.0, "lateral_threshold": None}


def release_with(folder: Path, settings: dict[str, object]) -> Path:
    """A copy of the release with other thresholds, so that the kind of its answers is known."""
    from aihealth import release

    folder.mkdir(parents=True)
    for name in release.SERVING_FILES:
        shutil.copy(RELEASE / name, folder)
    config = release.read_json(RELEASE / release.CONFIG)
    release.write_json(folder / release.CONFIG, config | settings)
    return folder


def space_with(folder: Path, settings: dict[str, object], **environ: str) -> SpaceApp:
    """A Space with such a release."""
    return SpaceApp(folder, MODEL_ID=str(release_with(folder / "release", settings)), **environ)


# === What programs ask ===

_VISITOR = httpx.Client(timeout=60)


class Refused(Exception):
    """A call's sentence."""


def upload(app: SpaceApp, content: bytes, name: str = "film.png") -> dict:
    """Send a file; what calls take for it."""
    answer = _VISITOR.post(f"{app.url}/gradio_api/upload", files={"files": (name, content)})
    (path,) = answer.raise_for_status().json()
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def call(app: SpaceApp, function: str, *data: object) -> object:
    """What an endpoint answers.

    Raises:
        Refused: it does not.
    """
    address = f"{app.url}/gradio_api/call/{function}"
    event = _VISITOR.post(address, json={"data": data}).json()["event_id"]
    kind, text = _VISITOR.get(f"{address}/{event}").text.strip().splitlines()[-2:]
    answer = json.loads(text.removeprefix("data: "))
    if kind == "event: error":
        raise Refused(answer["error"])
    return answer[0]


def predict(app: SpaceApp, content: bytes) -> dict:
    """The answer for one image."""
    return call(app, "predict", upload(app, content))


# === Drawn images ===


def film(seed: int = 0, label: str = "Normal", size: int = 256) -> np.ndarray:
    """A drawn radiograph, uint8 `(size, size)`."""
    from data_prep.radiographs import draw_radiograph

    return draw_radiograph(np.random.default_rng(seed), label, size=size)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def zip_of(files: dict[str, bytes], way: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", way) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
