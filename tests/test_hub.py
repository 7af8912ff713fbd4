"""From a repo id to a folder: caches, pins, and every way a Hub can fail, over HTTP."""

import errno
import json
import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, constants

from aihealth import hub as client
from aihealth.modeling.pretrained import from_pretrained_keras
from tests.helpers.programs import sentence, works
from tests.helpers.releases import BRIGHTNESS, grey_image

LARGE = b"weights" * 1000


@pytest.fixture
def model(api, hub, repo):
    """A repo with one file in git and one in LFS; its id."""
    files = {"aihealth.json": b"{}", "model.tflite": LARGE}
    api.create_commit(
        repo, [CommitOperationAdd(*file) for file in files.items()], commit_message="1"
    )
    hub.reset()
    return repo


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert client.resolve(tmp_path) == (tmp_path, None)


def test_the_folder_of_a_run_stands_for_its_release(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "aihealth.json").write_text("{}")
    assert client.resolve(tmp_path) == (tmp_path / "release", None)


def test_a_folder_has_no_revisions(tmp_path):
    assert "has no revision 'v1'" in sentence(client.resolve, tmp_path, revision="v1")


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "~/nowhere"])
def test_a_missing_path_is_not_taken_for_a_repo(path):
    assert f"there is no folder {path}" in sentence(client.resolve, path)


def test_a_file_is_neither(tmp_path):
    file = tmp_path / "a.keras"
    file.write_text("")
    assert "is a file" in sentence(client.resolve, str(file))


@pytest.mark.parametrize("repo_id", ["a b/c", "a/b/c", "org/" + "x" * 97, "org/a--b", ""])
def test_malformed_ids_are_named(repo_id):
    assert f"{repo_id!r} is not a repo id" in sentence(client.resolve, repo_id)


def test_a_repo_gives_its_folder_and_its_commit(model, hub, cache):
    folder, commit = client.resolve(model, cache_dir=cache)
    assert commit == hub.commits(model)[0].sha
    assert (folder / "model.tflite").read_bytes() == LARGE


def test_only_what_is_asked_for_is_downloaded(model, hub, cache):
    folder, _ = client.resolve(model, cache_dir=cache, allow_patterns=["aihealth.json"])
    assert [path.name for path in folder.iterdir()] == ["aihealth.json"]


def test_a_revision_is_a_branch_a_tag_or_a_commit(model, api, hub, cache):
    first = hub.commits(model)[0].sha
    api.create_tag(model, tag="v1.0.0")
    hub.commit(model, {"aihealth.json": b'{"new": 1}'})
    for revision in ("v1.0.0", first):
        folder, commit = client.resolve(model, revision=revision, cache_dir=cache)
        assert (commit, (folder / "aihealth.json").read_text()) == (first, "{}")


def test_our_name_and_version_travel_in_the_user_agent(model, hub, cache):
    client.resolve(model, cache_dir=cache)
    agents = {call.headers["user-agent"] for call in hub.calls("GET", "/resolve/")}
    assert all("aihealth/" in agent for agent in agents)


# What is not there, and what is not allowed


def test_a_missing_repo_is_named_with_what_to_do(hub, repo_id, cache):
    text = sentence(client.resolve, repo_id, cache_dir=cache)
    assert f"model repo {repo_id} does not exist" in text
    assert "hf auth login" in text


def test_a_missing_revision_is_named(model, hub, cache):
    text = sentence(client.resolve, model, revision="v9.9.9", cache_dir=cache)
    assert f"{model} has no revision 'v9.9.9'" in text


def test_a_private_repo_needs_a_token(api, hub, repo_id, cache):
    api.create_repo(repo_id, private=True)
    hub.commit(repo_id, {"a": b"1"})
    assert "private" in sentence(client.resolve, repo_id, token=False, cache_dir=cache)
    assert client.resolve(repo_id, token=hub.token, cache_dir=cache)[1]


def test_a_gated_repo_says_how_to_get_in(api, model, hub, cache):
    api.update_repo_settings(model, gated="manual")
    text = sentence(client.resolve, model, token=hub.stranger_token, cache_dir=cache)
    assert "is gated: ask for access" in text


