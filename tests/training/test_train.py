"""`train.py` as a user runs it: a process, on drawn images, small and short."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import train as program
from aihealth import release
from aihealth.data import opening
from aihealth.data import prepared as data
from aihealth.data import provenance as lineage
from aihealth.errors import UserError, run_cli
from aihealth.release import ReleaseConfig
from aihealth.training import augmentation, batches, building, checkpoint, loading, loop
from tests.helpers.programs import ROOT, kill_at_checkpoint, run, works
from tests.helpers.releases import brightness_model

SMALL = ("--size", "48", "--augment", "light", "--batch-size", "16")


@pytest.fixture(scope="module")
def trained(drawings, tmp_path_factory):
    """A run that was killed after its first epoch and went on."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train.py", "--data", drawings, "--out", out, *SMALL, "--epochs", "3"]
    with subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT) as process:
        kill_at_checkpoint(out, [process])
    assert not (out / "release").exists()
    return out, works(*words, "--resume")


@pytest.fixture
def train_here(monkeypatch):
    """`train.py` in this process, which is not to become deterministic."""

    def run(*words):
        monkeypatch.setattr(loop, "use_the_machine", lambda seed: None)
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
        run_cli(program.main)

    return run


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(trained):
    out, printed = trained
    first = int(printed.partition("resuming after epoch ")[2].split()[0])
    assert 1 <= first < 3
    history = json.loads((out / "release" / release.HISTORY).read_text())
    assert len(history["loss"]) == len(history["val_loss"]) == len(history["seconds"]) == 3


@pytest.mark.parametrize(("augment", "side"), [("mixed", 40), ("none", 32)])
def test_a_release_is_fitted_and_measured_on_images_as_serving_decodes_them(
    drawings, tmp_path, monkeypatch, augment, side
):
    words = ["train.py", "--data", str(drawings), "--out", str(tmp_path), "--size", "32"]
    monkeypatch.setattr(sys, "argv", [*words, "--leave-out", "harbour", "--augment", augment])
    settings = program.parse_arguments()
    loaded = loading.load_data(settings, [])
    assert loaded.splits["train"].pixels.shape[1] == side  # for augmentation to crop
    loaded.splits["train"] = loading.with_outlines(loaded.splits["train"])
    run = loop.Run(settings, None, [], loaded, None, None, None)
    splits = building.serving_splits(run)
    served = data.load([str(drawings)], 32)
    for name in ("train", "validation", "test"):
        kept = served[name].sources != "harbour"
        assert np.array_equal(splits[name].pixels, served[name].pixels[kept])
    left = np.concatenate([part.pixels[part.sources == "harbour"] for part in served.values()])
    assert np.array_equal(splits["left_out"].pixels, left)
    loaded.splits, loaded.fingerprints = data.load([str(drawings)], 32, 40), ["of other images"]
    with pytest.raises(UserError, match="--data changed while"):
        building.serving_splits(run)


def test_the_release_has_everything_that_loaders_and_readers_want(trained):
    out, _ = trained
    folder = out / "release"
    names = (
        *release.KERAS_FILES, *release.SAVED_MODEL_FILES, release.CONFIG, release.LITERT,
        release.OOD, release.METRICS, release.PROVENANCE, release.CARD,
        *(f"{release.FIGURES}/{name}.png" for name in (
            "confusion_matrix", "roc", "reliability", "risk_coverage", "training_curves")),
    )  # fmt: skip
    assert [name for name in names if not (folder / name).exists()] == []
    assert not list(out.glob("*.part"))


def test_the_release_says_where_it_came_from(trained, drawings):
    out, _ = trained
    found = json.loads((out / "release" / release.PROVENANCE).read_text())
    assert found["command"].startswith("python train.py --data")
    assert found["seed"] == 1337
    assert found["data"][0]["fingerprint"] == opening.fingerprint(str(drawings))
    assert {"tensorflow", "keras", "python"} <= found["versions"].keys()
    assert sum(found["images"].values()) > 80
    assert found["test_images_in_training_groups"] == 0


