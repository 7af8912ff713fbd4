"""`train.py --stream`: sharded Parquet, read as it is needed."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections import Counter

import datasets
import numpy as np
import pyarrow
import pytest

from aihealth.data import prepared as data
from aihealth.data import streaming
from aihealth.errors import UserError
from aihealth.training import batches
from aihealth.training.distribution import Cluster
from tests.helpers.programs import ROOT, inside, kill_at_checkpoint, run
from tests.helpers.shards import write_shards

SMALL = ("--arch", "baseline", "--size", "32", "--augment", "none", "--batch-size", "8")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parquet")
    write_shards(folder, 180)
    write_shards(folder, 24, 1, "validation")
    write_shards(folder, 24, 1, "test")
    return folder


def stream(folder, cluster=None, **options):
    counts = streaming.count([str(folder)])
    return streaming.Stream(
        [str(folder)], 32, 8, weights=streaming.loss_weights(counts, 0.0), seed=1,
        cluster=cluster or Cluster(), buffer=30, **options,
    )  # fmt: skip


def take(found, batches):
    """Digests of the images of the next batches, and the labels."""
    reader, seen, labels = found.batches(), [], []
    for _ in range(batches):
        pixels, label, _ = next(reader)
        found.consumed()
        seen += [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
        labels += label.tolist()
    reader.close()
    return seen, labels


def test_labels_and_sources_are_counted_without_an_image(shards):
    counts = streaming.count([str(shards)])
    assert sum(counts.values()) == 180
    assert counts[0, "south"] == 20 and counts[2, "north"] == 40


def test_a_pass_gives_every_image_once_and_the_next_another_order(shards):
    first, _ = take(stream(shards), 44)
    assert len(set(first[:176])) == 176
    assert set(first[180:]) <= set(first[:180])
    assert first[180:] != first[: 352 - 180]


def test_files_that_are_sorted_by_class_are_mixed(shards):
    _, labels = take(stream(shards), 4)
    assert all(labels.count(label) >= 3 for label in range(3)), Counter(labels)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_a_pass_without_overlap(shards, processes):
    # 18 row groups: two processes read half of them each, four read all and take turns.
    parts = [take(stream(shards, Cluster(processes, i)), 5)[0] for i in range(processes)]
    seen = [image for part in parts for image in part]
    assert len(set(seen)) == len(seen) == processes * 40


@pytest.mark.parametrize("cluster", [None, Cluster(2, 1), Cluster(4, 2)])
@pytest.mark.parametrize("batches", [1, 3, 5, 11])  # early in a pass, late in one, in the next
def test_a_stream_goes_on_as_it_would_have_gone_on(shards, cluster, batches):
    whole, _ = take(stream(shards, cluster), batches + 6)
    before = stream(shards, cluster)
    seen, _ = take(before, batches)
    position = json.loads(json.dumps(before.position))
    rest, _ = take(stream(shards, cluster, position=position), 6)
    assert seen + rest == whole


def test_what_was_given_before_is_not_read_again(shards, monkeypatch):
    reads = []
    monkeypatch.setattr(
        streaming._RowGroup, "read",
        lambda self, read=streaming._RowGroup.read: reads.append(self) or read(self),
    )  # fmt: skip
    groups = streaming._row_groups([str(shards)], "train")[1]
    rows = streaming._rows(groups, streaming._Order(1, 5, Cluster()), given=170)
    assert len(list(rows)) == 10
    assert len(set(reads)) <= 10 < len(groups)


def test_only_what_was_trained_on_counts_as_read(shards):
    found = stream(shards)
    reader = found.batches()
    for _ in range(5):
        next(reader)
    found.consumed()
    expected, _ = take(stream(shards), 1)
    assert found.position == stream_after(shards, 1)
    assert len(expected) == 8


def stream_after(shards, batches):
    found = stream(shards)
    take(found, batches)
    return found.position


def test_weights_of_the_loss_do_what_drawing_would_do(shards):
    counts = {(0, "a"): 60, (1, "a"): 30, (1, "b"): 6, (2, "b"): 4}
    cells = [cell for cell, number in counts.items() for _ in range(number)]
    images = data.Images(
        np.zeros((100, 8, 8), np.uint8), np.array([label for label, _ in cells]), list("ABC"),
        np.array([source for _, source in cells]), np.arange(100).astype(str),
    )  # fmt: skip
    for balance in (0.0, 0.5, 1.0):
        weights = streaming.loss_weights(counts, balance)
        drawn = batches.sampling_weights(images, balance)
        np.testing.assert_allclose([weights[cell] / 100 for cell in cells], drawn)


def test_a_bounded_sample_is_held_of_each_split(shards):
    held = streaming.load([str(shards)], 32, 20, 1)
    assert {split: len(part) for split, part in held.items()} == dict.fromkeys(data.SPLITS, 20)
    assert held["train"].pixels.shape == (20, 32, 32)
    assert set(held["train"].labels) == {0, 1, 2}
    assert set(held["train"].sources) == {"north", "south"}


def test_an_image_that_cannot_be_read_is_left_out_and_said(tmp_path, capfd):
    write_shards(tmp_path, 30, 1)
    file = next(tmp_path.glob("*.parquet"))
    rows = datasets.Dataset.from_parquet(str(file)).cast_column("image", datasets.Image(False))
    features = rows.features
    broken = [row | {"image": {"bytes": b"no image", "path": None}} if not i else row
              for i, row in enumerate(rows)]  # fmt: skip
    datasets.Dataset.from_list(broken, features=features).to_parquet(file)
    seen, _ = take(stream(tmp_path), 3)
    assert len(set(seen)) == 24
    take(stream(tmp_path), 4)
    assert "an image is left out: this is not an image that can be read" in capfd.readouterr().err


def test_memory_does_not_grow_with_the_dataset(shards, tmp_path):
    peaks = []
    for times in (1, 10):
        folder = tmp_path / str(times)
        folder.mkdir()
        for file in sorted(shards.glob("train-*")):
            for copy in range(times):
                (folder / f"train-{copy}-{file.name}").symlink_to(file)
        found = stream(folder)
        take(found, 1)  # what is loaded once
        reader, most = found.batches(), 0
        tracemalloc.start()
        for _ in range(180 * times // 8):
            next(reader)
            found.consumed()
            most = max(most, pyarrow.total_allocated_bytes())
        peaks.append(most + tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        reader.close()
    added = 9 * sum(file.stat().st_size for file in shards.glob("train-*"))
    assert peaks[1] - peaks[0] < 0.1 * added  # how much is read ahead depends on the machine


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: (folder / "a.txt").write_text("x"), "this is not Parquet"),
        (lambda folder: write_shards(folder, 9, 1), "has no validation split"),
        (lambda folder: None, "cannot be read"),
    ],
)
def test_what_cannot_be_streamed_is_named(tmp_path, make, sentence):
    make(tmp_path)
    with pytest.raises(UserError, match=sentence):
        streaming.load([str(tmp_path)], 32, 10, 1)


def test_columns_that_are_missing_are_named(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"has no columns image and label"):
        streaming.load([str(tmp_path)], 32, 10, 1)


# === The whole program ===


@pytest.mark.slow
def test_a_streamed_run_from_the_hub_is_killed_goes_on_and_is_released(hub, drawings, tmp_path):
    words = ("dataset", "--data", drawings, "--repo-id", "org/streamed")
    pushed = inside("push_to_hub.py", *words, token=hub.token)
    assert pushed.returncode == 0, pushed.stderr
    env = hub.env(hub.token)
    out = tmp_path / "run"
    words = ("train.py", "--data", "org/streamed", "--stream", "--out", out, *SMALL,
             "--epochs", "2", "--steps", "60", "--save-every", "5", "--buffer", "20",
             "--hold", "30")  # fmt: skip
    with subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, env=env) as process:
        kill_at_checkpoint(out, [process])
    state = out / "checkpoint" / "state.json"
    assert len(json.loads(state.read_text())["streams"]) == 1
    resumed = run(*words, "--resume", env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch 0 and step " in resumed.stdout
    found = json.loads((out / "release" / "provenance.json").read_text())
    assert found["streamed_images"] > 60 and found["images"]["train"] == 30
    assert found["data"][0]["repo_id"] == "org/streamed"
    assert hub.token not in resumed.stdout + resumed.stderr


def test_leaving_out_a_source_needs_memory(tmp_path):
    answer = run("train.py", "--data", "org/none", "--out", tmp_path / "run", "--stream",
                 "--leave-out", "north")  # fmt: skip
    assert answer.returncode == 2
    assert "--leave-out needs all images in memory" in answer.stderr
