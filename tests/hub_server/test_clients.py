"""The test Hub as child processes, Xet, datasets and Keras see it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import snapshot_download
from PIL import Image


def test_a_child_process_talks_to_the_hub_alone(api, repo, hub):
    hub.commit(repo, {"a.txt": b"1"})
    program = f"import huggingface_hub as h; print(h.model_info({repo!r}).sha, h.whoami()['name'])"
    environment = hub.env(token=hub.token)
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [api.model_info(repo).sha, "tester"]


# Xet, which is on in a fresh installation

XET_ROUND_TRIP = """
import os, sys
from huggingface_hub import HfApi, snapshot_download
repo, folder, cache = sys.argv[1:]
HfApi().upload_folder(repo_id=repo, folder_path=folder)
print(snapshot_download(repo, cache_dir=cache))
"""


def xet_round_trip(hub, repo, source, cache):
    """Publish and fetch in a child process that has Xet on; gives the process."""
    environment = hub.env(token=hub.token, HF_HUB_DISABLE_XET="0")
    command = [sys.executable, "-c", XET_ROUND_TRIP, repo, str(source), str(cache)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_xet_clients_publish_and_everybody_can_read(repo, hub, tmp_path, cache):
    source = tmp_path / "release"
    source.mkdir()
    floats = np.random.default_rng(0).normal(size=100_001).astype("float32").tobytes()
    contents = {
        "noise.bin": os.urandom(1 << 20),  # stored as it is
        "floats.bin": floats,  # byte groups, then LZ4
        "repeats.bin": b"\0abc" * 300_000,  # the same chunk many times
    }
    for name, content in contents.items():
        (source / name).write_bytes(content)
    hub.fault("status:503", "POST", "/v1/xorbs/")
    run = xet_round_trip(hub, repo, source, cache)
    assert run.returncode == 0, run.stderr
    through_xet = Path(run.stdout.strip())
    through_lfs = Path(snapshot_download(repo, cache_dir=tmp_path / "other"))
    for name, content in contents.items():
        assert (through_xet / name).read_bytes() == content
        assert (through_lfs / name).read_bytes() == content
    assert not hub.calls("PUT", "^/lfs/")
    assert len(hub.calls("GET", "^/xorbs/")) >= 1
    assert hub.token not in {c.token for c in hub.requests if c.host in hub.cdn}


def test_a_hub_without_xet_stops_xet_clients_without_a_commit(repo, hub, tmp_path, cache):
    hub.xet = False
    source = tmp_path / "release"
    source.mkdir()
    (source / "w.bin").write_bytes(b"\0" * 1000)
    assert xet_round_trip(hub, repo, source, cache).returncode != 0
    assert len(hub.commits(repo)) == 1


# datasets and Keras


def test_datasets_loads_an_imagefolder_repo(api, hub, repo_id, tmp_path):
    from datasets import load_dataset

    for split in ("train", "test"):
        for shade, label in enumerate(("Covid", "Normal")):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            Image.new("L", (8, 8), 40 * shade).save(folder / "x.png")
    api.create_repo(repo_id, repo_type="dataset")
    api.upload_folder(folder_path=tmp_path, repo_id=repo_id, repo_type="dataset")
    loaded = load_dataset(repo_id)
    assert {name: len(split) for name, split in loaded.items()} == {"train": 2, "test": 2}
    assert loaded["train"].features["label"].names == ["Covid", "Normal"]
    assert np.asarray(loaded["test"][1]["image"]).max() == 40
    streamed = list(load_dataset(repo_id, split="train", streaming=True))
    assert [row["label"] for row in streamed] == [0, 1]
    assert {call.host for call in hub.requests} <= {
        address.removeprefix("http://") for address in (hub.endpoint, hub.cdn)
    }


def test_datasets_pushes_parquet_and_loads_it_back(hub, repo_id):
    from datasets import Dataset, load_dataset

    table = {"label": ["Covid", "Normal"], "value": [1.0, 2.0]}
    Dataset.from_dict(table).push_to_hub(repo_id, token=hub.token)
    assert load_dataset(repo_id, split="train").to_dict() == table
    assert any(p.endswith(".parquet") for p in hub.commits(repo_id, "datasets")[0].files)


def test_keras_loads_a_model_from_the_hub(api, repo, tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    keras.saving.save_model(model, tmp_path / "m", zipped=False)
    api.upload_folder(folder_path=tmp_path / "m", repo_id=repo)
    loaded = keras.saving.load_model(f"hf://{repo}")
    inputs = np.ones((1, 4), "float32")
    np.testing.assert_allclose(loaded(inputs), model(inputs))
