"""The test Hub, proven with the clients that people use."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image

CARD = "---\nlicense: apache-2.0\ntags: [chest]\n---\n# A model\n"


def add(path, content):
    return CommitOperationAdd(path, content if isinstance(content, bytes) else content.encode())


def publish(api, repo_id, message="add", **files):
    operations = [add(name.replace("__", "/").replace("_", "."), c) for name, c in files.items()]
    return api.create_commit(repo_id, operations, commit_message=message)


@pytest.fixture
def repo(api, repo_id):
    api.create_repo(repo_id)
    return repo_id


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


# Repos and commits


def test_a_new_repo_holds_gitattributes_and_one_commit(api, repo):
    assert api.list_repo_files(repo) == [".gitattributes"]
    assert [commit.title for commit in api.list_repo_commits(repo)] == ["initial commit"]
    assert len(api.model_info(repo).sha) == 40


def test_creating_a_repo_twice_is_a_conflict_unless_told_otherwise(api, repo, hub):
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(repo)
    assert error.value.response.status_code == 409
    assert api.create_repo(repo, exist_ok=True) == f"{hub.endpoint}/{repo}"


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_other_repo_types_live_beside_models_of_the_same_name(api, repo, repo_type, cache):
    api.create_repo(repo, repo_type=repo_type, space_sdk="static" if repo_type == "space" else None)
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a/b.txt", repo_id=repo, repo_type=repo_type)
    assert "a/b.txt" not in api.list_repo_files(repo)
    path = hf_hub_download(repo, "a/b.txt", repo_type=repo_type, cache_dir=cache)
    assert Path(path).read_text() == "x"


def test_a_deleted_repo_is_gone(api, repo):
    api.delete_repo(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repo)
    api.delete_repo(repo, missing_ok=True)


def test_upload_folder_makes_one_commit_and_none_when_nothing_changed(api, repo, hub, tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.h5").write_bytes(b"\0" * 100)
    first = api.upload_folder(folder_path=tmp_path, repo_id=repo)
    again = api.upload_folder(folder_path=tmp_path, repo_id=repo)
    assert first.oid == again.oid == api.model_info(repo).sha
    assert len(hub.commits(repo)) == 2
    assert len(hub.calls("PUT", "/lfs/")) == 1
    assert api.model_info(repo).card_data.license == "apache-2.0"


def test_a_commit_adds_and_deletes_files_and_folders(api, repo):
    publish(api, repo, a_txt="1", dir__b_txt="2", dir__c_txt="3", keep_txt="4")
    api.create_commit(
        repo,
        [CommitOperationDelete("a.txt"), CommitOperationDelete("dir/"), add("dir/d.txt", "5")],
        commit_message="change",
    )
    assert api.list_repo_files(repo) == [".gitattributes", "dir/d.txt", "keep.txt"]
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        api.delete_file("missing.txt", repo)


def test_a_stale_parent_commit_is_refused(api, repo, hub):
    parent = api.model_info(repo).sha
    api.create_commit(repo, [add("a", "1")], commit_message="ok", parent_commit=parent)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit(repo, [add("a", "2")], commit_message="late", parent_commit=parent)
    assert error.value.response.status_code == 412
    assert hub.read(repo, "a") == b"1"


@pytest.mark.parametrize("multipart", [None, 5 << 20], ids=["whole", "in parts"])
def test_a_large_file_travels_through_lfs_without_the_token(
    api, repo, hub, tmp_path, cache, multipart
):
    hub.multipart = multipart
    content = os.urandom(12 << 20)
    (tmp_path / "big.dat").write_bytes(content)
    api.upload_file(path_or_fileobj=tmp_path / "big.dat", path_in_repo="big.dat", repo_id=repo)
    path = hf_hub_download(repo, "big.dat", cache_dir=cache, token=hub.token)
    assert Path(path).read_bytes() == content
    assert api.get_paths_info(repo, "big.dat")[0].lfs.size == len(content)
    puts, gets = hub.calls("PUT", "^/lfs/"), hub.calls("GET", "^/lfs/")
    assert len(puts) == (3 if multipart else 1)
    assert gets
    assert {call.token for call in puts + gets} == {None}
    assert {call.host for call in puts + gets} == {hub.cdn.removeprefix("http://")}


def test_lfs_content_that_does_not_match_its_hash_is_refused(hub):
    answer = httpx.put(f"{hub.cdn}/lfs/{'0' * 64}", content=b"other")
    assert answer.status_code == 400


def test_a_bad_card_is_refused_before_any_commit(api, repo, hub):
    with pytest.raises(ValueError, match="Invalid metadata"):
        publish(api, repo, README_md="---\nlicense: none-such\n---\n")
    with pytest.raises(ValueError, match="metrics"):
        publish(
            api,
            repo,
            README_md="---\nmodel-index:\n- name: m\n  results:\n"
            "  - {task: {type: x}, dataset: {type: t, name: n}}\n---\n",
        )
    assert len(hub.commits(repo)) == 1


def test_model_card_validates_and_is_pushed(api, repo, hub):
    card = ModelCard(CARD)
    card.validate()
    card.push_to_hub(repo, token=hub.token)
    assert ModelCard.load(repo).data.tags == ["chest"]
    with pytest.raises(ValueError, match="license"):
        ModelCard("---\nlicense: none-such\n---\n").validate()


# Revisions


def test_every_kind_of_revision_resolves(api, repo, cache):
    first = publish(api, repo, a_txt="1").oid
    api.create_tag(repo, tag="v1")
    api.create_branch(repo, branch="old/line", revision=first)
    publish(api, repo, a_txt="2")

    def read(rev):
        return Path(hf_hub_download(repo, "a.txt", revision=rev, cache_dir=cache)).read_text()

    assert [read(rev) for rev in ("main", None, "v1", "old/line", first)] == list("22111")
    with pytest.raises(RevisionNotFoundError):
        read("v2")


def test_tags_and_branches_are_unique_and_can_go(api, repo):
    api.create_tag(repo, tag="v1")
    with pytest.raises(HfHubHTTPError):
        api.create_tag(repo, tag="v1")
    api.create_tag(repo, tag="v1", exist_ok=True)
    api.create_branch(repo, branch="dev")
    with pytest.raises(HfHubHTTPError):
        api.create_branch(repo, branch="dev")
    refs = api.list_repo_refs(repo)
    assert {ref.name for ref in refs.branches} == {"main", "dev"}
    assert [ref.name for ref in refs.tags] == ["v1"]
    api.delete_tag(repo, tag="v1")
    api.delete_branch(repo, branch="dev")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repo, tag="v1")


def test_a_pull_request_waits_on_its_ref_until_merged(api, repo, hub):
    info = api.create_commit(
        repo,
        [add("a.txt", "new")],
        commit_message="Better",
        commit_description="why",
        create_pr=True,
    )
    assert info.pr_revision == "refs/pr/1"
    assert "a.txt" not in api.list_repo_files(repo)
    assert "a.txt" in api.list_repo_files(repo, revision="refs/pr/1")
    api.upload_file(path_or_fileobj=b"2", path_in_repo="b", repo_id=repo, revision="refs/pr/1")
    details = api.get_discussion_details(repo, 1)
    assert (details.title, details.events[0].content) == ("Better", "why")
    assert [pr.name for pr in api.list_repo_refs(repo, include_pull_requests=True).pull_requests]
    publish(api, repo, other_txt="x")
    api.merge_pull_request(repo, 1)
    assert api.get_discussion_details(repo, 1).status == "merged"
    assert api.list_repo_files(repo) == [".gitattributes", "a.txt", "b", "other.txt"]


def test_a_pull_request_can_be_opened_commented_and_closed(api, repo):
    pr = api.create_pull_request(repo, "Title", description="text")
    assert api.comment_discussion(repo, pr.num, "hello").content == "hello"
    api.change_discussion_status(repo, pr.num, "closed")
    assert [d.status for d in api.get_repo_discussions(repo)] == ["closed"]


def test_a_stranger_may_propose_but_not_push(repo, hub):
    stranger = HfApi(hub.endpoint, token=hub.stranger_token)
    with pytest.raises(HfHubHTTPError) as error:
        publish(stranger, repo, a_txt="1")
    assert error.value.response.status_code == 403
    info = stranger.create_commit(repo, [add("a", "1")], commit_message="m", create_pr=True)
    assert info.pr_num == 1


# Listing and downloading


def test_trees_come_in_pages_and_list_folders(api, repo, hub):
    hub.page_size = 2
    publish(api, repo, a__b__c_txt="1", a__d_txt="2", e_txt="3")
    listed = [item.path for item in api.list_repo_tree(repo, recursive=True, expand=True)]
    assert listed == [".gitattributes", "a", "a/b", "a/b/c.txt", "a/d.txt", "e.txt"]
    assert [item.path for item in api.list_repo_tree(repo, "a")] == ["a/b", "a/d.txt"]
    assert len(hub.calls("GET", "/tree/")) == 4
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "missing"))


def test_snapshots_come_by_tag_and_then_from_the_cache_without_the_hub(api, repo, hub, cache):
    first = publish(api, repo, a_txt="1", w_bin="\0weights")
    api.create_tag(repo, tag="v1")
    publish(api, repo, a_txt="2")
    folder = snapshot_download(repo, revision="v1", cache_dir=cache)
    assert folder.endswith(first.oid)
    hub.requests.clear()
    assert snapshot_download(repo, revision="v1", cache_dir=cache, local_files_only=True) == folder
    assert not hub.requests
    hub.fault("status:503", path_regex=repo, times=99)
    assert snapshot_download(repo, revision="v1", cache_dir=cache) == folder
    assert Path(folder, "a.txt").read_text() == "1"


def test_a_missing_file_is_told_from_a_missing_repo(api, repo, cache):
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(repo, "missing.txt", cache_dir=cache)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("org/never-made", "a", cache_dir=cache)


def test_ranges_are_honoured(api, repo, hub):
    publish(api, repo, a_txt="0123456789")
    url = f"{hub.endpoint}/{repo}/resolve/main/a.txt"
    answer = httpx.get(url, headers={"Range": "bytes=3-5"})
    assert (answer.status_code, answer.text) == (206, "345")


# Rights


def test_private_repos_do_not_exist_for_others(api, hub, repo_id, cache):
    api.create_repo(repo_id, private=True)
    publish(api, repo_id, a_txt="1")
    for token in (False, hub.stranger_token):
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(repo_id, "a.txt", cache_dir=cache, token=token)
    assert hf_hub_download(repo_id, "a.txt", cache_dir=cache, token=hub.read_token)


def test_gated_repos_show_their_page_but_not_their_files(api, repo, hub, cache):
    publish(api, repo, a_txt="1")
    api.update_repo_settings(repo, gated="manual")
    assert HfApi(hub.endpoint, token=False).model_info(repo).gated == "manual"
    for token in (False, hub.stranger_token):
        with pytest.raises(GatedRepoError):
            hf_hub_download(repo, "a.txt", cache_dir=cache, token=token)


def test_a_read_token_cannot_write(repo, hub):
    reader = HfApi(hub.endpoint, token=hub.read_token)
    assert reader.whoami()["name"] == "tester"
    for write in (
        lambda: publish(reader, repo, a_txt="1"),
        lambda: reader.create_repo("org/new"),
        lambda: reader.delete_repo(repo),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            write()
        assert error.value.response.status_code == 403


def test_an_unknown_token_is_refused(hub):
    with pytest.raises(HfHubHTTPError) as error:
        HfApi(hub.endpoint, token="hf_wrong").whoami()
    assert error.value.response.status_code == 401


# Spaces


def test_a_space_keeps_its_settings_and_goes_through_its_stages(api, hub, repo_id):
    api.create_repo(repo_id, repo_type="space", space_sdk="gradio")
    api.add_space_variable(repo_id, "MODEL_ID", "org/m")
    api.add_space_secret(repo_id, "KEY", "secret")
    assert api.get_space_variables(repo_id)["MODEL_ID"].value == "org/m"
    assert list(api.get_space_secrets(repo_id)) == ["KEY"]
    assert api.get_space_runtime(repo_id).stage == "NO_APP_FILE"
    hub.space_stages = ("BUILDING", "APP_STARTING", "RUNNING")
    api.upload_file(path_or_fileobj=b"1", path_in_repo="app.py", repo_id=repo_id, repo_type="space")
    stages = [api.get_space_runtime(repo_id).stage for _ in range(4)]
    assert stages == ["BUILDING", "APP_STARTING", "RUNNING", "RUNNING"]
    assert api.request_space_hardware(repo_id, "t4-small").requested_hardware == "t4-small"
    assert api.pause_space(repo_id).stage == "PAUSED"
    assert api.restart_space(repo_id).stage == "BUILDING"


def test_a_space_may_need_a_payment(api, hub, repo_id):
    hub.paid_spaces = True
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(repo_id, repo_type="space", space_sdk="gradio")
    assert error.value.response.status_code == 402
    api.create_repo(repo_id, repo_type="space", space_sdk="static")


# Faults and the log


def get(hub, repo, path="a.txt"):
    return httpx.get(f"{hub.endpoint}/{repo}/resolve/main/{path}", follow_redirects=True)


def test_statuses_can_be_injected_a_number_of_times(api, repo, hub):
    publish(api, repo, a_txt="0123")
    hub.fault("status:429", path_regex="a.txt", times=2, after=1, headers={"Retry-After": "1"})
    answers = [get(hub, repo) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "1"


@pytest.mark.parametrize("action", ["close", "close-mid"])
def test_connections_can_break(api, repo, hub, action):
    publish(api, repo, a_txt="0123")
    hub.fault(action, "GET", "a.txt")
    with pytest.raises(httpx.TransportError):
        get(hub, repo)
    assert get(hub, repo).text == "0123"


def test_an_upload_can_break_halfway_and_is_tried_again(api, repo, hub):
    hub.fault("close-upload", "PUT", "/lfs/")
    publish(api, repo, w_bin=b"\0" * (2 << 20))
    assert len(hub.calls("PUT", "/lfs/")) == 2
    assert len(hub.read(repo, "w.bin")) == 2 << 20


def test_bodies_can_be_cut_and_altered(api, repo, hub):
    publish(api, repo, a_txt="0123")
    for action in ("truncate", "alter", "alter:0"):
        hub.fault(action, "GET", "a.txt")
    assert get(hub, repo).content == b"01"
    assert get(hub, repo).content == b"01\xcd3"
    assert get(hub, repo).content == b"\xcf123"


def test_a_rival_commit_or_a_deletion_can_come_in_between(api, repo, hub):
    parent = api.model_info(repo).sha
    hub.fault(lambda: hub.commit(repo, {"rival": b"1"}), "POST", "/commit/")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit(repo, [add("a", "1")], commit_message="m", parent_commit=parent)
    assert error.value.response.status_code == 412
    hub.fault(f"delete:models/{repo}", "POST", "/commit/")
    with pytest.raises(RepositoryNotFoundError):
        publish(api, repo, a_txt="1")


def test_a_delay_holds_an_answer_back_but_no_other(api, repo, hub):
    publish(api, repo, a_txt="0123", b_txt="1")
    hub.fault("delay:0.5", "GET", "a.txt")
    finished = []
    slow = threading.Thread(target=lambda: finished.append(get(hub, repo).text))
    slow.start()
    assert get(hub, repo, "b.txt").text == "1"
    assert finished == []
    slow.join()
    assert finished == ["0123"]


def test_the_log_tells_who_asked_for_what(api, repo, hub):
    publish(api, repo, a_txt="1")
    (call,) = hub.calls("POST", "/commit/main")
    assert (call.token, call.status) == (hub.token, 200)
    assert json.loads(call.body.splitlines()[0])["key"] == "header"


def test_faults_can_be_ordered_over_http(api, repo, hub):
    httpx.post(f"{hub.endpoint}/_admin/fault", json={"action": "status:500", "path_regex": repo})
    httpx.post(f"{hub.endpoint}/_admin/set", json={"page_size": 7})
    assert (get(hub, repo).status_code, hub.page_size) == (500, 7)
    assert httpx.get(f"{hub.endpoint}/_admin/requests").json()[-1]["status"] == 500


def test_a_store_outlives_its_server(tmp_path):
    from tests.hub_server import Hub

    first = Hub(tmp_path).start()
    api = HfApi(first.endpoint, token=first.token)
    api.create_repo("org/kept")
    sha = publish(api, "org/kept", a_txt="1").oid
    first.stop()
    second = Hub(tmp_path)
    assert second.commits("org/kept")[0].sha == sha
    assert second.read("org/kept", "a.txt") == b"1"


def test_a_child_process_talks_to_the_hub_alone(api, repo, hub):
    publish(api, repo, a_txt="1")
    program = f"import huggingface_hub as h; print(h.model_info({repo!r}).sha, h.whoami()['name'])"
    environment = hub.env(token=hub.token)
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [api.model_info(repo).sha, "tester"]


# Xet, which is on in a fresh installation

XET_ROUND_TRIP = """
import os, sys
from huggingface_hub import HfApi, snapshot_download
repo, folder, cache = sys.argv[1:]
HfApi().upload_folder(repo_id=repo, folder_path=folder)
print(snapshot_download(repo, cache_dir=cache))
"""


def xet_round_trip(hub, repo, source, cache):
    """Publish and fetch in a child process that has Xet on; gives the process."""
    environment = hub.env(token=hub.token, HF_HUB_DISABLE_XET="0")
    command = [sys.executable, "-c", XET_ROUND_TRIP, repo, str(source), str(cache)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


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
    run = xet_round_trip(hub, repo, source, cache)
    assert run.returncode == 0, run.stderr
    through_xet = Path(run.stdout.strip())
    through_lfs = Path(snapshot_download(repo, cache_dir=tmp_path / "other"))
    for name, content in contents.items():
        assert (through_xet / name).read_bytes() == content
        assert (through_lfs / name).read_bytes() == content
    assert not hub.calls("PUT", "^/lfs/")
    assert len(hub.calls("GET", "^/xorbs/")) >= 1
    assert hub.token not in {c.token for c in hub.requests if c.host in hub.cdn}


def test_a_hub_without_xet_stops_xet_clients_without_a_commit(repo, hub, tmp_path, cache):
    hub.xet = False
    source = tmp_path / "release"
    source.mkdir()
    (source / "w.bin").write_bytes(b"\0" * 1000)
    assert xet_round_trip(hub, repo, source, cache).returncode != 0
    assert len(hub.commits(repo)) == 1


# datasets and Keras


def test_datasets_loads_an_imagefolder_repo(api, hub, repo_id, tmp_path):
    from datasets import load_dataset

    for split in ("train", "test"):
        for shade, label in enumerate(("Covid", "Normal")):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            Image.new("L", (8, 8), 40 * shade).save(folder / "x.png")
    api.create_repo(repo_id, repo_type="dataset")
    api.upload_folder(folder_path=tmp_path, repo_id=repo_id, repo_type="dataset")
    loaded = load_dataset(repo_id)
    assert {name: len(split) for name, split in loaded.items()} == {"train": 2, "test": 2}
    assert loaded["train"].features["label"].names == ["Covid", "Normal"]
    assert np.asarray(loaded["test"][1]["image"]).max() == 40
    streamed = list(load_dataset(repo_id, split="train", streaming=True))
    assert [row["label"] for row in streamed] == [0, 1]
    assert {call.host for call in hub.requests} <= {
        address.removeprefix("http://") for address in (hub.endpoint, hub.cdn)
    }


def test_datasets_pushes_parquet_and_loads_it_back(hub, repo_id):
    from datasets import Dataset, load_dataset

    table = {"label": ["Covid", "Normal"], "value": [1.0, 2.0]}
    Dataset.from_dict(table).push_to_hub(repo_id, token=hub.token)
    assert load_dataset(repo_id, split="train").to_dict() == table
    assert any(p.endswith(".parquet") for p in hub.commits(repo_id, "datasets")[0].files)


def test_keras_loads_a_model_from_the_hub(api, repo, tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    keras.saving.save_model(model, tmp_path / "m", zipped=False)
    api.upload_folder(folder_path=tmp_path / "m", repo_id=repo)
    loaded = keras.saving.load_model(f"hf://{repo}")
    inputs = np.ones((1, 4), "float32")
    np.testing.assert_allclose(loaded(inputs), model(inputs))
