"""The model card: valid for the Hub, complete, honest, and its code runs as written."""

import ast
import dataclasses
import itertools
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard

from aihealth import Classifier
from aihealth.data import provenance as lineage
from aihealth.errors import UserError
from aihealth.publishing import card, card_tables, changelog, staging
from aihealth.release import AUDIT, METRICS, PROVENANCE, ReleaseConfig, read_json, write_json
from tests.helpers import programs
from tests.helpers.releases import BRIGHTNESS, CLASSES, copy_release, grey_image

NEEDS_OLD_HUB = "huggingface_hub<1"


@pytest.fixture(scope="module")
def release(release):
    return copy_release(release, release.parent / "with_a_rule", abstain_rule="A rule.")


@pytest.fixture
def folder(release, tmp_path):
    """A copy to change."""
    return copy_release(release, tmp_path / "release")


@pytest.fixture(scope="module")
def published(hub, release):
    """A release on the Hub, pushed by the script; its id."""
    name = "org/chest-model"
    words = ("model", "--release", release, "--repo-id", name, "--tag", "v1.0.0")
    done = programs.inside("push_to_hub.py", *words, token=hub.token)
    assert done.returncode == 0, done.stderr
    return name


@pytest.fixture
def text(hub, published):
    return hub.read(published, "README.md").decode()


def test_the_hub_accepts_the_card(published, text):
    ModelCard(text).validate()


def test_the_front_matter_says_what_the_hub_asks_for(published, text):
    data = ModelCard(text).data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "keras"
    assert data["pipeline_tag"] == "image-classification"
    assert data["metrics"] == ["accuracy", "recall", "roc_auc"]
    assert data["widget"][0]["src"].endswith(f"/{published}/resolve/v1.0.0/examples/drawn.png")


def test_the_model_index_holds_the_figures_with_n_and_interval(release, published, text):
    block = read_json(release / METRICS)["test"]
    results = {result.metric_name: result for result in ModelCard(text).data.eval_results}
    balanced = results["Balanced accuracy (n = 60)"]
    assert balanced.metric_value == round(block["balanced_accuracy"], 4)
    assert balanced.metric_args == {"95% interval": block["intervals"]["balanced_accuracy"]}
    for name in CLASSES:
        n = block["per_class"][name]["n"]
        assert results[f"Sensitivity {name} (n = {n})"].metric_value == round(
            block["recall"][name], 4
        )


def test_datasets_on_the_hub_are_linked(folder):
    provenance = read_json(folder / PROVENANCE)
    provenance["data"][0]["repo_id"] = "org/chest-data"
    write_json(folder / PROVENANCE, provenance)
    assert card.render(folder, "org/name").data.datasets == ["org/chest-data"]


@pytest.mark.parametrize(
    "phrase",
    [
        "**Not a medical device.**",
        "Trained on drawn images",
        "of no use on radiographs",
        "At your hospital it is unknown",
        "## Intended use",
        "## Limits",
        "## Training",
        "## Other ways to use it",
        "Training took 1.5 minutes",
        "## Changelog",
        "## Contact and citation",
        "python train.py --data demo/data --out runs/demo",
        "A rule.",
    ],
)
def test_the_card_says(text, phrase):
    assert phrase in text


def test_a_model_of_drawn_images_says_so_before_anything_else(text):
    body = text.split("---\n", 2)[2]
    assert body.strip().splitlines()[2].startswith("> **Trained on drawn images.**")


def test_a_model_of_radiographs_names_their_faults_instead(release, tmp_path):
    folder = copy_release(
        release, tmp_path / "release", drawn_data=False, sources=["aihealth", "nih"]
    )
    text = card.render(folder, "org/name").content
    assert "Trained on drawn images" not in text
    assert "near-duplicate" in text and "text-mined" in text


def test_every_source_has_its_row_with_intervals(release, text):
    block = read_json(release / METRICS)["test"]
    for name, part in block["per_source"].items():
        figure = card_tables.with_interval(
            part["balanced_accuracy"], part["intervals"]["balanced_accuracy"]
        )
        assert f"| {name} | {part['n']} | {figure} |" in text