def test_a_model_of_drawings_says_so(trained):
    out, _ = trained
    config = ReleaseConfig.load(out / "release")
    assert config.drawn_data
    assert config.classes == ["Covid", "Normal", "Pneumonia"]
    assert config.sources == ["harbour", "hillside", "north"]
    assert "Trained on drawn images" in (out / "release" / release.CARD).read_text()


def test_figures_are_those_of_the_exported_file_with_intervals(trained, drawings):
    out, _ = trained
    from aihealth import Classifier

    block = json.loads((out / "release" / release.METRICS).read_text())["test"]
    test = data.load([str(drawings)], 48)["test"]
    answers = Classifier(out / "release").predict_batch(test.pixels)
    right = [
        max(a.probabilities, key=a.probabilities.get) == test.classes[label]
        for a, label in zip(answers, test.labels, strict=True)
    ]
    assert block["n"] == len(test)
    assert block["accuracy"] == pytest.approx(np.mean(right), abs=1e-4)
    low, high = block["intervals"]["accuracy"]
    assert low <= block["accuracy"] <= high
    assert set(block["per_source"]) == {"harbour", "hillside", "north"}


def test_a_finished_run_is_not_overwritten(trained, drawings):
    out, _ = trained
    again = run("train.py", "--data", drawings, "--out", out)
    assert again.returncode == 2
    assert again.stderr.strip() == (
        f"error: --out {out} holds a release already; choose another folder"
    )


def test_weights_are_released_without_more_training(trained, drawings, tmp_path, train_here):
    first = trained[0]
    weights = ["--weights", first / "checkpoint" / "best.npz"] * 2
    out = tmp_path / "mean"
    train_here("--data", drawings, "--out", out, *SMALL, "--epochs", "0", *weights)
    found, expected = (
        json.loads((folder / "release" / release.METRICS).read_text())["test"]["confusion"]
        for folder in (out, first)
    )
    assert found == expected
    assert not (out / "release" / "figures" / "training_curves.png").exists()
    told = json.loads((out / "release" / release.PROVENANCE).read_text())
    assert told["starting_weights"] == ["best.npz", "best.npz"]
    assert told["continued_from"] == [0, 0]
    assert [run["epochs"] for run in told["earlier_runs"]] == [3]
    assert (
        "It went on from an earlier run: 3 epochs" in (out / "release" / release.CARD).read_text()
    )


def test_resuming_with_other_options_is_refused(trained, drawings, tmp_path, fails):
    out, _ = trained
    (tmp_path / "run").mkdir()
    os.symlink(out / "checkpoint", tmp_path / "run" / "checkpoint")
    words = ("--data", drawings, "--out", tmp_path / "run", *SMALL, "--resume", "--epochs", "3")
    fails("made with seed 1337, not 7; use the same options", *words, "--seed", "7")
    fails("the checkpoint in", *words, "--leave-out", "harbour")
    # As many images, but not the same ones.
    settings = json.loads((out / "checkpoint" / "state.json").read_text())["settings"]
    average = checkpoint.WeightAverage(0.99)
    checkpoint.restore(out, average, settings)
    for name, other in (("leave_out", "harbour"), ("data", ["of another split"])):
        with pytest.raises(UserError, match=f"made with {name} .*, not .*; use the same options"):
            checkpoint.restore(out, average, settings | {name: other})
    assert settings["leave_out"] is None
    # What is off is named too: a run that began with it does not go on without.
    for name, other in (("consistency", 4.0), ("neither", ["tb"]), ("train_only", ["lungs"])):
        begun = settings | {name: other}
        state = {"settings": begun, "epoch": 1}
        (tmp_path / name / "checkpoint").mkdir(parents=True)
        (tmp_path / name / "checkpoint" / "state.json").write_text(json.dumps(state))
        with pytest.raises(UserError, match=f"made with {name} .*, not"):
            checkpoint.restore(tmp_path / name, average, settings)
        assert settings[name] in (0.0, [])
    assert settings["data"] == [opening.fingerprint(str(drawings))]


