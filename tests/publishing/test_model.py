"""`push_to_hub.py model`: one commit, checked first, compared with the version before it."""

import json
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from aihealth.publishing import access, model, verification
from aihealth.release import PROVENANCE, model_digest, read_json, write_json
from tests.helpers import programs
from tests.helpers.releases import (
    brightness_model,
    copy_release,
    make_dataset,
    make_release,
    write_release,
)


@pytest.fixture(scope="module")
def other(release):
    """Neither better nor worse than `release`."""
    return copy_release(release, release.parent / "other", arch="other")


@pytest.fixture(scope="module")
def worse(release):
    """Takes Covid for Pneumonia and the other way round."""
    return make_release(release.parent / "worse", centres=(180, 120, 60))


@pytest.fixture(scope="module")
def data(release):
    return make_dataset(release.parent / "data", per_class=30)


@pytest.fixture(autouse=True)
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)


@pytest.fixture
def quick(monkeypatch):
    """Without loading TensorFlow each time: the release was checked in other tests."""
    monkeypatch.setattr(verification, "check_release", lambda folder: {})


@pytest.fixture
def impatient(monkeypatch):
    """The client repeats a failed request at once instead of waiting longer each time."""
    clock = types.SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


def push(*words):
    programs.push("model", *words)


def refused(*words):
    return programs.sentence(push, *words)


def uploads(hub):
    """Requests that would leave something on the Hub."""
    paths = "^/lfs/|/commit/|/repos/create|/tag/|/branch/|^/v1/"
    return [(call.method, call.path) for call in hub.calls("", paths) if call.method != "GET"]


# === One commit ===


def test_a_release_becomes_a_repo_in_one_commit(hub, release, repo_id):
    push("--release", release, "--repo-id", repo_id)
    assert len(hub.commits(repo_id)) == 2  # the Hub's own first one, and ours
    names = set(hub.commits(repo_id)[0].files)
    assert {"README.md", "config.json", "saved_model.pb", "model.tflite", "handler.py"} <= names
    assert {"aihealth/classifier.py", "requirements.txt", "changelog.json"} <= names
    assert hub.read(repo_id, "model.weights.h5") == (release / "model.weights.h5").read_bytes()


def test_the_same_release_twice_makes_no_second_commit(quick, hub, release, repo_id, capsys):
    push("--release", release, "--repo-id", repo_id)
    push("--release", release, "--repo-id", repo_id)
    assert len(hub.commits(repo_id)) == 2
    assert "no new commit" in capsys.readouterr().out


def test_a_new_version_replaces_the_old_one_whole(quick, hub, release, other, repo_id, data):
    push("--release", release, "--repo-id", repo_id)
    hub.commit(repo_id, {"left/over.txt": b"from before"})
    push("--release", other, "--repo-id", repo_id, "--regression-data", data)
    assert len(hub.commits(repo_id)) == 4
    assert "left/over.txt" not in hub.commits(repo_id)[0].files
    assert ".gitattributes" in hub.commits(repo_id)[0].files