def test_a_source_that_was_left_out_has_a_row_of_its_own(folder):
    metrics = read_json(folder / METRICS)
    metrics["left_out_harbour"] = metrics["test"]["per_source"]["harbour"] | {"dataset": "harbour"}
    write_json(folder / METRICS, metrics | {"calibration": {"temperature": 1.3}})
    rendered = card.render(folder, "org/name")
    text = rendered.content[rendered.content.index("### Leave-one-source-out") :]
    assert "| source left out | n | balanced accuracy | not sure | calibration error |" in text
    assert "| harbour | 30 | " in text
    check_tables(text)
    names = {result.dataset_name for result in rendered.data.eval_results}
    assert names == {"demo", "harbour, leave-one-source-out"}


def test_sources_left_out_in_turn_have_a_row_each_and_one_for_all(folder):
    metrics = read_json(folder / METRICS)
    worst = metrics["test"]["per_source"]["harbour"] | {"balanced_accuracy": 0.25}
    parts = {"harbour": worst, "valley": worst | {"balanced_accuracy": 0.5}}
    block = metrics["test"] | {"dataset": "in turn", "per_source": parts}
    block |= {"temperatures": {"harbour": 2.0, "valley": 3.0}}
    block |= {"noticed": {"harbour": 1.0, "valley": 0.985}}
    shares = {"Covid": 0.38, "Normal": 0.2, "Pneumonia": 0.42}
    block["neither"] = {"valley": {"n": 30, "called": shares, "answered": shares}}
    metrics["left_out"] = block | {"ece_before": {"harbour": 0.31, "valley": 0.29}}
    write_json(folder / METRICS, metrics)
    text = card.render(folder, "org/name").content
    assert f"**{block['balanced_accuracy']:.3f} (" in text
    assert " at sources that training left out, 0.25 at harbour**" in text
    table = text[text.index("### Leave-one-source-out") :]
    names = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert names[1:4] == ["harbour", "valley", "all"]
    assert "| harbour | 2.0 | 0.310 | 1.000 |" in table
    assert "| valley | 3.0 | 0.290 | 0.985 |" in table
    assert "probable class of these: Covid 38%, Normal 20%, Pneumonia 42%" in table
    check_tables(text)


@pytest.mark.parametrize("versions", [0, 1, 12])
def test_what_is_seen_at_once_is_short_and_begins_with_what_matters(text, release, versions):
    history = [changelog.Entry(f"{n:064}", "2026-11-25", "Better.", f"1.{n}.0")
               for n in reversed(range(versions))]  # fmt: skip
    text = card.render(release, "org/name", history).content
    body = text.split("---\n", 2)[2].strip()
    seen = re.sub(r"<details>.*?</details>", "", body, flags=re.DOTALL)
    assert "<details>" not in seen and len(seen.splitlines()) <= 150
    order = ["Not a medical device", "Three probabilities", "Balanced accuracy is", "```python",
             "## Intended use", "## Figures", "## Limits", "## Training"]  # fmt: skip
    places = [seen.index(phrase) for phrase in order]
    assert places == sorted(places)
    assert seen.count("```python") == 1
    if versions == 12:
        assert "v1.11.0" in seen and "v1.0.0" in body and "v1.0.0" not in seen


def test_code_of_a_version_is_pinned_to_it_and_hf_says_that_it_is_not(text):
    before, unpinned = [], [block for block in card.code_blocks(text) if "v1.0.0" not in block]
    (block,) = unpinned
    assert 'load_model("hf://' in block
    before = text[: text.index(block)].rstrip().splitlines()[-4:]
    assert "takes what is on `main`" in " ".join(before)


def test_the_card_says_which_page_is_for_whom(text, published):
    assert f"| `python push_to_hub.py space --model-id {published} --repo-id ORG/SPACE` |" in text


def test_the_front_matter_names_emissions_and_the_model_it_started_from(folder):
    told = read_json(folder / PROVENANCE)
    told["base_models"] = [{"repo_id": "org/base", "revision": "v1.0.0", "commit": "a" * 40}]
    write_json(folder / PROVENANCE, told)
    rendered = card.render(folder, "org/name")
    data = rendered.data.to_dict()
    assert data["base_model"] == ["org/base"]
    assert data["co2_eq_emissions"]["emissions"] == 0.78  # 90 s at 65 W
    assert "It started from [org/base](https://huggingface.co/org/base) at `v1.0.0`" in (
        rendered.content
    )


def test_calibration_is_shown_per_source(folder):
    found = {"ece_before": 0.05, "ece_after": 0.17}
    calibration = {"temperature": 1.66, **found, "per_source": {"harbour": found}}
    write_json(folder / METRICS, read_json(folder / METRICS) | {"calibration": calibration})
    text = card.render(folder, "org/name").content
    assert "The temperature 1.66 is part of the model." in text
    assert "| harbour | 0.050 | 0.170 |" in text
    check_tables(text)