def test_a_wrong_token_is_said_to_be_wrong(model, hub, cache):
    hub.fault(
        "status:401",
        "GET",
        "/api/models/",
        headers={"X-Error-Message": "Invalid credentials in Authorization header"},
    )
    text = sentence(client.resolve, model, token="hf_wrong", cache_dir=cache)
    assert "does not accept the token" in text
    assert "hf_wrong" not in text


def test_a_repo_that_is_deleted_between_two_calls_is_reported(model, hub, cache):
    hub.fault(f"delete:models/{model}", "GET", "/tree/")
    assert "does not exist" in sentence(client.resolve, model, cache_dir=cache)


# A Hub that stumbles


def test_a_busy_hub_is_asked_again_when_it_says(model, hub, cache):
    hub.fault("status:429", "GET", "/resolve/", headers={"Retry-After": "0"})
    assert client.resolve(model, cache_dir=cache)[1]
    assert 429 in [call.status for call in hub.calls("GET", "/resolve/")]


@pytest.mark.parametrize(
    ("status", "words"), [(429, "slow down (429)"), (500, "trouble of its own (500)")]
)
def test_a_hub_that_stays_busy_or_fails_is_named_and_serves_the_call_after_it(
    model, hub, cache, status, words
):
    again = {"headers": {"Retry-After": "0"}}
    hub.fault(f"status:{status}", times=100, path_regex="/api/models/", **again)
    assert words in sentence(client.resolve, model, cache_dir=cache)
    hub.reset()
    assert client.resolve(model, cache_dir=cache)[1]


def test_a_download_that_breaks_off_goes_on(model, hub, cache):
    hub.fault("close-mid", "GET", "^/lfs/")
    folder, _ = client.resolve(model, cache_dir=cache)
    assert (folder / "model.tflite").read_bytes() == LARGE
    assert len(hub.calls("GET", "^/lfs/")) == 2


def test_a_truncated_file_is_never_kept(model, hub, cache):
    hub.fault("truncate", "GET", "/lfs/", times=100)
    assert "cut short" in sentence(client.resolve, model, cache_dir=cache)
    hub.reset()
    folder, _ = client.resolve(model, cache_dir=cache)
    assert (folder / "model.tflite").read_bytes() == LARGE


@pytest.mark.parametrize("name", ["model.tflite", "aihealth.json"])
def test_an_altered_file_is_fetched_again(model, hub, cache, name):
    path = "/lfs/" if name == "model.tflite" else f"/resolve/.*{name}"
    hub.fault("alter", "GET", path)
    folder, _ = client.resolve(model, cache_dir=cache)
    assert len(hub.calls("GET", path)) == 2
    assert (folder / name).read_bytes() == hub.read(model, name)


def test_a_file_that_stays_altered_is_refused_and_not_kept(model, hub, cache):
    hub.fault("alter", "GET", "/lfs/", times=100)
    text = sentence(client.resolve, model, cache_dir=cache)
    assert text.startswith("model.tflite of") and "hash differs" in text
    assert not list(cache.glob("**/model.tflite"))


def test_a_cache_that_was_tampered_with_is_noticed(model, hub, cache):
    folder, _ = client.resolve(model, cache_dir=cache)
    (folder / "model.tflite").resolve().write_bytes(b"evil" + LARGE[4:])
    folder, _ = client.resolve(model, cache_dir=cache)
    assert (folder / "model.tflite").read_bytes() == LARGE


# Without the network


def test_a_warm_cache_answers_offline(model, hub, cache):
    online = client.resolve(model, cache_dir=cache)
    asked = len(hub.requests)
    assert client.resolve(model, cache_dir=cache, local_files_only=True) == online
    assert len(hub.requests) == asked


def test_a_warm_cache_answers_when_the_hub_is_down(model, hub, cache):
    online = client.resolve(model, cache_dir=cache)
    hub.fault("status:503", times=100)
    assert client.resolve(model, cache_dir=cache) == online


def test_a_cold_cache_says_so(model, hub, cache):
    text = sentence(client.resolve, model, cache_dir=cache, local_files_only=True)
    assert "is not in the local cache" in text