def test_what_systems_and_tools_leave_in_a_folder_stays_here(
    quick, hub, release, repo_id, tmp_path
):
    folder = copy_release(release, tmp_path / "release")
    for name in (".DS_Store", "figures/__pycache__/a.pyc", "metrics.json.part", ".cache/x"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    push("--release", folder, "--repo-id", repo_id)
    names = " ".join(hub.commits(repo_id)[0].files)
    assert not [word for word in ("DS_Store", "pyc", ".part", "cache") if word in names]


@pytest.mark.parametrize(
    "name", ["id_rsa", "token.txt", "prod.env", ".env", "figures/patient.dcm", "variables/key",
             "aihealth/notes.txt", "figures/more/roc.png"],
)  # fmt: skip
def test_a_file_that_is_no_part_of_a_release_stops_it(hub, release, repo_id, tmp_path, name):
    folder = copy_release(release, tmp_path / "release")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("secret")
    text = refused("--release", folder, "--repo-id", repo_id)
    assert f"{folder} holds what is no part of a release: {name}; nothing was published" in text
    assert hub.requests == []


@pytest.mark.parametrize("name", ["figures/roc.png", "README.md", "figures"])
def test_a_link_that_leads_elsewhere_stops_it(hub, release, repo_id, tmp_path, name):
    folder = copy_release(release, tmp_path / "release")
    secret = tmp_path / "secret"
    secret.mkdir() if name == "figures" else secret.write_text("secret")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    text = refused("--release", folder, "--repo-id", repo_id)
    assert f"{folder} holds links that lead elsewhere: {name}; nothing was published" in text
    assert hub.requests == []


def test_a_release_that_was_downloaded_can_be_published_elsewhere(
    quick, hub, api, release, repo_id, tmp_path
):
    push("--release", release, "--repo-id", repo_id)
    api.snapshot_download(repo_id, local_dir=tmp_path / "mine")
    push("--release", tmp_path / "mine", "--repo-id", f"{repo_id}-2")
    names = [set(hub.commits(name)[0].files) for name in (repo_id, f"{repo_id}-2")]
    assert names[0] == names[1]


def test_what_was_checked_is_what_is_sent(hub, release, repo_id, monkeypatch):
    checked = {}

    def check(folder):
        checked.update({path.relative_to(folder).as_posix(): path.read_bytes()
                        for path in folder.rglob("*") if path.is_file()})  # fmt: skip
        return {}

    monkeypatch.setattr(verification, "check_release", check)
    push("--release", release, "--repo-id", repo_id)
    sent = set(hub.commits(repo_id)[0].files) - {".gitattributes"}
    assert checked == {name: hub.read(repo_id, name) for name in sent}


def test_with_xet_it_is_one_commit_too(hub, release, repo_id):
    words = ("--release", release, "--repo-id", repo_id)
    done = run_script(hub, *words, HF_HUB_DISABLE_XET="0")
    assert done.returncode == 0, done.stderr
    assert len(hub.commits(repo_id)) == 2
    assert hub.calls("POST", "/v1/xorbs/") and not hub.calls("PUT", "^/lfs/")
    assert hub.read(repo_id, "model.tflite") == (release / "model.tflite").read_bytes()


def test_the_release_folder_is_left_as_it_was(quick, release, repo_id):
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    assert before == {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}


def test_a_dry_run_shows_everything_and_sends_nothing(quick, hub, release, repo_id, capsys):
    push("--release", release, "--repo-id", repo_id, "--dry-run")
    out = capsys.readouterr().out
    assert f"would send to model repo {repo_id} (new)" in out
    assert "+ model.tflite" in out
    assert uploads(hub) == []


def test_a_dry_run_needs_neither_hub_nor_token(quick, hub, release, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    hub.fault("close", times=100)
    push("--release", release, "--repo-id", "org/name", "--dry-run")
    out = capsys.readouterr().out
    assert "cannot be reached" in out and "+ model.tflite" in out


# === Two contributors, and connections that break ===


def test_the_second_of_two_contributors_is_told_and_loses_nothing(
    quick, hub, release, other, repo_id, data
):
    push("--release", release, "--repo-id", repo_id)
    hub.fault(lambda: hub.commit(repo_id, {"rival.txt": b"1"}), "POST", "/commit/")
    text = refused("--release", other, "--repo-id", repo_id, "--regression-data", data)
    assert "was changed by someone else in the meantime; nothing was published" in text
    assert "rival.txt" in hub.commits(repo_id)[0].files
    assert len(hub.commits(repo_id)) == 3


@pytest.mark.parametrize("path", ["objects/batch", "/commit/"])
def test_a_connection_that_breaks_leaves_the_old_version(
    quick, impatient, hub, release, worse, repo_id, data, path
):
    push("--release", release, "--repo-id", repo_id)
    before = hub.commits(repo_id)[0]
    words = ["--release", worse, "--repo-id", repo_id, "--regression-data", data]
    words += ["--allow-regression", "a test"]
    hub.fault("close", "POST", path, times=100)
    text = refused(*words)
    assert "cannot be reached" in text and f"{repo_id} is as it was" in text
    assert hub.commits(repo_id)[0] == before
    hub.reset()
    push(*words)
    assert len(hub.commits(repo_id)) == 3


def test_a_hub_that_goes_away_while_it_commits_leaves_the_state_unknown(
    quick, impatient, hub, release, repo_id
):
    hub.fault("close", "POST", "/commit/", times=100)
    hub.fault(lambda: hub.fault("close", "GET", "^/api/models/", times=100), "POST", "preupload")
    text = refused("--release", release, "--repo-id", repo_id)
    assert f"whether {repo_id} got the new version is not known" in text
    assert f"{hub.endpoint}/{repo_id}" in text and "sends nothing twice" in text


def test_a_commit_whose_answer_is_lost_counts(quick, impatient, hub, api, release, repo_id):
    hub.fault("close-mid", "POST", "/commit/")
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    assert [tag.name for tag in api.list_repo_refs(repo_id).tags] == ["v1.0.0"]
    assert len(hub.commits(repo_id)) == 2


def test_a_hub_that_says_nothing_is_given_up(quick, impatient, hub, release, repo_id, monkeypatch):
    monkeypatch.setattr(access, "SILENCE", 0.2)
    hub.fault("delay:3", "POST", "objects/batch|preupload", times=100)
    text = refused("--release", release, "--repo-id", repo_id)
    assert "cannot be reached" in text and f"{repo_id} is there and empty" in text


def test_an_upload_that_breaks_off_or_finds_a_busy_hub_is_tried_again(
    quick, hub, repo_id, tmp_path
):
    release = make_release(tmp_path / "new", centres=(61, 121, 181))  # no file that the Hub has
    hub.fault("close-upload", "PUT", "^/lfs/")
    hub.fault("status:429", "PUT", "^/lfs/", after=1, headers={"Retry-After": "0"})
    hub.fault("status:500", "PUT", "^/lfs/", after=2)
    push("--release", release, "--repo-id", repo_id)
    calls = hub.calls("PUT", "^/lfs/")
    assert {429, 500} <= {call.status for call in calls} and len(calls) >= 4
    assert hub.read(repo_id, "model.tflite") == (release / "model.tflite").read_bytes()
    assert len(hub.commits(repo_id)) == 2


def test_a_repo_deleted_on_the_way_is_reported(quick, hub, release, other, repo_id, data):
    push("--release", release, "--repo-id", repo_id)
    hub.fault(f"delete:models/{repo_id}", "POST", "/commit/")
    text = refused("--release", other, "--repo-id", repo_id, "--regression-data", data)
    assert f"{repo_id} does not exist" in text


def test_a_publish_that_is_killed_leaves_the_old_version_or_the_new(hub, release, repo_id):
    command = ["--release", release, "--repo-id", repo_id]
    child = []
    hub.fault(lambda: child[0].kill(), "POST", "objects/batch")
    process = [sys.executable, "-c", SCRIPT, "model", *map(str, command)]
    child.append(subprocess.Popen(process, env=hub.env(token=hub.token), cwd=programs.ROOT))
    assert child[0].wait(60) < 0
    assert len(hub.commits(repo_id)) == 1
    assert run_script(hub, *command).returncode == 0
    assert len(hub.commits(repo_id)) == 2


# === Tokens ===


def test_without_a_token_it_says_how_to_get_one(hub, release, repo_id, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    text = refused("--release", release, "--repo-id", repo_id)
    assert "there is no Hub token: run `hf auth login`, set HF_TOKEN, or give --token-file" in text
    assert hub.requests == []


@pytest.mark.parametrize(("reads", "words"), [(False, "does not accept"), (True, "may only read")])
def test_a_token_that_may_not_write_is_refused_before_anything_is_sent(
    hub, release, repo_id, monkeypatch, reads, words
):
    token = hub.read_token if reads else "hf_nonsense"
    monkeypatch.setenv("HF_TOKEN", token)
    text = refused("--release", release, "--repo-id", repo_id)
    assert words in text and token not in text
    assert [call.path for call in hub.requests] == ["/api/whoami-v2"]


def test_a_stranger_is_refused_before_anything_is_uploaded(
    quick, hub, release, repo_id, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", hub.stranger_token)
    text = refused("--release", release, "--repo-id", repo_id)
    assert "the token may make none under org: choose a name under stranger" in text
    assert uploads(hub) == []


def test_a_stranger_is_told_of_pull_requests_before_anything_is_loaded(
    quick, hub, release, other, repo_id, monkeypatch, capsys
):
    push("--release", release, "--repo-id", repo_id)
    monkeypatch.setattr(verification, "check_release", lambda folder: pytest.fail("too early"))
    monkeypatch.setenv("HF_TOKEN", hub.stranger_token)
    said = f"the token has no right to write to model repo {repo_id}; --create-pr opens a pull"
    assert said in refused("--release", other, "--repo-id", repo_id)
    assert said in refused("--check", "--repo-id", repo_id)
    push("--check", "--repo-id", repo_id, "--create-pr", "--regression-data", "org/data")
    assert "nothing stands against publishing" in capsys.readouterr().out


def test_a_dry_run_says_what_the_token_may_not_do(
    quick, hub, release, repo_id, monkeypatch, capsys
):
    monkeypatch.setenv("HF_TOKEN", hub.stranger_token)
    push("--release", release, "--repo-id", repo_id, "--dry-run")
    out = capsys.readouterr().out
    assert "note: there is no model repo" in out and "+ model.tflite" in out


def test_a_token_file_is_used_and_never_shown(
    quick, hub, release, repo_id, monkeypatch, tmp_path, capsys
):
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text(f"{hub.token}\n")
    push("--release", release, "--repo-id", repo_id, "--token-file", tmp_path / "token")
    assert {call.token for call in hub.calls("POST", "/commit/")} == {hub.token}
    assert hub.token not in "".join(capsys.readouterr())


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_named(release, repo_id, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    text = refused("--release", release, "--repo-id", repo_id, "--token-file", file)
    assert f"--token-file {file}" in text


# === Versions ===


def test_a_tag_names_the_version_on_the_hub_and_in_the_card(quick, hub, api, release, repo_id):
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.2.0")
    (tag,) = api.list_repo_refs(repo_id).tags
    assert (tag.name, tag.target_commit) == ("v1.2.0", hub.commits(repo_id)[0].sha)
    assert json.loads(hub.read(repo_id, "aihealth.json"))["version"] == "1.2.0"
    card = hub.read(repo_id, "README.md").decode()
    assert "**v1.2.0**" in card and 'revision="v1.2.0"' in card


def test_an_existing_tag_is_refused_before_anything_is_sent(hub, release, other, repo_id, quick):
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    hub.reset()
    text = refused("--release", other, "--repo-id", repo_id, "--tag", "v1.0.0")
    assert f"{repo_id} already has the tag v1.0.0" in text
    assert uploads(hub) == []


@pytest.mark.parametrize("tag", ["1.0.0", "v1", "v1.2", "v01.2.3", "latest", "v1.2.3 "])
def test_only_semantic_versions_are_tags(release, repo_id, tag):
    text = refused("--release", release, "--repo-id", repo_id, "--tag", tag)
    assert f"--tag {tag} is not a semantic version such as v1.2.0" in text


def test_a_published_release_can_be_tagged_later(quick, hub, api, release, repo_id):
    push("--release", release, "--repo-id", repo_id)
    push("--release", release, "--repo-id", repo_id, "--tag", "v2.0.0")
    assert [tag.name for tag in api.list_repo_refs(repo_id).tags] == ["v2.0.0"]
    push("--release", release, "--repo-id", repo_id)  # keeps its version
    assert json.loads(hub.read(repo_id, "aihealth.json"))["version"] == "2.0.0"
    assert len(hub.commits(repo_id)) == 3


def test_one_release_has_one_version(quick, release, repo_id):
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    text = refused("--release", release, "--repo-id", repo_id, "--tag", "v1.1.0")
    assert "already published as v1.0.0" in text


def test_the_changelog_lists_versions_newest_first(quick, hub, release, other, repo_id, data):
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.0.0", "--message", "First.")
    push("--release", other, "--repo-id", repo_id, "--tag", "v1.1.0", "--regression-data", data)
    changelog = hub.read(repo_id, "README.md").decode().split("## Changelog")[1]
    assert changelog.index("**v1.1.0**") < changelog.index("**v1.0.0**")
    assert "First." in changelog


# === The regression check ===


def test_a_worse_version_is_refused_and_passes_with_a_reason_that_the_card_keeps(
    quick, hub, release, worse, repo_id, data, capsys
):
    push("--release", release, "--repo-id", repo_id)
    words = ["--release", worse, "--repo-id", repo_id, "--regression-data", data]
    text = refused(*words)
    assert "is worse than the one on the Hub on balanced accuracy, sensitivity Covid" in text
    assert "--allow-regression" in text
    assert len(hub.commits(repo_id)) == 2
    assert "| sensitivity Normal | 1.000" in capsys.readouterr().out
    push(*words, "--allow-regression", "the labels were the wrong way round")
    card = hub.read(repo_id, "README.md").decode()
    assert "published nevertheless: the labels were the wrong way round" in card


def test_a_reason_that_was_not_needed_is_not_kept(quick, hub, release, other, repo_id, data):
    push("--release", release, "--repo-id", repo_id)
    words = ["--release", other, "--repo-id", repo_id, "--regression-data", data]
    push(*words, "--allow-regression", "just in case")
    assert "just in case" not in hub.read(repo_id, "README.md").decode()


def test_the_regression_check_says_when_the_old_version_may_have_seen_the_test_images(
    quick, hub, release, other, repo_id, data, tmp_path, capsys
):
    push("--release", release, "--repo-id", repo_id)
    push("--release", other, "--repo-id", repo_id, "--regression-data", data)
    assert model.OTHER_DATA not in capsys.readouterr().out
    again = copy_release(release, tmp_path / "again")
    told = read_json(again / PROVENANCE)
    told["data"][0]["fingerprint"] = "of another split"
    write_json(again / PROVENANCE, told)
    push("--release", again, "--repo-id", repo_id, "--regression-data", data)
    assert model.OTHER_DATA in capsys.readouterr().out


def test_images_that_a_version_was_trained_on_are_left_out_of_the_comparison(
    quick, hub, release, other, repo_id, data, tmp_path, capsys
):
    from aihealth.data import prepared
    from aihealth.training import starting_point

    old = copy_release(release, tmp_path / "old")
    test = prepared.load([str(data)], 32)["test"]
    known = test.subset(np.isin(test.groups, np.unique(test.groups)[:4]))
    starting_point.write_seen(old, [], [known])
    push("--release", old, "--repo-id", repo_id)
    push("--release", other, "--repo-id", repo_id, "--regression-data", data)
    out = capsys.readouterr().out
    assert f"on the same {30 - len(known)} images" in out
    assert f"{len(known)} more were left out: one of the versions was trained on them" in out


def test_the_regression_check_asks_for_data(quick, release, other, repo_id):
    push("--release", release, "--repo-id", repo_id)
    assert "--regression-data DIR_OR_REPO" in refused("--release", other, "--repo-id", repo_id)


def test_the_old_name_of_an_option_names_the_new_one():
    said = refused("--check", "--repo-id", "org/name", "--gate-data", "data")
    assert "--gate-data is now --regression-data" in said


def test_another_input_size_asks_for_a_word(quick, hub, release, repo_id, data, tmp_path):
    push("--release", release, "--repo-id", repo_id)
    larger = write_release(brightness_model(size=48), tmp_path / "larger")
    words = ["--release", larger, "--repo-id", repo_id, "--regression-data", data]
    text = refused(*words)
    assert "takes images of 48 pixels, the one on the Hub of 32" in text
    assert f"hf://{repo_id} takes what is on main" in text and "say --input-size 48" in text
    assert "say --input-size 48" in refused(*words, "--input-size", "64")
    push(*words, "--input-size", "48")
    assert json.loads(hub.read(repo_id, "aihealth.json"))["input_size"] == 48


def test_an_audit_of_another_model_is_refused(quick, hub, release, worse, repo_id, tmp_path):
    folder = copy_release(release, tmp_path / "release")
    audit = audit_report(worse)
    write_json(folder / "audit.json", audit)
    text = refused("--release", folder, "--repo-id", repo_id)
    assert f"{folder / 'audit.json'} is of another model: run `python -m aihealth audit" in text
    del audit["model_sha256"]
    write_json(folder / "audit.json", audit)
    assert "does not say of which model it is" in refused("--release", folder, "--repo-id", repo_id)
    assert hub.requests == []


def test_an_audit_is_put_into_a_release_by_an_option(quick, hub, release, worse, repo_id, tmp_path):
    for folder in (release, worse):
        (tmp_path / folder.name).mkdir()
        write_json(tmp_path / folder.name / "audit.json", audit_report(folder))
    words = ["--release", release, "--repo-id", repo_id, "--audit"]
    assert "is of another model" in refused(*words, tmp_path / "worse")
    push(*words, tmp_path / "release")
    assert "### Shortcut audit" in hub.read(repo_id, "README.md").decode()


def audit_report(folder):
    figure = {"value": 0.5, "interval": [0.4, 0.6]}
    return {
        "model_sha256": model_digest(folder), "dataset": "demo", "n": 60, "chance": 0.3333,
        "classes_from": {"whole_image": figure}, "map_inside_lungs": figure,
    }  # fmt: skip


# === Pull requests ===


def test_a_contributor_opens_a_pull_request_with_both_figures_that_says_in_its_title_what_changed(
    quick, hub, api, release, other, repo_id, data, monkeypatch
):
    push("--release", release, "--repo-id", repo_id)
    monkeypatch.setenv("HF_TOKEN", hub.stranger_token)
    push("--release", other, "--repo-id", repo_id, "--regression-data", data, "--create-pr")
    assert len(hub.commits(repo_id)) == 2
    (request,) = api.get_repo_discussions(repo_id)
    assert request.title == "other: balanced accuracy 1.000 -> 1.000 on 30 images of data"
    text = api.get_discussion_details(repo_id, request.num).events[0].content
    assert "| figure | on the Hub | this version | difference |" in text
    assert "| balanced accuracy | 1.000 (0.886 to 1.000) |" in text
    assert "**Passed: no figure is worse beyond its interval.**" in text
    assert json.loads(hub.read(repo_id, "aihealth.json", rev="refs/pr/1"))["arch"] == "other"


def test_the_same_command_brings_the_open_pull_request_up_to_date(
    quick, hub, api, release, other, repo_id, data, monkeypatch, tmp_path
):
    push("--release", release, "--repo-id", repo_id)
    monkeypatch.setenv("HF_TOKEN", hub.stranger_token)
    words = ["--repo-id", repo_id, "--regression-data", data, "--create-pr"]
    push("--release", other, *words)
    push("--release", other, *words)  # nothing new
    better = copy_release(release, tmp_path / "better", arch="better")
    (better / "history.json").write_text("{}")
    push("--release", better, *words)
    (request,) = api.get_repo_discussions(repo_id)
    assert request.title.startswith("better: ")
    events = api.get_discussion_details(repo_id, request.num).events
    assert [event.type for event in events].count("commit") == 2
    assert "| balanced accuracy |" in events[-1].content
    assert json.loads(hub.read(repo_id, "aihealth.json", rev="refs/pr/1"))["arch"] == "better"
    assert json.loads(hub.read(repo_id, "aihealth.json"))["arch"] != "better"
    api.change_discussion_status(repo_id, 1, "closed")
    push("--release", other, *words)
    assert len(list(api.get_repo_discussions(repo_id, discussion_status="open"))) == 1


def test_what_was_merged_is_tagged_with_one_command(quick, hub, api, release, other, repo_id, data):
    push("--release", release, "--repo-id", repo_id, "--tag", "v1.0.0")
    push("--release", other, "--repo-id", repo_id, "--regression-data", data, "--create-pr")
    api.merge_pull_request(repo_id, 1)
    merged = dict(hub.commits(repo_id)[0].files)
    push("--repo-id", repo_id, "--tag", "v1.1.0")
    tagged = hub.commits(repo_id)[0]
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id).tags}
    assert tags["v1.1.0"] == tagged.sha
    assert json.loads(hub.read(repo_id, "aihealth.json"))["version"] == "1.1.0"
    assert 'revision="v1.1.0"' in hub.read(repo_id, "README.md").decode()
    changed = {name for name in merged if merged[name] != tagged.files.get(name)}
    assert changed == {"aihealth.json", "README.md", "changelog.json"}
    assert "is v1.1.0 already" in refused("--repo-id", repo_id, "--tag", "v1.2.0")


def test_what_is_no_release_is_not_tagged(hub, repo):
    assert "holds no release" in refused("--repo-id", repo, "--tag", "v1.0.0")
    assert "say what to publish with --release" in refused("--repo-id", repo)


# === What cannot be ===


@pytest.mark.parametrize(
    ("repo_id", "more", "sentence"),
    [
        ("org/never", ["--create-pr"], "there is no org/never"),
        ("org/never", ["--create-pr", "--tag", "v1.0.0"], "merge the pull request, then tag it"),
        ("no spaces/here", [], "'no spaces/here' is not a repo id"),
        ("name", [], "give it with its owner"),
    ],
)
def test_what_cannot_be_is_named(release, repo_id, more, sentence):
    assert sentence in refused("--release", release, "--repo-id", repo_id, *more)


def test_a_public_repo_is_not_silently_private(quick, release, repo_id):
    push("--release", release, "--repo-id", repo_id)
    text = refused("--release", release, "--repo-id", repo_id, "--private")
    assert f"{repo_id} is public already" in text


def test_a_new_repo_can_be_private(quick, api, release, repo_id):
    push("--release", release, "--repo-id", repo_id, "--private")
    assert api.model_info(repo_id).private


# === The script ===


# push_to_hub.py as a process; what it checks has tests of its own.
SCRIPT = (
    "import push_to_hub, aihealth.publishing.verification as c; "
    "c.check_release = lambda folder: {}; "
    "from aihealth.errors import run_cli; run_cli(push_to_hub.main)"
)


def run_script(hub, *words, **variables):
    env = hub.env(token=hub.token, **variables)
    return programs.run("-c", SCRIPT, "model", *words, env=env, timeout=120)


def test_the_script_ends_in_one_sentence(hub, tmp_path):
    done = run_script(hub, "--release", tmp_path, "--repo-id", "org/name")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} is not a release")
    assert len(done.stderr.splitlines()) == 1


def test_help_names_every_command():
    printed = programs.works("push_to_hub.py", "--help")
    assert all(word in printed for word in ("model", "space", "dataset", "hf auth login"))
