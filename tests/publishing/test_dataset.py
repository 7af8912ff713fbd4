"""`push_to_hub.py dataset`: Parquet with embedded images that gives the same split back."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from aihealth.data.manifest import read_manifest
from aihealth.publishing import dataset
from tests.helpers import programs
from tests.helpers.drawn import prepared_drawings
from tests.helpers.releases import CLASSES, make_dataset


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "data")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("datasets.config.USE_PARQUET_EXPORT", False)


def push(*words):
    programs.push("dataset", *words)


def refused(*words):
    return programs.sentence(push, *words)


def load(repo_id, tmp_path):
    from datasets import load_dataset

    return load_dataset(repo_id, cache_dir=str(tmp_path / "datasets"))


def test_the_dataset_comes_back_with_its_splits_and_columns(hub, data, repo_id, tmp_path):
    from datasets import ClassLabel

    push("--data", data, "--repo-id", repo_id)
    splits = load(repo_id, tmp_path)
    rows = {row.file: row for row in read_manifest(data)}
    assert set(splits) == {"train", "validation", "test"}
    assert sum(len(split) for split in splits.values()) == len(rows)
    for name, split in splits.items():
        assert split.features["label"] == ClassLabel(names=CLASSES)
        for item in split:
            row = rows.pop(item["file"])
            assert (row.split, row.label) == (name, CLASSES[item["label"]])
            assert (row.source, row.group) == (item["source"], item["group"])
            assert (row.sha256, row.size) == (item["sha256"], item["size"])
    assert not rows


def test_the_images_are_embedded_as_they_are(hub, data, repo_id, tmp_path):
    from datasets import Image

    push("--data", data, "--repo-id", repo_id)
    train = load(repo_id, tmp_path)["train"].cast_column("image", Image(decode=False))
    for item in train:
        assert hashlib.sha256(item["image"]["bytes"]).hexdigest() == item["sha256"]


def test_training_sees_the_same_from_the_folder_and_from_the_hub(hub, data, repo_id):
    from aihealth.data.prepared import load as load_images

    push("--data", data, "--repo-id", repo_id)
    here, there = (load_images([root], 32) for root in (str(data), repo_id))
    for split, images in here.items():
        order = [
            np.lexsort((each.groups, each.pixels.mean((1, 2)))) for each in (images, there[split])
        ]
        for field in ("pixels", "labels", "sources", "groups"):
            local, remote = getattr(images, field), getattr(there[split], field)
            assert np.array_equal(local[order[0]], remote[order[1]]), (split, field)


def test_it_is_one_commit_and_none_when_nothing_changed(hub, data, repo_id, capsys):
    push("--data", data, "--repo-id", repo_id)
    push("--data", data, "--repo-id", repo_id)
    assert len(hub.commits(repo_id, "datasets")) == 2
    assert "no new commit" in capsys.readouterr().out


def test_shards_are_cut_by_size_and_old_ones_go(hub, data, repo_id, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_BYTES", 10_000)
    push("--data", data, "--repo-id", repo_id)
    many = {name for name in hub.commits(repo_id, "datasets")[0].files if "train" in name}
    assert len(many) > 1
    assert len(load(repo_id, tmp_path)["train"]) == 12
    monkeypatch.undo()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    push("--data", data, "--repo-id", repo_id)
    files = hub.commits(repo_id, "datasets")[0].files
    assert [name for name in files if "train" in name] == ["data/train-00000-of-00001.parquet"]


def test_the_card_is_accepted_and_says_what_it_is(hub, data, repo_id):
    push("--data", data, "--repo-id", repo_id, "--license", "cc-by-4.0")
    text = hub.read(repo_id, "README.md", type="datasets").decode()
    card = DatasetCard(text)
    card.validate()
    assert card.data.license == "cc-by-4.0"
    assert "They are not medical" in text
    assert f'load_dataset("{repo_id}")' in text
    assert "| train | 4 | 4 | 4 | 12 |" in text


def test_the_card_says_whether_groups_are_whole(data):
    rows = read_manifest(data)
    text = str(dataset.dataset_card(data, rows, "org/x", dataset.Terms()))
    assert "no group is in two splits" in " ".join(text.split())
    assert "several splits" not in text
    pairs = [replace(row, group=row.group.rpartition("-")[0]) for row in rows]
    text = " ".join(str(dataset.dataset_card(data, pairs, "org/x", dataset.Terms())).split())
    assert "18 of 18 groups lie in several splits" in text and "too good" in text
    assert "no group is in two splits" not in text


def test_drawn_images_are_still_known_as_drawn_after_the_way_over_the_hub(hub, repo_id, tmp_path):
    from aihealth.data.prepared import load as load_images

    push("--data", prepared_drawings(tmp_path, 12), "--repo-id", repo_id)
    train = load_images([repo_id], 32)["train"]
    assert train.drawn == len(train)


def test_the_front_matter_says_what_the_hub_shows_of_a_dataset(hub, data, repo_id):
    push("--data", data, "--repo-id", repo_id)
    card = DatasetCard(hub.read(repo_id, "README.md", type="datasets").decode()).data.to_dict()
    assert card["pretty_name"] == f"{repo_id.partition('/')[2]}: drawn images"
    assert card["license_name"] == "terms-of-the-sources"
    assert card["license_link"].endswith(f"/datasets/{repo_id}/blob/main/README.md#licence")
    info = card["dataset_info"]
    assert [(split["name"], split["num_examples"]) for split in info["splits"]] == [
        ("train", 12), ("validation", 12), ("test", 12)
    ]  # fmt: skip
    assert info["features"][0] == {"name": "image", "dtype": "image"}
    assert "extra_gated_prompt" not in card


def test_terms_of_ones_own_are_named_and_linked(hub, data, repo_id):
    link = "https://example.org/terms"
    push("--data", data, "--repo-id", repo_id, "--license-name", "dua", "--license-link", link)
    text = hub.read(repo_id, "README.md", type="datasets").decode()
    card = DatasetCard(text).data.to_dict()
    assert (card["license_name"], card["license_link"]) == ("dua", link)
    assert f"dua: {link}" in text


def test_data_under_terms_of_use_is_gated_before_an_image_is_sent(hub, api, data, repo_id):
    push("--data", data, "--repo-id", repo_id, "--gated", "manual")
    calls = [call.path for call in hub.requests if call.method in ("PUT", "POST")]
    settings = next(i for i, path in enumerate(calls) if path.endswith("/settings"))
    assert settings < next(i for i, path in enumerate(calls) if "preupload" in path)
    assert api.dataset_info(repo_id).gated == "manual"
    card = DatasetCard(hub.read(repo_id, "README.md", type="datasets").decode()).data.to_dict()
    assert "not to try to identify a person" in card["extra_gated_prompt"]


def test_a_person_is_told_how_to_have_an_image_removed(hub, data, repo_id):
    push("--data", data, "--repo-id", repo_id)
    text = hub.read(repo_id, "README.md", type="datasets").decode()
    assert "## To have an image removed" in text
    assert f"{hub.endpoint}/datasets/{repo_id}/discussions" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--license", "CC-BY-4"],
            "CC-BY-4 is not in the Hub's list; did you mean cc-by",
        ),
        (["--license", "???"], "--license ??? is not in the Hub's list; use other"),
        (["--license", "mit", "--license-name", "mine"], "are for --license other, not mit"),
    ],
)
def test_a_license_that_the_hub_does_not_know_is_refused(hub, data, repo_id, words, said):
    assert said in refused("--data", data, "--repo-id", repo_id, *words)
    assert hub.requests == []


def test_a_folder_that_is_not_prepared_is_named(tmp_path, repo_id):
    assert f"{tmp_path} is not a prepared dataset" in refused(
        "--data", tmp_path, "--repo-id", repo_id
    )


def test_a_file_that_is_no_part_of_the_dataset_stops_it(hub, data, repo_id):
    (data / "train" / "token.txt").write_text("secret")
    assert "no part of the prepared dataset: train/token.txt" in refused(
        "--data", data, "--repo-id", repo_id
    )


def test_an_image_that_is_a_link_to_elsewhere_stops_it(hub, data, repo_id, tmp_path):
    file = data / "train" / "Covid" / "north_000.png"
    file.rename(tmp_path / "elsewhere.png")
    file.symlink_to(tmp_path / "elsewhere.png")
    text = refused("--data", data, "--repo-id", repo_id)
    assert "links that lead elsewhere: train/Covid/north_000.png" in text


def test_a_file_that_changed_since_is_named(hub, data, repo_id):
    file = data / "train" / "Covid" / "north_000.png"
    file.write_bytes(b"something else")
    assert f"{file} is not the file of the manifest" in refused(
        "--data", data, "--repo-id", repo_id
    )
    assert not hub.calls("POST", "/repos/create")


def test_a_dry_run_sends_nothing(hub, data, repo_id, capsys):
    push("--data", data, "--repo-id", repo_id, "--dry-run")
    assert "+ data/test-00000-of-00001.parquet" in capsys.readouterr().out
    assert not hub.calls("POST") and not hub.calls("PUT")
