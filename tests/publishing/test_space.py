"""`push_to_hub.py space`: the page for a published model, pinned to what it was tried with."""

import ast

import pytest
from huggingface_hub import SpaceCard

from aihealth.release import SERVING_MODULES
from tests.helpers.programs import push, sentence
from tests.helpers.releases import copy_release, grey_image

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def model(hub, repo_id, release):
    """A published model with a tag; its id."""
    push("model", "--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    return repo_id


@pytest.fixture
def page(repo_id):
    return f"{repo_id}-page"


def refused(*words):
    return sentence(push, *words)


def front_matter(hub, page):
    card = hub.read(page, "README.md", type="spaces").decode()
    return SpaceCard(card).data.to_dict()


def test_the_space_pins_the_commit_it_was_tried_with(hub, model, page, capsys):
    push("space", "--model-id", model, "--repo-id", page)
    commit = hub.commits(model)[0].sha
    data = front_matter(hub, page)
    assert data["models"] == [model]
    (line,) = data["preload_from_hub"]
    assert line == f"{model} aihealth.json,model.tflite,metrics.json {commit}"
    assert data["sdk"] == "gradio" and data["sdk_version"] and data["python_version"]
    assert f"trying {model} at {commit[:8]}" in capsys.readouterr().out


def test_the_space_is_one_commit_that_stands_by_itself(hub, model, page):
    push("space", "--model-id", model, "--repo-id", page)
    assert len(hub.commits(page, "spaces")) == 2
    files = set(hub.commits(page, "spaces")[0].files)
    assert {"app.py", "requirements.txt", "release/model.tflite", "release/aihealth.json"} <= files
    assert {f"aihealth/{name}" for name in SERVING_MODULES} <= files
    assert any(name.startswith("examples/") for name in files)


def test_every_module_that_the_space_imports_travels_with_it(hub, model, page):
    push("space", "--model-id", model, "--repo-id", page)
    files = hub.commits(page, "spaces")[0].files
    imported = set()
    for name in files:
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(hub.read(page, name, type="spaces"))):
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module)
                    imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name for name in imported if name.startswith(("aihealth.", "data_prep"))}
    modules = {name.removesuffix(".py").replace("/", ".") for name in files}
    attributes = {f"aihealth.{name}" for name in ("Classifier", "Prediction", "__version__")}
    missing = {
        name
        for name in ours - attributes
        if name not in modules and name.rpartition(".")[0] not in modules
    }
    assert not missing


def test_publishing_it_again_does_nothing_until_there_is_a_new_version(
    hub, model, page, release, tmp_path
):
    push("space", "--model-id", model, "--repo-id", page)
    push("space", "--model-id", model, "--repo-id", page)
    assert len(hub.commits(page, "spaces")) == 2
    newer = copy_release(release, tmp_path / "newer", arch="newer")
    words = ["--allow-regression", "not compared here", "--tag", "v1.1.0"]
    push("model", "--release", newer, "--repo-id", model, *words)
    push("space", "--model-id", model, "--repo-id", page)
    assert hub.commits(model)[0].sha in front_matter(hub, page)["preload_from_hub"][0]


def test_an_older_version_can_be_pinned(hub, api, model, page):
    commit = hub.commits(model)[0].sha
    hub.commit(model, {"new.txt": b"1"})
    push("space", "--model-id", model, "--revision", "v1.0.0", "--repo-id", page)
    assert commit in front_matter(hub, page)["preload_from_hub"][0]


def test_examples_of_the_publisher_replace_the_drawn_ones(hub, model, page, tmp_path):
    grey_image(100).save(tmp_path / "mine.png")
    push("space", "--model-id", model, "--repo-id", page, "--examples", tmp_path)
    files = hub.commits(page, "spaces")[0].files
    assert [name for name in files if name.startswith("examples/")] == ["examples/mine.png"]


def test_examples_beside_which_something_else_lies_are_refused(hub, model, page, tmp_path):
    grey_image(100).save(tmp_path / "mine.png")
    (tmp_path / "patients.csv").write_text("a name")
    text = refused("space", "--model-id", model, "--repo-id", page, "--examples", tmp_path)
    assert "no part of a set of example images: patients.csv" in text


@pytest.mark.parametrize("content", [None, b"no image at all"])
def test_examples_that_are_none_are_refused(hub, model, page, tmp_path, content):
    if content:
        (tmp_path / "broken.png").write_bytes(content)
    text = refused("space", "--model-id", model, "--repo-id", page, "--examples", tmp_path)
    assert text.startswith(f"--examples {tmp_path}")


def test_a_free_account_is_told_what_is_free(hub, model, page):
    hub.paid_spaces = True
    text = refused("space", "--model-id", model, "--repo-id", page)
    assert "needs PRO, Team or Enterprise" in text
    assert "static Spaces" in text and "--hardware cpu-upgrade" in text
    assert "\n" not in text


def test_hardware_is_asked_for(hub, model, page):
    push("space", "--model-id", model, "--repo-id", page, "--hardware", "cpu-upgrade")
    assert front_matter(hub, page)["suggested_hardware"] == "cpu-upgrade"
    call = hub.calls("POST", "/repos/create")[-1]
    assert b'"hardware":"cpu-upgrade"' in call.body.replace(b": ", b":")


def test_hardware_can_be_changed_later(hub, model, page):
    push("space", "--model-id", model, "--repo-id", page)
    push("space", "--model-id", model, "--repo-id", page, "--hardware", "t4-small")
    assert hub.calls("POST", f"{page}/hardware")


def test_a_dry_run_sends_nothing(hub, model, page, capsys):
    hub.reset()
    push("space", "--model-id", model, "--repo-id", page, "--dry-run")
    assert "+ app.py" in capsys.readouterr().out
    assert not hub.calls("POST") and not hub.calls("PUT")


def test_a_missing_model_is_named(hub, page):
    text = refused("space", "--model-id", "org/nothing-here", "--repo-id", page)
    assert "model repo org/nothing-here does not exist" in text


def test_a_broken_model_is_not_served(hub, model, page):
    hub.commit(model, {"model.tflite": b"broken"})
    assert "is damaged" in refused("space", "--model-id", model, "--repo-id", page)
    assert not hub.calls("POST", "/repos/create.*space")