def test_an_unreachable_hub_is_named(monkeypatch, cache):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    text = sentence(client.resolve, "org/name", cache_dir=cache)
    assert "http://127.0.0.1:9 cannot be reached" in text


def test_force_download_needs_the_network(model, cache):
    options = {"cache_dir": cache, "local_files_only": True, "force_download": True}
    assert "exclude each other" in sentence(client.resolve, model, **options)


def test_force_download_fetches_again(model, hub, cache):
    client.resolve(model, cache_dir=cache)
    fetched = len(hub.calls("GET", "/lfs/"))
    client.resolve(model, cache_dir=cache, force_download=True)
    assert len(hub.calls("GET", "/lfs/")) == fetched + 1


def test_a_failure_of_xet_says_how_to_go_round_it(model, cache, monkeypatch):
    def fail(*args, **options):  # What hf_xet raises after minutes of its own retries.
        raise RuntimeError("Task error: CAS Client Error: HTTP status server error (500)")

    monkeypatch.setattr(client, "snapshot_download", fail)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert "set HF_HUB_DISABLE_XET=1" in sentence(client.resolve, model, cache_dir=cache)


XET_DOWNLOAD = """
import sys
from aihealth import hub
print(hub.resolve(sys.argv[1], cache_dir=sys.argv[2])[0])
"""


def test_a_file_altered_on_the_way_through_xet_is_fetched_again(api, hub, repo, cache):
    content = os.urandom(200_000)
    api.upload_file(path_or_fileobj=content, path_in_repo="model.tflite", repo_id=repo)
    hub.fault("alter", "GET", "^/xorbs/")
    env = hub.env(token=hub.token, HF_HUB_DISABLE_XET="0")
    printed = works("-c", XET_DOWNLOAD, repo, cache, env=env, timeout=120)
    assert (Path(printed.strip()) / "model.tflite").read_bytes() == content


def test_a_full_disk_is_an_error_of_the_disk(model, hub, cache, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(client, "snapshot_download", full)
    with pytest.raises(OSError, match="No space"):
        client.resolve(model, cache_dir=cache)


# Keras


@pytest.fixture
def published(api, hub, repo, release):
    """A release on the Hub; its id."""
    files = ("config.json", "metadata.json", "model.weights.h5", "aihealth.json", "model.tflite")
    hub.commit(repo, {name: (release / name).read_bytes() for name in files})
    return repo


def test_from_pretrained_keras_gives_a_model_at_a_revision(published, hub, cache):
    import numpy as np

    from aihealth import Classifier
    from aihealth.images import prepare

    commit = hub.commits(published)[0].sha
    hub.commit(published, {"config.json": b"{}"})
    model = from_pretrained_keras(published, revision=commit, cache_dir=cache)
    classifier = Classifier.from_pretrained(published, revision=commit, cache_dir=cache)
    assert classifier.revision == commit
    for level in BRIGHTNESS.values():
        image = grey_image(level)
        x = np.repeat(prepare(image, 32)[None, :, :, None], 3, -1)
        answer = list(classifier.predict(image).probabilities.values())
        for given in (model.predict(x, verbose=0), model(x), model(x, training=False)):
            assert np.allclose(given, [answer], atol=1e-3)


def test_keras_files_alone_are_downloaded_for_keras(published, hub, cache):
    from_pretrained_keras(published, cache_dir=cache)
    assert not hub.calls("GET", "tflite")


def test_a_repo_without_a_keras_model_is_named(model, hub, cache):
    text = sentence(from_pretrained_keras, model, cache_dir=cache)
    assert f"{model} holds no Keras 3 model: config.json is missing" in text


def test_a_damaged_keras_model_is_named(published, hub, cache):
    hub.commit(published, {"model.weights.h5": b"not an hdf5 file"})
    text = sentence(from_pretrained_keras, published, cache_dir=cache)
    assert f"the Keras model of {published} cannot be loaded" in text


def test_a_model_that_would_run_code_is_not_loaded(published, hub, cache):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    lambda_config = json.dumps(keras.saving.serialize_keras_object(model)).encode()
    hub.commit(published, {"config.json": lambda_config})
    text = sentence(from_pretrained_keras, published, cache_dir=cache)
    assert "cannot be loaded" in text
