"""The README's two commands; needs nothing but Python 3.11, 3.12 or 3.13.

    python3 run.py demo    set up, then the whole way on drawn images: prepare, train, evaluate,
                           predict, and the Space on a local port
    python3 run.py test    set up, then lint and all tests

Everything is installed into `.venv` beside this file. With CI=true, or without a terminal, `demo`
ends by itself once the Space has answered a request; otherwise the Space stays up until Ctrl-C.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
DEMO = ROOT / "demo"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_DISABLE_TELEMETRY": "1"}


def main() -> None:
    """Dispatch; every failure is one sentence."""
    if len(sys.argv) < 2 or sys.argv[1] not in ("demo", "test"):
        sys.exit(__doc__)
    if not (3, 11) <= sys.version_info < (3, 14):
        sys.exit(f"error: Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}")
    try:
        set_up()
        demo() if sys.argv[1] == "demo" else test(sys.argv[2:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: this step failed with status {error.returncode}: {said(error.cmd)}")
    except KeyboardInterrupt:
        sys.exit("\nstopped")


def set_up() -> None:
    """Make `.venv` and install requirements.txt, unless that was done with the same file."""
    requirements = ROOT / "requirements.txt"
    mark = VENV / "installed"
    state = f"{sys.version_info[:2]} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    if mark.is_file() and mark.read_text() == state:
        return
    print("setting up .venv (about 2 GB of packages; some minutes the first time)", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    python("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
    mark.write_text(state)


def demo() -> None:
    """The whole way, on drawn images; each command is printed as a user would type it."""
    data, run = DEMO / "data", DEMO / "run"
    if not data.exists():
        shutil.rmtree(DEMO / "images", ignore_errors=True)
        python("-m", "data_prep", "demo", "--out", DEMO / "images")
        python("-m", "data_prep", "prepare", DEMO / "images", "--out", data)
    if not (run / "release").exists():
        again = ["--resume"] if (run / "checkpoint").exists() else []
        python("train.py", "--data", data, "--out", run, *RECIPE, *again)
    release = run / "release"
    python(
        "-m", "aihealth", "evaluate", "--model", release, "--data", data, "--out", DEMO / "figures"
    )
    films = sorted((data / "test").glob("*/*.png"))[::40]
    python("-m", "aihealth", "predict", "--model", release, *films)
    page = f"python -m aihealth page --model {release.relative_to(ROOT)} --out demo/page"
    print(f"\nThe page that never uploads, with this model inside: {page}", flush=True)
    serve(release, films[0])


# A small input, a light augmentation and a short average: drawings are learned in minutes.
RECIPE = ("--size", "96", "--epochs", "15", "--augment", "light", "--average", "0.9")


def serve(release: Path, film: Path) -> None:
    """Start the Space, ask it once, and keep it up where somebody is watching."""
    port = os.environ.get("GRADIO_SERVER_PORT") or str(free_port())
    url = f"http://127.0.0.1:{port}"
    env = {**os.environ, **QUIET, "MODEL_ID": str(release), "GRADIO_SERVER_PORT": port}
    print(f"\n$ MODEL_ID={release.relative_to(ROOT)} python space/app.py", flush=True)
    space = subprocess.Popen([str(PYTHON), "space/app.py"], cwd=ROOT, env=env)
    try:
        wait_until_up(url, space)
        python("-c", ASK, url, film)
        if os.environ.get("CI") == "true" or not sys.stdout.isatty():
            print("the Space answered; done")
            return
        print(f"\nThe Space is at {url} (Ctrl-C ends it)", flush=True)
        space.wait()
    finally:
        space.terminate()
        space.wait(timeout=30)


ASK = """
import sys
from gradio_client import Client, handle_file
answer = Client(sys.argv[1], verbose=False).predict(handle_file(sys.argv[2]), api_name="/predict")
print("the Space says:", answer)
"""


def wait_until_up(url: str, process: subprocess.Popen, seconds: int = 120) -> None:
    """Wait until the page answers."""
    for _ in range(seconds * 2):
        if process.poll() is not None:
            sys.exit("error: the Space stopped while starting; see its message above")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"error: the Space did not answer at {url} within {seconds} seconds")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test(arguments: list[str]) -> None:
    """Lint, format check, tests; further arguments go to pytest."""
    python("-m", "ruff", "check", ".")
    python("-m", "ruff", "format", "--check", ".")
    python("-m", "pytest", *arguments)


def python(*words: object) -> None:
    """Run the environment's Python from the project's folder."""
    command = [str(PYTHON), *map(str, words)]
    if words[0] != "-c" and "pip" not in words:
        print(f"\n$ {said(command)}", flush=True)
    subprocess.run(command, cwd=ROOT, env={**os.environ, **QUIET}, check=True)


def said(command: list[str]) -> str:
    """A command as one would type it."""
    return " ".join(["python", *command[1:]]).replace(f"{ROOT}{os.sep}", "")


if __name__ == "__main__":
    main()
