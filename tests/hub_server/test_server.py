"""The test Hub, proven with the clients that people use."""

import os
from pathlib import Path

import httpx
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

CARD = "---\nlicense: apache-2.0\ntags: [chest]\n---\n# A model\n"


def add(path, content):
    return CommitOperationAdd(path, content if isinstance(content, bytes) else content.encode())


def publish(api, repo_id, message="add", **files):
    operations = [add(name.replace("__", "/").replace("_", "."), c) for name, c in files.items()]
    return api.create_commit(repo_id, operations, commit_message=message)


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


def test_a_stranger_may_propose_but_not_push(api, repo, hub):
    stranger = HfApi(hub.endpoint, token=hub.stranger_token)
    with pytest.raises(HfHubHTTPError) as error:
        publish(stranger, repo, a_txt="1")
    assert error.value.response.status_code == 403
    operations = [add("a", "1"), add("w.bin", "2")]
    info = stranger.create_commit(repo, operations, commit_message="m", create_pr=True)
    stranger.create_commit(repo, [add("b", "3")], commit_message="m", revision=info.pr_revision)
    files = api.list_repo_files(repo, revision="refs/pr/1")
    assert files == [".gitattributes", "a", "b", "w.bin"]


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
    hub.space_log = ["Downloading", "Running"]
    assert list(api.fetch_space_logs(repo_id)) == ["Downloading", "Running"]
    assert api.pause_space(repo_id).stage == "PAUSED"
    assert api.restart_space(repo_id).stage == "BUILDING"


def test_the_log_of_a_space_just_made_is_whole_at_every_moment_of_a_second(api, hub, repo_id):
    hub.space_log = ["Running"]
    for number in range(12):
        api.create_repo(f"{repo_id}-{number}", repo_type="space", space_sdk="gradio")
        assert list(api.fetch_space_logs(f"{repo_id}-{number}")) == ["Running"]


def test_a_space_may_need_a_payment(api, hub, repo_id):
    hub.paid_spaces = True
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(repo_id, repo_type="space", space_sdk="gradio")
    assert error.value.response.status_code == 402
    api.create_repo(repo_id, repo_type="space", space_sdk="static")


# The store


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
