"""`push_to_hub.py model`: one commit, checked first, whatever happens on the way."""

import subprocess
import sys
import time
import types

import pytest

from aihealth.publishing import access, verification
from tests.helpers import programs
from tests.helpers.releases import copy_release, make_release


@pytest.fixture
def impatient(monkeypatch):
    """The client repeats a failed request at once instead of waiting longer each time."""
    clock = types.SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


def push(*words):
    programs.push("model", *words)


def refused(*words):
    return programs.sentence(push, *words)


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
    assert hub.uploads() == []


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
    assert hub.uploads() == []


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


def test_a_new_repo_can_be_private_and_a_public_one_is_not_made_so_in_silence(
    quick, api, release, repo_id
):
    push("--release", release, "--repo-id", repo_id, "--private")
    assert api.model_info(repo_id).private
    words = ("--release", release, "--repo-id", f"{repo_id}-2")
    push(*words)
    assert f"{repo_id}-2 is public already" in refused(*words, "--private")


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
