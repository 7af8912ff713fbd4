"""`predict --engine ray`: the same rows as from one process, whatever dies meanwhile.

Ray is not in requirements.txt. `pip install "ray[data]>=2.60,<2.64"`, then
`python -m pytest -n 0 tests/inference/test_ray.py`; without Ray the tests are skipped.
"""

import glob
import os
import secrets
import select
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

# Ray reads these when it is imported; the cluster's process inherits them.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
pytest.importorskip("ray")

import push_to_hub
from aihealth.classifier import Classifier
from aihealth.data import archive
from aihealth.errors import UserError
from aihealth.inference import predict, ray_engine
from aihealth.publishing.dataset import stage_dataset
from tests.helpers.image_files import make_dicom
from tests.helpers.programs import ROOT
from tests.helpers.releases import grey_image, make_dataset

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
_CLUSTER = """
import sys
from aihealth.inference import ray_engine
ray = ray_engine._import_ray()
with ray_engine._cluster(ray, 2):
    print("ADDRESS " + ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A Ray that outlives the runs, as a cluster does; they find it by RAY_ADDRESS."""
    with subprocess.Popen(
        [sys.executable, "-c", _CLUSTER], cwd=ROOT, stdin=-1, stdout=-1, text=True
    ) as process:
        lines = iter(process.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("ADDRESS "))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", address)
            yield
        process.stdin.close()


@pytest.fixture
def films(tmp_path):
    """More files than one part has, of every kind."""
    folder = tmp_path / "films"
    (folder / "ward").mkdir(parents=True)
    for index in range(150):
        grey_image((60, 120, 180)[index % 3], seed=index).save(folder / f"{index:03d}.png")
    (folder / "ward" / "IM0001").write_bytes(make_dicom(np.asarray(grey_image(120))))
    (folder / "ward" / "README").write_text("no image")
    (folder / "ward" / "broken.png").write_bytes(b"not an image")
    grey_image(60).save(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    return folder


def both(model, inputs, folder, failed):
    """The files of the two engines, which must be the same byte for byte."""
    contents = []
    for engine in ("local", "ray"):
        out = folder / f"{engine}.parquet"
        assert predict.predict(model, inputs, out=str(out), engine=engine) == failed
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]


def reader_of(fifo):
    """The process that has a named pipe open for reading."""
    for name in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            pid = int(name.split("/")[2])
            if pid != os.getpid() and os.readlink(name) == str(fifo):
                return pid
        except OSError:  # It is gone.
            continue
    raise AssertionError(f"nobody reads {fifo}")


def kill_reader(fifo):
    """Wait until a worker has come to this file, and kill it there."""
    with open(fifo, "wb") as file:  # Opens when someone has opened it for reading.
        pid = reader_of(fifo)
        os.kill(pid, signal.SIGKILL)
        gone = select.poll()
        gone.register(file, 0)
        gone.poll()  # Returns when nobody reads any more.
    return pid


def test_files_folders_and_parquet_give_the_same_bytes(model, films, tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    stage_dataset(make_dataset(tmp_path / "prepared"), staged, "org/data", "other")
    inputs = [films, films / "none.png", tmp_path / "prepared", staged]
    both(model, [str(path) for path in inputs], tmp_path, failed=2)


def test_relative_paths_mean_the_same_to_all_processes(model, films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both(os.path.relpath(model), ["films"], tmp_path, failed=1)


def test_a_dataset_repo_gives_the_same_bytes(model, hub, repo_id, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    words = ["--data", str(make_dataset(tmp_path / "prepared")), "--repo-id", repo_id]
    push_to_hub.publish(push_to_hub.parse_args(["dataset", *words]))
    both(model, [archive.locate(repo_id)], tmp_path, failed=0)


def test_a_killed_worker_loses_and_doubles_nothing(model, films):
    inputs = [str(path) for path in sorted(films.glob("*.png"))]
    expected = list(predict.local(Classifier(model), inputs))
    slow = films / "070.png"
    content = slow.read_bytes()
    slow.unlink()
    os.mkfifo(slow)
    killed = []

    def kill():
        killed.append(kill_reader(slow))
        with open(slow, "wb") as file:  # Another worker has come to it.
            killed.append(reader_of(slow))
            file.write(content)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    rows = list(ray_engine.answers(model, None, inputs))
    killer.join()
    assert killed[0] != killed[1]
    assert rows == expected


def test_a_file_that_kills_every_worker_is_one_sentence(model, films):
    deadly = films / "deadly.png"
    os.mkfifo(deadly)
    killed = []

    def kill():
        while len(killed) <= ray_engine._TRIES:
            killed.append(kill_reader(deadly))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(UserError, match="a worker died 4 times"):
        list(ray_engine.answers(model, None, [str(films), str(deadly)]))
    killer.join()


def test_what_the_list_of_files_meets_is_one_sentence(model, tmp_path):
    with pytest.raises(UserError, match="has no images in it"):
        list(ray_engine.answers(model, None, [str(tmp_path)]))


def test_a_worker_that_cannot_open_the_model_says_why(films, tmp_path):
    with pytest.raises(UserError, match=r"a worker could not start: .*is not a release"):
        list(ray_engine.answers(str(tmp_path), None, [str(films)]))


def test_without_a_cluster_ray_is_started_and_leaves_nothing(model, films, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS")
    before = set(glob.glob("/tmp/aihealth-ray-*") + glob.glob("/tmp/ray*"))
    out = tmp_path / "rows.parquet"
    options = ["--engine", "ray", "--workers", "1", "--out", out, "--data", films]
    done = subprocess.run(
        [sys.executable, "-m", "aihealth", "predict", "--model", model, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "1 file(s) could not be read" in done.stderr
    assert "broken" not in done.stderr  # No names in what is logged.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "rows.parquet"]
    assert set(glob.glob("/tmp/aihealth-ray-*") + glob.glob("/tmp/ray*")) == before
