"""The whole way over HTTP: every station is the real program, the Hub is ours on 127.0.0.1."""

import numpy as np
import pytest
from PIL import Image

from aihealth import from_pretrained_keras, images
from tests.helpers import programs
from tests.helpers.notebook import run_notebook
from tests.helpers.space_app import SpaceApp

pytestmark = pytest.mark.slow


def run(hub, *words):
    """As a process where that is a training; nothing says the token."""
    own = words[0] == "train.py"
    done = programs.run(*words, env=hub.env(hub.token)) if own else (
        programs.inside(*words, token=hub.token)
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    assert hub.token not in done.stdout + done.stderr


def test_from_images_to_a_space_that_answers_what_the_model_says(
    hub, drawings, tmp_path, monkeypatch
):
    ready, out = drawings, tmp_path / "run"
    run(hub, "push_to_hub.py", "dataset", "--data", ready, "--repo-id", "org/films")
    run(
        hub, "train.py", "--data", "org/films", "--out", out,
        "--arch", "baseline", "--size", 48, "--epochs", 2, "--augment", "light",
        "--batch-size", 16,
    )  # fmt: skip
    run(
        hub, "push_to_hub.py", "model", "--release", out / "release", "--repo-id", "org/model",
        "--tag", "v0.1.0",
    )  # fmt: skip
    film = next((ready / "test" / "Covid").glob("*.png"))
    model = from_pretrained_keras("org/model", revision="v0.1.0")
    size = model.input_shape[1]
    grey = images.prepare(film, size)
    (expected,) = model.predict(np.repeat(grey[None, :, :, None], 3, axis=-1), verbose=0)

    from gradio_client import Client, handle_file

    with SpaceApp(tmp_path, MODEL_ID="org/model", MODEL_REVISION="v0.1.0") as space:
        answer = Client(space.url, verbose=False).predict(handle_file(film), api_name="/predict")
    assert answer["model"] == "org/model"
    assert answer["revision"] == hub.commits("org/model")[0].sha
    np.testing.assert_allclose(list(answer["probabilities"].values()), expected, atol=1e-3)
    assert list(answer["probabilities"]) == ["Covid", "Normal", "Pneumonia"]

    evaluated = tmp_path / "evaluated"
    run(hub, "-m", "aihealth", "evaluate", "--model", "org/model", "--data", "org/films",
        "--out", evaluated)  # fmt: skip
    assert (evaluated / "metrics.json").exists()
    with Image.open(evaluated / "figures" / "confusion_matrix.png") as figure:
        assert figure.width > 300

    # A contributor goes on from there with the notebook and opens a pull request.
    small = "--arch baseline --size 48 --epochs 3 --augment light --batch-size 16"
    for name, value in {
        "AIHEALTH_DATA": "org/films",
        "AIHEALTH_MODEL": "org/model",
        "AIHEALTH_OUT": str(tmp_path / "notebook"),
        "AIHEALTH_OPTIONS": small,
        "HF_TOKEN": hub.token,
    }.items():
        monkeypatch.setenv(name, value)
    assert "/discussions/" in run_notebook(hub.env(hub.token))