# === Bad input: one sentence, status 2, no traceback ===


@pytest.fixture
def fails(train_here, capsys):
    """What ends in a sentence."""

    def run(sentence, *words):
        with pytest.raises(SystemExit) as end:
            train_here(*words)
        said = capsys.readouterr().err
        assert end.value.code == 2
        last = said.strip().splitlines()[-1]
        assert last.startswith("error: ") and sentence in last

    return run


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("new has no checkpoint; start without --resume", "--data {data} --out new --resume"),
        ("plain is not a prepared dataset; make one with `python -m data_prep prepare",
         "--data plain --out run"),
        ("org/none", "--data org/none --out run"),
        ("not//valid", "--data not//valid --out run"),
        ("--leave-out mars: the data's sources are harbour, hillside, north",
         "--data {data} --out run --leave-out mars"),
        ("file", "--data {data} --out file/run"),
        ("--batch-size 15: an even number is needed", "--data {data} --out run --batch-size 15"),
        ("--epochs at least 1 (0 with --weights)", "--data {data} --out run --epochs 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_sentence(
    hub, drawings, tmp_path, monkeypatch, fails, sentence, words
):
    (tmp_path / "plain" / "Covid").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    fails(sentence, *words.format(data=drawings).split())


# === Feeding ===


def some_images():
    labels = np.array([0] * 60 + [1] * 30 + [1] * 6 + [2] * 4)
    sources = np.array(["a"] * 60 + ["a"] * 30 + ["b"] * 6 + ["b"] * 4)
    pixels = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    return data.Images(pixels, labels, ["A", "B", "C"], sources, np.arange(100).astype(str))


@pytest.mark.parametrize(
    ("balance", "share_of_b"), [(1.0, 1 / 2), (0.5, 6**0.5 / (6**0.5 + 30**0.5))]
)
def test_classes_are_balanced_and_sources_within_them(balance, share_of_b):
    images = some_images()
    weights = batches.sampling_weights(images, balance)
    per_class = np.bincount(images.labels, weights)
    np.testing.assert_allclose(per_class, 1 / 3)
    assert weights[90:96].sum() == pytest.approx(share_of_b / 3)


def test_no_balance_draws_all_images_alike():
    np.testing.assert_allclose(batches.sampling_weights(some_images(), 0.0), 0.01)


def test_a_resumed_run_draws_what_it_would_have_drawn():
    images = some_images()

    def drawn(steps):
        drawn_batches = batches.training_batches(
            images,
            augmentation.no_augmentation,
            weights=batches.sampling_weights(images, 1.0),
            batch_size=8,
            steps=steps,
            smoothing=0.0,
            seed=5,
        )
        return [x.numpy()[:, 0, 0, 0].tolist() for x, _ in drawn_batches]

    assert drawn(range(0, 6))[3:] == drawn(range(3, 6))
    assert drawn(range(0, 6)) != drawn(range(6, 12))


def test_a_step_is_traced_once():
    model, traces = brightness_model(size=8), []
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    loop.make_variables(model)
    step = model.train_step
    model.train_step = lambda data: traces.append(1) or step(data)
    model.fit(np.zeros((4, 8, 8, 3)), np.eye(3)[[0, 1, 2, 0]], batch_size=2, epochs=2, verbose=0)
    assert len(traces) == 1


def test_a_kill_between_two_renames_loses_nothing(trained, tmp_path):
    out, _ = trained
    shutil.copytree(out / "checkpoint", tmp_path / "checkpoint.old")
    _, progress = checkpoint.restore(tmp_path, checkpoint.WeightAverage(0.9), {"seed": 1337})
    assert progress.epoch == 3
    assert (tmp_path / "checkpoint" / "best.npz").exists()


def test_leaving_out_a_source_keeps_it_out_of_training():
    splits = {"train": some_images(), "validation": some_images(), "test": some_images()}
    with pytest.raises(UserError, match="a class has no images without it"):
        data._leave_out(splits, "b", {})


