"""Training on several processes: real ones, on 127.0.0.1, with JAX."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aihealth.data.cluster import Cluster
from aihealth.errors import UserError
from tests.helpers.programs import ROOT, kill_at_checkpoint

SMALL = ("--arch", "baseline", "--size", "32", "--augment", "none", "--average", "0.9",
         "--batch-size", "16")  # fmt: skip
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason='needs JAX: pip install "jax[cpu]"'
)


# === Who takes part ===


def test_one_process_without_any_variable():
    assert Cluster.from_environment({}) == Cluster(1, 0, None)


@pytest.mark.parametrize(
    "names",
    [
        ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID",
         "KERAS_DISTRIBUTION_JOB_ADDRESSES"),
        ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"),
    ],
)  # fmt: skip
def test_variables_of_keras_and_of_jax(names):
    env = dict(zip(names, ("4", "2", "10.0.0.1:1234"), strict=True))
    assert Cluster.from_environment(env) == Cluster(4, 2, "10.0.0.1:1234")


def test_keras_takes_the_addresses_of_all_the_first_one_counts():
    env = {
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "KERAS_DISTRIBUTION_PROCESS_ID": "1",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": "10.0.0.1:1234,10.0.0.2:2345",
    }
    assert Cluster.from_environment(env).address == "10.0.0.1:1234"


def test_a_slurm_step_tells_everything_but_a_batch_script_is_one_process():
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3",
            "SLURM_STEP_NODELIST": "node[01-08]"}  # fmt: skip
    assert Cluster.from_environment(step) == Cluster(8, 3, None)
    script = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}
    assert Cluster.from_environment(script).processes == 1


@pytest.mark.parametrize(
    ("index", "address", "sentence"),
    [
        ("2", "h:1", "JAX_PROCESS_ID 2: must be 0 to 1"),
        ("first", "h:1", "JAX_PROCESS_ID is needed, a whole number"),
        ("0", "h", "JAX_COORDINATOR_ADDRESS must be host:port"),
    ],
)
def test_an_environment_that_makes_no_sense(index, address, sentence):
    env = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": index, "JAX_COORDINATOR_ADDRESS": address}
    with pytest.raises(UserError, match=sentence):
        Cluster.from_environment(env)


def test_rows_of_a_batch_are_dealt_out_once():
    rows = np.concatenate([np.arange(12)[Cluster(3, index).rows(12)] for index in range(3)])
    assert rows.tolist() == list(range(12))


# === Training ===


@pytest.fixture(scope="module")
def prepared(drawings):
    return drawings


def start(words, index=0, processes=1, port=0, backend="jax"):
    """A process of a training, its output in a file beside the run."""
    env = {**os.environ, "KERAS_BACKEND": backend}
    if processes > 1:
        env |= {
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        }
    return subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def start_two(*words):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [start(words, index, 2, port) for index in range(2)]


def finish(*processes):
    printed = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), printed
    return printed


def member(name, *words):
    return ("-m", "tests.helpers.cluster_member", name, *words)


def weights(file):
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def history(run):
    return json.loads((run / "checkpoint" / "state.json").read_text())["history"]


@needs_jax
@pytest.mark.slow
def test_two_processes_have_the_same_weights_and_the_losses_of_one(prepared, tmp_path):
    words = ("--data", prepared, *SMALL, "--epochs", "3")
    finish(start(member(tmp_path / "one", *words, "--out", tmp_path / "one")))
    printed = finish(*start_two(*member(tmp_path / "two", *words, "--out", tmp_path / "two")))
    files = [tmp_path / f"two-{index}.npz" for index in range(2)]
    for first, second in zip(*map(weights, files), strict=True):
        np.testing.assert_array_equal(first, second)
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    assert len(one["loss"]) == 3
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-3)
    np.testing.assert_allclose(two["accuracy"], one["accuracy"], atol=1e-6)
    assert "Epoch 3/3" in printed[0] and "Epoch" not in printed[1]


@pytest.fixture(scope="module")
def killed(prepared, tmp_path_factory):
    """What a process says whose companion is killed, per index of the victim; the options."""
    said = {}
    for victim in (1, 0):
        out = tmp_path_factory.mktemp("runs") / "run"
        words = ("--data", prepared, *SMALL, "--epochs", "2", "--steps", "150",
                 "--save-every", "10", "--out")  # fmt: skip
        processes = start_two("train.py", *words, out)
        kill_at_checkpoint(out, processes, victim)
        printed, _ = processes[1 - victim].communicate(timeout=60)
        said[victim] = (processes[1 - victim].returncode, printed)
        processes[victim].communicate()
    return said, words, out


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_within_a_minute_with_a_sentence(killed, victim):
    status, printed = killed[0][victim]
    assert status != 0
    assert f"error: process {1 - victim} of 2 (0 is the first) ended early" in printed
    assert "start all of them again with --resume" in printed


@needs_jax
@pytest.mark.slow
def test_two_processes_go_on_within_the_epoch(killed, tmp_path):
    _, words, out = killed
    shutil.copytree(out, tmp_path / "run")
    printed = finish(
        *start_two(*member(tmp_path / "weights", *words, tmp_path / "run", "--resume"))
    )
    assert "resuming after epoch 0 and step " in printed[0]
    assert len(history(tmp_path / "run")["loss"]) == 2


@needs_jax
@pytest.mark.slow
def test_one_process_goes_on_where_two_were_and_makes_the_release(killed):
    _, words, out = killed
    (printed,) = finish(start(("train.py", *words, out, "--resume")))
    assert "resuming after epoch 0 and step " in printed
    found = json.loads((out / "release" / "provenance.json").read_text())
    assert (found["backend"], found["processes"], found["epochs"]) == ("jax", 1, 2)
    from aihealth import Classifier

    film = next((Path(words[1]) / "test" / "Covid").glob("*.png"))
    assert sum(Classifier(out / "release").predict(film).probabilities.values()) == pytest.approx(1)


@pytest.mark.slow
def test_several_processes_without_jax_are_refused(prepared, tmp_path):
    process = start(
        ("train.py", "--data", prepared, "--out", tmp_path / "run"), 0, 2, 1, "tensorflow"
    )
    printed, _ = process.communicate()
    assert process.returncode == 2
    assert printed.splitlines()[-1].startswith("error: training on 2 processes needs KERAS_BACKEND")
