"""The contributor's way over HTTP: one hospital's images become a version of a published model."""

import json

import numpy as np
import pytest
from PIL import Image

from aihealth.data import prepared
from aihealth.data.manifest import read_manifest
from aihealth.publishing import card
from aihealth.training import starting_point
from tests.helpers import programs
from tests.helpers.drawn import prepared_drawings
from tests.helpers.releases import lively_model, write_release

pytestmark = pytest.mark.slow

MODEL, PAGE = "org/journey-model", "org/journey-page"
HOSPITAL = "stranger/hospital"
SMALL = ("--size", 48, "--epochs", 1, "--augment", "light", "--batch-size", 16)
CLASSES = ("Covid", "Normal")  # the hospital sees no pneumonia


def run(hub, token, *words):
    """As a process where that is a training."""
    own = words[0] == "train.py"
    done = programs.run(*words, env=hub.env(token)) if own else programs.inside(*words, token=token)
    assert token not in done.stdout + done.stderr
    return done


def works(hub, token, *words):
    done = run(hub, token, *words)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copied_again(root, ready, label, share):
    """Some of the model's training images as the hospital's archive has them: rescaled JPEG."""
    rows = [row for row in read_manifest(ready) if row.split == "train" and row.label == label]
    for number, row in enumerate(rows[:share]):
        picture = Image.open(ready / row.file).convert("L").resize((200, 200))
        picture.save(root / label / f"archive_{number:03d}_00.jpg", quality=80)


def published(ready, tmp_path):
    """A release of the default network, as if trained on prepared images."""
    splits = prepared.load([str(ready)], 48)
    x = np.repeat(splits["train"].pixels[:60, ..., None], 3, -1).astype("float32")
    folder = write_release(lively_model(x), tmp_path / "first")
    starting_point.write_seen(folder, [], [splits["train"], splits["validation"]])
    return folder


@pytest.mark.timeout(1500)
def test_from_a_hospitals_images_to_a_merged_version(hub, api, tmp_path):
    maintainer, stranger = hub.token, hub.stranger_token
    ready, mine = tmp_path / "ready", tmp_path / "mine"

    # A model is published, with its Space.
    prepared_drawings(tmp_path, 45)
    works(hub, maintainer, "push_to_hub.py", "model", "--release", published(ready, tmp_path),
          "--repo-id", MODEL, "--tag", "v1.0.0")  # fmt: skip
    works(hub, maintainer, "push_to_hub.py", "space", "--model-id", MODEL, "--repo-id", PAGE)
    first = hub.commits(MODEL)[0].sha

    # A hospital has images of its own, and some that the model was trained on.
    works(hub, stranger, "-m", "data_prep", "demo", "--out", tmp_path / "other",
          "--images-per-class", 30, "--seed", 7)  # fmt: skip
    images = tmp_path / "images"
    for label in CLASSES:
        (images / label).mkdir(parents=True)
        for path in (tmp_path / "other" / "north" / label).glob("*.png"):
            path.rename(images / label / path.name)
        copied_again(images, ready, label, 25)
    works(hub, stranger, "-m", "data_prep", "prepare", f"mine={images}", "--out", mine)
    works(hub, stranger, "push_to_hub.py", "dataset", "--data", mine, "--repo-id", HOSPITAL)

    # It has images of a partner prepared for the class that it lacks.
    partner = tmp_path / "partner"
    works(hub, stranger, "-m", "data_prep", "prepare", tmp_path / "other", "--out", partner)

    # It goes on from the published version; what that had seen is not measured on.
    fine_tune = ["train.py", "--data", HOSPITAL, "--data", partner, *SMALL]
    fine_tune += ["--weights", f"{MODEL}@v1.0.0"]
    said = works(hub, stranger, *fine_tune, "--out", tmp_path / "second")
    assert "test images were among what the starting weights had been trained on" in said
    told = json.loads((tmp_path / "second" / "release" / "provenance.json").read_text())
    found = told["test_images_seen_before"]
    assert 0 < found["left_out"] < found["of"] and found["unknown"] == []
    metrics = json.loads((tmp_path / "second" / "release" / "metrics.json").read_text())
    assert metrics["test"]["n"] == found["of"] - found["left_out"]

    # A user without rights is told of pull requests, opens one and brings it up to date.
    push = ["push_to_hub.py", "model", "--repo-id", MODEL, "--regression-data", HOSPITAL]
    push += ["--allow-regression", "a test"]
    refused = run(hub, stranger, *push, "--check")
    assert refused.returncode == 2 and "--create-pr opens a pull request" in refused.stderr
    works(hub, stranger, *push, "--release", tmp_path / "second", "--create-pr")
    history = tmp_path / "second" / "release" / "history.json"
    history.write_text(history.read_text() + "\n")  # as another training would leave it
    said = works(hub, stranger, *push, "--release", tmp_path / "second", "--create-pr")
    assert "brought the open pull request up to date" in said
    (request,) = api.get_repo_discussions(MODEL)
    assert "balanced accuracy" in request.title and "->" in request.title
    events = api.get_discussion_details(MODEL, request.num).events
    assert "had been trained on, and were left out" in events[-1].content
    assert "more were left out: one of the versions was trained on them" in events[-1].content

    # It is looked at, merged and tagged; the Space moves forward.
    looked_at = api.snapshot_download(MODEL, revision=f"refs/pr/{request.num}")
    works(hub, maintainer, "-m", "aihealth", "predict", "--model", looked_at,
          next((images / "Covid").glob("*.png")))  # fmt: skip
    api.merge_pull_request(MODEL, request.num)
    works(hub, maintainer, "push_to_hub.py", "model", "--repo-id", MODEL, "--tag", "v1.1.0")
    second = hub.commits(MODEL)[0].sha
    works(hub, maintainer, "push_to_hub.py", "space", "--model-id", MODEL, "--repo-id", PAGE)
    page = hub.read(PAGE, "README.md", type="spaces").decode()
    assert second in page and first not in page
    text = hub.read(MODEL, "README.md").decode()
    assert f"base_model:\n- {MODEL}" in text and 'revision="v1.1.0"' in text
    assert text.index("**v1.1.0**") < text.index("**v1.0.0**")

    # Code of the old version's card still runs, and gives the old version's answers.
    old = hub.read(MODEL, "README.md", rev="v1.0.0").decode()
    program = card.code_blocks(old)[0] + "\nprint(classifier.config.version)"
    program = program.replace("answer = Classifier(folder)", "classifier = Classifier(folder)\n"
                              "answer = classifier")  # fmt: skip
    env = hub.env(HF_HOME=str(tmp_path / "home"))
    printed = programs.works("-I", "-c", program, cwd=tmp_path, env=env)
    assert printed.splitlines()[-1] == "1.0.0"