def test_what_shares_a_group_with_the_left_out_source_is_not_trained_on():
    images = some_images()
    images.labels[96:] = [0, 0, 1, 2]  # of source b
    images.labels[60:63] = 2
    twin = images.subset(np.arange(100))
    twin.groups[:3] = images.groups[96:99]  # the same patients, in another split, at source a
    splits = data._leave_out({"train": twin, "validation": images, "test": images}, "b", {})
    assert len(splits["train"]) == 87 and len(splits["validation"]) == 90
    assert len(splits["left_out"]) == 30 and len(set(splits["left_out"].groups)) == 10


def test_the_same_image_in_two_datasets_keeps_its_group():
    first, second = some_images(), some_images()
    groups = data.join([first, second]).groups
    assert groups.tolist() == first.groups.tolist() * 2


def test_weights_that_have_seen_a_source_do_not_start_a_run_that_leaves_it_out(tmp_path):
    run = {"epochs": 3, "leave_out": "a", "earlier_runs": [], "continued_from": []}
    mean = {"epochs": 0, "leave_out": None, "earlier_runs": [run], "continued_from": [0]}
    others = run | {"leave_out": None, "sources": ["b", "c"]}
    for name, told in (("run", run), ("mean", mean), ("others", others)):
        (tmp_path / name / "release").mkdir(parents=True)
        release.write_json(tmp_path / name / "release" / release.PROVENANCE, told)
        weights = [tmp_path / name / "checkpoint" / "best.npz"]
        weights.append(tmp_path / name / "release" / "model.weights.h5")
        lineage.check_left_out([*weights, "imagenet", tmp_path / "alone.h5"], "a")
        for source in ("b", "d+b", "d+b/Covid"):
            with pytest.raises(UserError, match=f"not trained without {re.escape(source)}"):
                lineage.check_left_out(weights, source)


def test_drawings_are_still_drawings_in_several_datasets(drawings):
    once, twice = (data.load([str(drawings)] * times, 32)["train"] for times in (1, 2))
    assert once.drawn == len(once) and twice.drawn == len(twice) == 2 * len(once)


@pytest.mark.parametrize("words", [["--size=128"], ["--size", "128"]])
def test_a_size_that_was_asked_for_is_kept_for_every_network(monkeypatch, words):
    command = ["train.py", "--data", "x", "--out", "y", "--arch", "MobileNetV2"]
    monkeypatch.setattr(sys, "argv", [*command, *words])
    assert program.parse_arguments().size == 128
    monkeypatch.setattr(sys, "argv", command)
    assert program.parse_arguments().size == 224


def test_a_network_trains_with_extra_images_and_doubt(drawings, tmp_path):
    works(
        "train.py", "--data", drawings, "--out", tmp_path / "run", *SMALL, "--epochs", "1",
        "--steps", "2", "--train-only", f"lungs={drawings / 'train'}",
        "--neither", f"tb={drawings / 'test'}",
    )  # fmt: skip
    known = json.loads((tmp_path / "run" / "release" / release.PROVENANCE).read_text())
    assert {"lungs", "tb"} < set(known["sources"])


def test_doubt_is_asked_for_where_no_class_is_right():
    films = np.full((4, 8, 8), 10, np.uint8)
    labels = batches.one_hot(np.array([0, 1]), 3)
    given = tf.data.Dataset.from_tensors((tf.zeros((2, 8, 8, 3)), labels))
    others = np.full((2, 8, 8), 99, np.uint8)
    ((pixels, classes),) = batches.with_doubt(
        given, films, others, augmentation.no_augmentation, steps=range(1), seed=0
    )
    np.testing.assert_array_equal(classes[:2], labels)
    np.testing.assert_allclose(classes[2:], 1 / 3)
    assert len(classes) == 2 + batches.DOUBTFUL == len(pixels)
    others, wrong = pixels[2 : 2 + batches.DOUBTFUL // 2], pixels[2 + batches.DOUBTFUL // 2 :]
    assert (others.numpy() == 99).all() and set(np.unique(wrong)) <= {10, 245}
