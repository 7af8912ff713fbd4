"""How strict the test Hub is; that it answers as it should, all other tests show."""

import os
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.helpers.programs import works
from tests.hub_server import Hub


def commit(api, repo_id, path, content, **options):
    operations = [CommitOperationAdd(path, content)]
    return api.create_commit(repo_id, operations, commit_message="add", **options)


def status(function, *args, **options):
    with pytest.raises(HfHubHTTPError) as error:
        function(*args, **options)
    return error.value.response.status_code


def test_a_stale_parent_and_a_repo_or_tag_that_is_there_are_refused(api, repo, hub):
    parent = api.model_info(repo).sha
    commit(api, repo, "a", b"1", parent_commit=parent)
    assert status(commit, api, repo, "a", b"2", parent_commit=parent) == 412
    assert hub.read(repo, "a") == b"1"
    assert status(api.create_repo, repo) == 409
    api.create_tag(repo, tag="v1")
    assert status(api.create_tag, repo, tag="v1") == 409


def test_a_large_file_travels_through_lfs_without_the_token(api, repo, hub, tmp_path, cache):
    content = os.urandom(12 << 20)
    (tmp_path / "big.dat").write_bytes(content)
    api.upload_file(path_or_fileobj=tmp_path / "big.dat", path_in_repo="big.dat", repo_id=repo)
    path = hf_hub_download(repo, "big.dat", cache_dir=cache, token=hub.token)
    assert Path(path).read_bytes() == content
    puts, gets = hub.calls("PUT", "^/lfs/"), hub.calls("GET", "^/lfs/")
    assert len(puts) == 1 and gets
    assert {call.token for call in puts + gets} == {None}
    assert {call.host for call in puts + gets} == {hub.cdn.removeprefix("http://")}


def test_lfs_content_that_does_not_match_its_hash_is_refused(hub):
    answer = httpx.put(f"{hub.cdn}/lfs/{'0' * 64}", content=b"other")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("front_matter", "what"),
    [
        ("license: none-such", "license"),
        ("model-index:\n- name: m\n  results:\n  - {task: {type: x}}", "metrics"),
    ],
)
def test_a_bad_card_is_refused_before_any_commit(api, repo, hub, front_matter, what):
    with pytest.raises(ValueError, match=what):
        commit(api, repo, "README.md", f"---\n{front_matter}\n---\n".encode())
    assert len(hub.commits(repo)) == 1


def test_a_stranger_may_propose_but_not_push(api, repo, hub):
    stranger = HfApi(hub.endpoint, token=hub.stranger_token)
    assert status(commit, stranger, repo, "a", b"1") == 403
    info = commit(stranger, repo, "w.bin", b"\0", create_pr=True)
    commit(stranger, repo, "b", b"3", revision=info.pr_revision)
    assert api.list_repo_files(repo, revision="refs/pr/1") == [".gitattributes", "b", "w.bin"]
    assert api.list_repo_files(repo) == [".gitattributes"]


def test_private_repos_do_not_exist_for_others(api, hub, repo_id, cache):
    api.create_repo(repo_id, private=True)
    commit(api, repo_id, "a.txt", b"1")
    for token in (False, hub.stranger_token):
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(repo_id, "a.txt", cache_dir=cache, token=token)
    assert hf_hub_download(repo_id, "a.txt", cache_dir=cache, token=hub.read_token)


def test_a_read_token_cannot_write_and_an_unknown_one_is_refused(repo, hub):
    reader = HfApi(hub.endpoint, token=hub.read_token)
    assert reader.whoami()["name"] == "tester"
    assert status(commit, reader, repo, "a.txt", b"1") == 403
    assert status(reader.create_repo, "org/new") == 403
    assert status(HfApi(hub.endpoint, token="hf_wrong").whoami) == 401


def test_a_store_outlives_its_server(tmp_path):
    first = Hub(tmp_path).start()
    api = HfApi(first.endpoint, token=first.token)
    api.create_repo("org/kept")
    sha = commit(api, "org/kept", "a.txt", b"1").oid
    first.stop()
    second = Hub(tmp_path)
    assert second.commits("org/kept")[0].sha == sha
    assert second.read("org/kept", "a.txt") == b"1"


# Xet, which is on in a fresh installation

XET_ROUND_TRIP = """
import sys
from huggingface_hub import HfApi, snapshot_download
repo, folder, cache = sys.argv[1:]
HfApi().upload_folder(repo_id=repo, folder_path=folder)
print(snapshot_download(repo, cache_dir=cache))
"""


def test_xet_clients_publish_and_everybody_can_read(repo, hub, tmp_path, cache):
    source = tmp_path / "release"
    source.mkdir()
    floats = np.random.default_rng(0).normal(size=100_001).astype("float32").tobytes()
    contents = {
        "noise.bin": os.urandom(1 << 20),  # stored as it is
        "floats.bin": floats,  # byte groups, then LZ4
        "repeats.bin": b"\0abc" * 300_000,  # the same chunk many times
    }
    for name, content in contents.items():
        (source / name).write_bytes(content)
    hub.fault("status:503", "POST", "/v1/xorbs/")
    env = hub.env(token=hub.token, HF_HUB_DISABLE_XET="0")
    through_xet = Path(works("-c", XET_ROUND_TRIP, repo, source, cache, env=env).strip())
    through_lfs = Path(snapshot_download(repo, cache_dir=tmp_path / "other"))
    for name, content in contents.items():
        assert (through_xet / name).read_bytes() == content
        assert (through_lfs / name).read_bytes() == content
    assert not hub.calls("PUT", "^/lfs/")
    assert len(hub.calls("GET", "^/xorbs/")) >= 1
    assert hub.token not in {c.token for c in hub.requests if c.host in hub.cdn}
