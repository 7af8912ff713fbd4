"""The page that never uploads: what its folder holds, and how it gets to the Hub."""

import hashlib
import json

import pytest
from huggingface_hub import SpaceCard

from aihealth.errors import UserError
from aihealth.publishing import packages, static_page, verification
from tests.helpers.programs import push


@pytest.fixture(autouse=True)
def no_npm(monkeypatch):
    """Files of packages without their content."""
    monkeypatch.setattr(
        packages, "files_of", lambda name, package: {path: b"x" for path in package["files"]}
    )


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_page_engine_packages_model_and_words(model, tmp_path):
    folder = static_page.write_page(model, str(tmp_path / "site"))
    found = files(folder)
    assert {"index.html", "main.js", "engine/worker.js", "viewer.js", "model/model.tflite"} <= found
    assert "vendor/@litertjs/core/wasm/litert_wasm_internal.wasm" in found
    listed = json.loads((folder / "files.json").read_text())["files"]
    assert listed.keys() == found - {"files.json", "README.md", "sw.js"}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    version = json.loads((folder / "files.json").read_text())["version"]
    assert (folder / "sw.js").read_text().endswith(f"\n// {version}\n")
    words = json.loads((folder / "words.json").read_text())
    assert words["en"].keys() == words["fr"].keys()
    assert words["sentences"]["the file is empty"] == "le fichier est vide"
    page = json.loads((folder / "page.json").read_text())
    assert page["model"] == "release" and page["revision"] is None
    assert "never leave this computer" in page["parts"]["en"]["header"]
    assert page["reliability"]["en"]["answers"].keys() == {"Covid", "Normal", "Pneumonia"}


def test_a_page_is_replaced_and_other_folders_are_not(model, tmp_path):
    folder = static_page.write_page(model, str(tmp_path / "site"))
    (folder / "old.js").touch()
    static_page.write_page(model, str(folder))
    assert not (folder / "old.js").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").touch()
    with pytest.raises(UserError, match="exists and is no page of this project"):
        static_page.write_page(model, str(other))
    assert files(other) == {"letter.txt"}


def test_nothing_half_written_stays(model, tmp_path, monkeypatch):
    def gone(name, package):
        raise UserError("no registry")

    folder = static_page.write_page(model, str(tmp_path / "site"))
    before = files(folder)
    monkeypatch.setattr(packages, "files_of", gone)
    for name in ("site", "new"):
        with pytest.raises(UserError, match="no registry"):
            static_page.write_page(model, str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["site"] and files(folder) == before


def test_what_is_no_model_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError):
        static_page.write_page(str(tmp_path), str(tmp_path / "site"))
    assert not list(tmp_path.iterdir())


def test_a_static_space_is_one_commit_with_the_pinned_model_inside(
    hub, repo_id, release, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr(verification, "check_release", lambda folder: {})
    push("model", "--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    page = f"{repo_id}-page"
    push("space", "--static", "--model-id", repo_id, "--repo-id", page)
    assert len(hub.commits(page, "spaces")) == 2
    sent = set(hub.commits(page, "spaces")[0].files)
    assert {"index.html", "model/model.tflite", "vendor/packages.json", "files.json"} <= sent
    card = SpaceCard(hub.read(page, "README.md", type="spaces").decode()).data.to_dict()
    assert card["sdk"] == "static" and card["models"] == [repo_id]
    facts = json.loads(hub.read(page, "page.json", type="spaces"))
    assert (facts["model"], facts["revision"]) == (repo_id, hub.commits(repo_id)[0].sha)


def test_hardware_means_nothing_to_a_static_space(hub, repo_id, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    words = ("--static", "--model-id", repo_id, "--repo-id", repo_id, "--hardware", "cpu-upgrade")
    with pytest.raises(UserError, match="--static goes with neither --hardware nor --examples"):
        push("space", *words)
