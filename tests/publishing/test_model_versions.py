"""A new version of a model: its tag, its comparison with the one before it, its pull request."""

import json

import numpy as np
import pytest

from aihealth.publishing import model
from aihealth.release import PROVENANCE, model_digest, read_json, write_json
from tests.helpers import programs
from tests.helpers.releases import brightness_model, copy_release, write_release


def push(*words):
    programs.push("model", *words)


def refused(*words):
    return programs.sentence(push, *words)


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
    assert hub.uploads() == []


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


def test_the_regression_check_says_when_the_old_version_may_have_seen_the_test_images(
    quick, hub, release, other, repo_id, data, tmp_path, capsys
):
    push("--release", release, "--repo-id", repo_id)
    words = ["--repo-id", repo_id, "--regression-data", data]
    push("--release", other, *words, "--allow-regression", "just in case")
    assert "just in case" not in hub.read(repo_id, "README.md").decode(), "it was not needed"
    assert model.OTHER_DATA not in capsys.readouterr().out
    again = copy_release(release, tmp_path / "again")
    told = read_json(again / PROVENANCE)
    told["data"][0]["fingerprint"] = "of another split"
    write_json(again / PROVENANCE, told)
    push("--release", again, *words)
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


def test_the_regression_check_asks_for_data_and_knows_the_old_name_of_the_option(
    quick, release, other, repo_id
):
    push("--release", release, "--repo-id", repo_id)
    words = ["--release", other, "--repo-id", repo_id]
    assert "--regression-data DIR_OR_REPO" in refused(*words)
    assert "--gate-data is now --regression-data" in refused(*words, "--gate-data", "data")


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