def test_a_shortcut_audit_has_its_table(folder):
    figure = {"value": 0.5, "interval": [0.4, 0.6]}
    names = ("whole_image", "lungs_blanked", "borders_only", "thumbnail", "own_lungs")
    report = {"dataset": "demo, test", "n": 60, "chance": 0.3333}
    report |= {"classes_from": dict.fromkeys(names, figure), "sources_from": None}
    report |= {"processed": {"sharpened": figure | {"rejected": 0.02}}}
    report |= {"frames": {"a tenth less": figure | {"sources": {"harbour": 0.25, "hill": 0.1}}}}
    write_json(folder / AUDIT, report | {"map_inside_lungs": figure | {"uniform": 0.25}})
    text = card.render(folder, "org/name").content
    assert "| class with the lungs blanked out | 0.500 (0.400 to 0.600) | 0.333 |" in text
    assert "| background swap: class of the lungs | 0.500" in text
    assert "background swap: class of the background" not in text  # of audits before 2026-11-23
    assert "| share of the heatmap inside the lungs | 0.500 (0.400 to 0.600) | 0.250 |" in text
    assert "| sharpened | 0.500 (0.400 to 0.600) | 0.020 |" in text
    assert "| a tenth less | 0.500 (0.400 to 0.600) | 0.250 (harbour) |" in text
    check_tables(text)


@pytest.mark.parametrize(
    "weights, phrase",
    [
        (None, "started from random weights"),
        ("imagenet", "EfficientNet-Lite0 (Google, Apache-2.0)"),
        ("/home/me/older.weights.h5", "the weights in `older.weights.h5`"),
    ],
)
def test_the_card_names_the_origin_of_the_first_weights(folder, weights, phrase):
    write_json(folder / PROVENANCE, {"starting_weights": weights})
    assert phrase in card.render(folder, "org/name").content


def test_the_card_names_the_origin_of_a_run_that_went_on(folder):
    first = {"starting_weights": "imagenet", "epochs": 16, "seconds": 3600}
    second = {"starting_weights": "a", "epochs": 9, "seconds": 3600, "continued_from": first}
    write_json(folder / PROVENANCE, second)
    text = card.render(folder, "org/name").content
    assert "went on from an earlier run: 16 epochs" in text
    assert "EfficientNet-Lite0 (Google, Apache-2.0)" in text
    assert "Training took 120.0 minutes" in text


def test_runs_behind_a_release_are_kept_once_however_they_are_told():
    first = {"epochs": 16}
    second = {"epochs": 14, "continued_from": first}  # as the first releases told it
    third = {"epochs": 11, "continued_from": [second, first]}
    runs, places = lineage.flatten([third, second, third])
    assert [run["epochs"] for run in runs] == [16, 14, 11]
    assert [run["continued_from"] for run in runs] == [[], [0], [1, 0]]
    assert places == [2, 1, 2]

    flat = {"epochs": 0, "continued_from": places, "earlier_runs": runs}
    last = {"epochs": 5, "continued_from": [flat, second]}
    runs, places = lineage.flatten([last])
    assert [run["epochs"] for run in runs] == [16, 14, 11, 0, 5]
    assert runs[-1]["continued_from"] == [3, 1]
    assert places == [4]


def test_the_card_shows_no_folder_of_the_machine_it_was_made_on(folder):
    command = "python train.py --data /home/me/secret/data --data=/home/me/ward7 --out runs/mine "
    command += "--weights /home/me/runs/first/checkpoint/best.npz"
    write_json(folder / PROVENANCE, {"command": command})
    text = card.render(folder, "org/name").content
    assert "python train.py --data data --data=ward7 --out runs/mine" in text
    assert "--weights first/checkpoint/best.npz" in text and "/home/me" not in text


def test_the_card_says_when_test_images_resemble_training_images(folder):
    for leaked in (0, 12):
        write_json(folder / PROVENANCE, {"test_images_in_training_groups": leaked})
        text = card.render(folder, "org/name").content
        assert ("**12 of them are of a patient" in text) == (leaked == 12)


