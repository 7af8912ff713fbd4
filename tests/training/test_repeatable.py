"""The same seed gives the same weights, to the bit, however often the run was interrupted."""

import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from aihealth.training import checkpoint
from tests.helpers.programs import ROOT
from tests.helpers.releases import brightness_model
from tests.helpers.shards import write_shards

# All that draws at random: both halves of the augmentation, swaps, dropout, the average.
OPTIONS = ("--size", "32", "--batch-size", "8", "--steps", "5", "--epochs", "2", "--seed", "5",
           "--save-every", "1", "--average", "0.9", "--consistency", "1")  # fmt: skip


def start(data, out, *more):
    """Training alone: no release."""
    words = ["-m", "tests.helpers.cluster_member", out, "--data", data, "--out", out, *OPTIONS]
    return subprocess.Popen([sys.executable, *map(str, (*words, *more))], cwd=ROOT)


def weights(out):
    with np.load(f"{out}-0.npz") as arrays:
        return [arrays[name] for name in arrays.files]


def saved(out):
    """When the checkpoint was written, or None."""
    try:
        return (out / "checkpoint" / "state.json").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def test_dropout_goes_on_with_the_numbers_it_would_have_drawn(tmp_path):
    keras.utils.set_random_seed(5)
    model = brightness_model()  # with dropout before its head
    model.compile("adam", "categorical_crossentropy")
    x = np.random.default_rng(0).uniform(0, 255, (24, 32, 32, 3))
    data = {"x": x, "y": np.eye(3)[np.arange(24) % 3], "batch_size": 8, "shuffle": False}
    average = checkpoint.WeightAverage(0.9)
    saver = checkpoint.Checkpoint(tmp_path, average, checkpoint.Progress(), 5, 1000)
    model.fit(**data, callbacks=[average, saver], verbose=0)
    again = checkpoint.WeightAverage(0.9)
    restored, progress = checkpoint.restore(tmp_path, again, {})
    assert progress.random_states[0][1] == 3
    model.fit(**data, callbacks=[average], verbose=0)
    restored.fit(**data, callbacks=[again], verbose=0)
    for one, other in zip(model.get_weights(), restored.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


KILLS = 3


@pytest.mark.slow
@pytest.mark.skipif("AIHEALTH_KILLS" not in os.environ, reason="five starts of TensorFlow: by hand")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_that_is_killed_at_several_moments_ends_with_the_weights_of_one_that_was_not(
    drawings, tmp_path, streamed
):
    more = []
    if streamed:
        more, drawings = ["--stream", "--buffer", "7"], tmp_path / "parquet"
        drawings.mkdir()
        for split, images in (("train", 60), ("validation", 24), ("test", 24)):
            write_shards(drawings, images, 2, split)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(drawings, whole, *more).wait() == 0
    kills = 0
    while True:
        seen = saved(broken)
        process = start(drawings, broken, *more, *(["--resume"] if seen else []))
        while process.poll() is None and kills < KILLS and saved(broken) in (None, seen):
            time.sleep(0.01)
        time.sleep(0.07 * kills)  # not always right after a checkpoint
        if process.poll() is None and kills < KILLS:
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert kills >= 2
    for one, other in zip(weights(whole), weights(broken), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_another_seed_gives_other_weights(drawings, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    short = ("--epochs", "1", "--steps", "2", "--arch", "baseline")
    processes = [start(drawings, first, *short), start(drawings, second, *short, "--seed", "6")]
    assert [process.wait() for process in processes] == [0, 0]
    pairs = zip(weights(first), weights(second), strict=True)
    assert any(not np.array_equal(one, other) for one, other in pairs)
