"""Which model the Space serves when the Hub, the id or the release is not as it should be."""

import json
import shutil
import subprocess
import sys

import pytest

from aihealth import release
from tests.helpers.space_app import (
    RELEASE,
    ROOT,
    SPACE,
    Refused,
    SpaceApp,
    film,
    png,
    predict,
)

import startup  # isort: skip (space/ is put on the path by tests.space_app)

FILES = release.SERVING_FILES


@pytest.fixture
def model_repo(hub, repo):
    """A repo with what serving needs; its id."""
    hub.commit(repo, {name: (RELEASE / name).read_bytes() for name in FILES})
    return repo


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_repo_is_served_at_the_commit_that_its_branch_stands_for(hub, model_repo):
    served = startup.serve(startup.Wanted(model_repo), None)
    assert (served.origin, served.problem) == ("hub", None)
    assert served.classifier.revision == hub.commits(model_repo)[0].sha


def test_a_pinned_revision_is_served_although_there_is_a_newer_one(hub, model_repo):
    pinned = hub.commits(model_repo)[0].sha
    hub.commit(model_repo, {release.CONFIG: b"{}"})
    served = startup.serve(startup.Wanted(model_repo, pinned), None)
    assert served.classifier.revision == pinned


def test_without_the_hub_the_cache_answers_and_the_page_says_so(hub, model_repo):
    pinned = hub.commits(model_repo)[0].sha
    startup.serve(startup.Wanted(model_repo, pinned), None)
    hub.fault("close", path_regex=".", times=100)
    served = startup.serve(startup.Wanted(model_repo, pinned), RELEASE)
    assert served.origin == "cache" and served.classifier.revision == pinned
    assert "cannot be reached" in served.problem


def test_without_hub_and_cache_the_shipped_release_answers(hub, model_repo):
    hub.fault("status:503", path_regex=".", times=100)
    served = startup.serve(startup.Wanted(model_repo, "a" * 40), RELEASE)
    assert served.origin == "shipped" and served.classifier is not None
    assert "503" in served.problem


def test_without_anything_the_page_still_has_a_sentence(hub, model_repo):
    hub.fault("status:503", path_regex=".", times=100)
    served = startup.serve(startup.Wanted(model_repo), None)
    assert served.classifier is None and served.problem


def test_a_wrong_id_is_not_hidden_behind_the_shipped_release(hub):
    served = startup.serve(startup.Wanted("org/no-such-model"), RELEASE)
    assert served.classifier is None and "org/no-such-model" in served.problem


@pytest.mark.parametrize("model", ["not an id", "/no/such/folder", "./nowhere"])
def test_what_is_neither_id_nor_folder_is_named(model):
    served = startup.serve(startup.Wanted(model), RELEASE)
    assert served.classifier is None and model in served.problem


def test_a_repo_that_is_no_release_is_named(hub, repo):
    hub.commit(repo, {"README.md": b"hello"})
    served = startup.serve(startup.Wanted(repo), RELEASE)
    assert served.classifier is None and release.CONFIG in served.problem


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: b"\0" * 64, lambda data: data[: len(data) // 2]]
)
def test_a_damaged_file_is_a_sentence_and_no_crash(tmp_path, name, damage):
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in FILES:
        shutil.copy(RELEASE / file, folder)
    (folder / name).write_bytes(damage((RELEASE / name).read_bytes()))
    served = startup.serve(startup.Wanted(str(folder)), None)
    assert served.classifier is None and len(served.problem) > 20


def test_nothing_at_all_is_a_sentence_too():
    assert "MODEL_ID" in startup.serve(None, None).problem


# === The page ===


def test_a_wrong_id_ends_in_a_page_and_not_in_a_crash_loop(hub, tmp_path):
    with SpaceApp(tmp_path, MODEL_ID="org/no-such-model") as app:
        assert "No model is loaded" in app.page and "org/no-such-model" in app.page
        with pytest.raises(Refused, match="org/no-such-model"):
            predict(app, png(film()))
        assert app.process.poll() is None


def test_the_page_says_that_the_shipped_release_answers(hub, model_repo, tmp_path):
    space = publish(tmp_path / "space", model_repo)
    hub.fault("close", path_regex=".", times=100)
    with SpaceApp(tmp_path, space / "app.py", MODEL_ID="") as app:
        assert "the release that came with this page answers" in app.page


def test_a_published_space_works_from_its_own_files(hub, model_repo, tmp_path):
    space = publish(tmp_path / "space", model_repo)
    with SpaceApp(tmp_path, space / "app.py", MODEL_ID="", PYTHONPATH="") as app:
        assert model_repo in app.page and hub.commits(model_repo)[0].sha[:7] in app.page


def test_a_machine_too_busy_to_show_gradio_its_own_page_in_time_still_serves(tmp_path):
    script = tmp_path / "busy.py"
    script.write_text(
        "import sys, runpy, httpx\n"
        "def head(*_, **__): raise httpx.ReadTimeout('after 3 s')\n"
        "httpx.head = head\n"
        f"sys.path.insert(0, {str(SPACE)!r})\n"
        f"runpy.run_path({str(SPACE / 'app.py')!r}, run_name='__main__')\n"
    )
    with SpaceApp(tmp_path, script) as app:
        assert predict(app, png(film()))
        assert app.process.poll() is None, app.log.read_text()


def test_serving_loads_no_tensorflow():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import app, numpy;"
        "served = app.startup.serve(app.startup.Wanted(sys.argv[2]), None); app.build(served);"
        "print(served.classifier.predict(numpy.zeros((64, 64), 'uint8')).label);"
        "print(sorted({'tensorflow', 'keras', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(SPACE), str(RELEASE)],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def publish(folder, model_id):
    """A Space's repo as `push_to_hub.py space` makes it."""
    shutil.copytree(SPACE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "aihealth").mkdir()
    for name in release.SERVING_MODULES:
        shutil.copy(ROOT / "aihealth" / name, folder / "aihealth")
    (folder / "release").mkdir()
    for name in FILES:
        shutil.copy(RELEASE / name, folder / "release")
    readme = (folder / "README.md").read_text()
    assert "models: []" in readme
    (folder / "README.md").write_text(
        readme.replace("models: []", f"models: {json.dumps([model_id])}")
    )
    return folder