@pytest.mark.parametrize(
    ("sources", "confounded", "within"),
    [
        (["aihealth", "bimcv", "nih", "rsna"], True, True),
        (["aihealth"], True, False),
        (["ieee", "actualmed"], True, False),
        (["aihealth", "clinic"], False, False),  # nothing is known of the clinic's classes
        (["nihon-university", "NIH"], False, False),  # other hospitals, whatever their names
    ],
)
def test_what_the_collections_confound_is_said_of_those_that_were_used(
    folder, sources, confounded, within
):
    config = ReleaseConfig.load(folder)
    config = dataclasses.replace(config, sources=sources, drawn_data=False)
    config.save(folder)
    text = card.render(folder, "org/name").content
    assert (
        "whether the model separates Covid from Normal, or one collection" in text
    ) == confounded
    assert ("two classes of adults within a collection is `nih`" in text) == within


def test_tables_are_whole(text):
    check_tables(text)


def check_tables(text):
    """Every row of a table has as many cells as its header."""
    lines = text.splitlines()
    for above, below in itertools.pairwise(lines):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|"), below


def test_nothing_of_the_template_is_left(text):
    prose = text.replace("[None]", "")
    assert not any(mark in prose for mark in ("{{ ", "{%", "None", "Undefined"))


def test_a_release_without_figures_says_that_it_has_none(folder):
    (folder / METRICS).unlink()
    rendered = card.render(folder, "org/name")
    assert "nothing is known of how good it is" in rendered.content
    assert rendered.data.eval_results is None


def test_a_card_can_be_rendered_before_there_is_a_repo(release):
    rendered = card.render(release).content
    assert card.PLACEHOLDER in rendered and "Not published yet." in rendered


def test_a_damaged_changelog_is_named(tmp_path):
    write_json(tmp_path / "changelog.json", {"entries": [{"surprise": 1}]})
    with pytest.raises(UserError, match=r"changelog.json is not valid: .*entries.0.fingerprint"):
        changelog.read_changelog(tmp_path / "changelog.json")


# === The code in the card ===


def test_there_is_code_for_every_way_of_loading(text):
    blocks = card.code_blocks(text)
    for phrase in (
        "from aihealth import Classifier",
        "from aihealth import from_pretrained_keras",
        'keras.saving.load_model("hf://',
        "keras.saving.load_model(snapshot_download(",
        "from huggingface_hub import from_pretrained_keras",
        "from handler import EndpointHandler",
    ):
        assert any(phrase in block for block in blocks), phrase


@pytest.mark.parametrize("number", range(6))
def test_the_code_runs_as_written(hub, release, text, number, tmp_path):
    """In a fresh process and an empty folder; that of older clients only in tests/loading."""
    block = card.code_blocks(text)[number]
    if NEEDS_OLD_HUB in block:
        ast.parse(block)
        return
    env = hub.env(PYTHONPATH=str(programs.ROOT), HF_HOME=str(tmp_path / "home"))
    printed = programs.works("-c", block, env=env, cwd=tmp_path, timeout=120)
    if "input_shape" in block:
        assert printed.split() == ["(None,", "32,", "32,", "3)", "(None,", "3)"]
        return
    answer = Classifier(release).predict(staging.example(32))
    if row := re.search(r"\[\[(.+)\]\]", printed):
        given, expected = map(float, row[1].split()), answer.probabilities.values()
        np.testing.assert_allclose(list(given), list(expected), atol=1e-3)
    else:
        assert answer.label in printed


def test_the_handler_answers_what_inference_endpoints_send(release):
    import base64
    import io

    from aihealth.publishing.handler import EndpointHandler

    handler = EndpointHandler(str(release))
    for label, level in BRIGHTNESS.items():
        image = grey_image(level)
        file = io.BytesIO()
        image.save(file, "PNG")
        text = base64.b64encode(file.getvalue()).decode()
        answers = [
            handler({"inputs": given})
            for given in (image, file.getvalue(), text, f"data:image/png;base64,{text}")
        ]
        assert answers[0][0]["label"] == label
        assert [row["score"] for row in answers[0]] == sorted(
            (row["score"] for row in answers[0]), reverse=True
        )
        assert np.isclose(sum(row["score"] for row in answers[0]), 1)
        assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    "request_body", [{}, {"inputs": "/etc/passwd"}, {"inputs": "%%%"}, {"inputs": b"no image"}]
)
def test_the_handler_refuses_what_is_no_image(release, request_body):
    from aihealth.publishing.handler import EndpointHandler

    with pytest.raises(ValueError, match="image"):
        EndpointHandler(str(release))(request_body)
