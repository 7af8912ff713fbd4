"""Figures and intervals, against scikit-learn and numbers by hand."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from aihealth.evaluation import figures, intervals
from aihealth.evaluation.calibration import expected_calibration_error
from aihealth.evaluation.metrics import evaluate_predictions, paired_bootstrap_difference
from tests.helpers.samples import CLASSES, sample


def one_hot(indices):
    return np.eye(3)[np.asarray(indices)]


# === Figures ===


def test_figures_agree_with_scikit_learn():
    y, p = sample()
    called = p.argmax(1)
    block = evaluate_predictions(y, p, CLASSES, draws=20)
    recall = reference.recall_score(y, called, average=None)
    precision = reference.precision_score(y, called, average=None)
    assert block["accuracy"] == pytest.approx(reference.accuracy_score(y, called), abs=1e-6)
    assert block["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(y, called), abs=1e-6
    )
    assert list(block["recall"].values()) == pytest.approx(recall, abs=1e-6)
    assert block["confusion"]["counts"] == reference.confusion_matrix(y, called).tolist()
    for index, name in enumerate(CLASSES):
        of_class = block["per_class"][name]
        specificity = reference.recall_score(y == index, called == index, pos_label=False)
        assert of_class["sensitivity"] == pytest.approx(recall[index], abs=1e-6)
        assert of_class["precision"] == pytest.approx(precision[index], abs=1e-6)
        assert of_class["specificity"] == pytest.approx(specificity, abs=1e-6)
        area = reference.roc_auc_score(y == index, p[:, index])
        assert of_class["auroc"] == pytest.approx(area, abs=1e-6)


def test_auroc_counts_ties_one_half():
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    block = evaluate_predictions(y, p, ["a", "b"], draws=5)
    assert block["per_class"]["a"]["auroc"] == 0.875  # 3 pairs won, 1 tied


def test_counts_by_hand():
    y = np.array([0, 0, 0, 1, 1, 2])
    block = evaluate_predictions(y, one_hot([0, 0, 1, 1, 1, 0]), CLASSES, draws=5)
    assert block["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert block["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-6)
    assert block["called"]["Covid"] == {"Covid": 0.666667, "Normal": 0.333333, "Pneumonia": 0.0}
    assert block["per_class"]["Pneumonia"]["precision"] is None  # never called
    assert block["per_class"]["Covid"]["n"] == 3


def test_balanced_accuracy_is_over_the_classes_that_are_present():
    block = evaluate_predictions([0, 0, 1, 1], one_hot([0, 0, 1, 2]), CLASSES, draws=50)
    assert block["balanced_accuracy"] == 0.75
    assert block["recall"]["Pneumonia"] is None
    assert block["per_class"]["Pneumonia"]["auroc"] is None
    assert block["intervals"]["recall"]["Pneumonia"] is None


def test_abstentions_and_rejections_count_at_the_top_and_not_in_answered():
    y = np.array([0, 0, 1, 1, 2, 2])
    p = one_hot([0, 1, 1, 0, 2, 2])
    abstained = np.array([False, True, False, False, False, False])
    rejected = np.array([False, False, False, True, False, False])
    block = evaluate_predictions(y, p, CLASSES, abstained=abstained, rejected=rejected, draws=20)
    assert block["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert (block["abstained"], block["rejected"]) == (0.166667, 0.166667)
    assert block["answered"]["n"] == 4
    assert block["answered"]["share"] == 0.666667
    assert block["answered"]["accuracy"] == 1
    assert block["outcomes"]["Normal"] == {
        "Covid": 0,
        "Normal": 0.5,
        "Pneumonia": 0,
        "abstained": 0,
        "rejected": 0.5,
    }


def test_when_nothing_is_answered_the_figures_are_null():
    y, p = sample(30)
    block = evaluate_predictions(y, p, CLASSES, abstained=np.ones(30, bool), draws=5)
    assert block["answered"]["n"] == 0
    assert block["answered"]["balanced_accuracy"] is None
    assert block["answered"]["intervals"]["ece"] is None


def test_each_source_has_the_figures_of_its_own_samples():
    y, p = sample()
    sources = np.where(np.arange(len(y)) % 3, "north", "south")
    block = evaluate_predictions(y, p, CLASSES, sources=sources, draws=50)
    alone = evaluate_predictions(y[sources == "south"], p[sources == "south"], CLASSES, draws=50)
    assert list(block["per_source"]) == ["north", "south"]
    assert block["per_source"]["south"] == {k: v for k, v in alone.items() if k != "dataset"}


def test_the_block_is_plain_json_without_nan():
    y, p = sample(40)
    block = evaluate_predictions(y[y < 2], p[y < 2], CLASSES, sources=y[y < 2], draws=10)
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([], np.zeros((0, 3))),
        ([0, 1], np.ones((2, 2))),
        ([0, 3], np.ones((2, 3))),
        ([0], np.ones(3)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(y, p):
    with pytest.raises(ValueError, match=r"sample|shape|outside"):
        evaluate_predictions(y, p, CLASSES)


# === Bootstrap ===


def test_the_same_seed_gives_the_same_intervals():
    y, p = sample(200)
    blocks = [evaluate_predictions(y, p, CLASSES, draws=100, seed=s) for s in (1, 1, 2)]
    assert blocks[0] == blocks[1]
    assert blocks[0]["intervals"] != blocks[2]["intervals"]


def test_intervals_cover_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        y = rng.integers(0, 3, 150)
        right = rng.random(150) < 0.7
        block = evaluate_predictions(y, one_hot((y + ~right) % 3), CLASSES, draws=300)
        low, high = block["intervals"]["accuracy"]
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_images_of_one_group_count_as_one():
    y, p = sample(60)
    copies = [np.repeat(part, 10, axis=0) for part in (y, p)]
    plain = evaluate_predictions(y, p, CLASSES)["intervals"]["accuracy"]
    grouped = evaluate_predictions(*copies, CLASSES, groups=np.repeat(np.arange(60), 10))
    naive = evaluate_predictions(*copies, CLASSES)["intervals"]["accuracy"]
    assert grouped["groups"] == 60
    assert grouped["intervals"]["accuracy"] == pytest.approx(plain, abs=1e-6)
    assert np.ptp(naive) < np.ptp(plain) / 2


@pytest.mark.parametrize("groups", [1, 2, intervals.MIN_GROUPS - 1, intervals.MIN_GROUPS])
def test_few_groups_have_no_interval(groups):
    y, p = sample(40)
    names = np.arange(40) % groups
    block = evaluate_predictions(y, p, CLASSES, groups=names, draws=50)
    few = groups < intervals.MIN_GROUPS
    assert (block["intervals"]["accuracy"] is None) == few
    paired = paired_bootstrap_difference(y, p, p, groups=names, draws=50)
    assert (paired["interval"] is None) == few


def test_a_class_of_few_groups_has_no_interval_of_its_own():
    y, p = sample(60)
    groups = np.where(y == 0, np.arange(60) % 3, 3 + np.arange(60))
    block = evaluate_predictions(y, p, CLASSES, groups=groups, draws=50)
    recall = block["intervals"]["recall"]
    assert recall["Covid"] is None and recall["Normal"] and block["intervals"]["accuracy"]


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = intervals.mean_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert intervals.mean_interval([np.nan, 1.0]) is None


def test_many_groups_are_resampled_in_blocks_with_the_same_result(monkeypatch):
    y, p = sample(100)
    whole = evaluate_predictions(y, p, CLASSES, draws=50)
    monkeypatch.setattr(intervals, "_CHUNK", 700)
    assert evaluate_predictions(y, p, CLASSES, draws=50) == whole


# === Comparing two models ===


def test_a_better_model_is_seen_as_better():
    y, bad = sample(400, skill=0.5)
    _, good = sample(400, skill=3)
    paired = paired_bootstrap_difference(y, good, bad)
    assert paired["difference"] == pytest.approx(paired["value"] - paired["other"], abs=1e-5)
    assert paired["interval"][0] > 0


def test_pairing_makes_the_difference_of_a_model_from_itself_zero():
    y, p = sample(100)
    paired = paired_bootstrap_difference(y, p, p, figure="ece")
    assert paired["difference"] == 0
    assert paired["interval"] == [0, 0]


# === Figures on disk ===


def test_figures_are_small_and_the_same_every_time(tmp_path):
    y, p = sample(1000)
    first = figures.write_all(tmp_path / "a", y, p, CLASSES, dataset="drawn, test")
    second = figures.write_all(tmp_path / "b", y, p, CLASSES, dataset="drawn, test")
    names = ["confusion_matrix.png", "roc.png", "reliability.png", "risk_coverage.png"]
    assert [path.name for path in first] == names
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size < 60_000
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)


def test_figures_can_be_drawn_when_a_class_is_absent(tmp_path):
    y = np.zeros(10, int)
    assert len(figures.write_all(tmp_path, y, one_hot(y), CLASSES, dataset="one class")) == 4


def test_what_is_left_out_has_a_line_for_each_source(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.update({path.name: figure}))
    y, p = sample(600)
    sources = np.repeat(["north", "south"], 300)
    figures.write_left_out(tmp_path, y, p, sources)
    reliability, errors = (
        drawn[f"left_out_{name}.png"].axes[0] for name in ("reliability", "risk_coverage")
    )
    legend = [text.get_text() for text in reliability.get_legend().get_texts()]
    expected = expected_calibration_error(p[:300], y[:300])
    assert legend[0] == f"north (ECE {expected:.3f})" and legend[1].startswith("south")
    for line, source in zip(errors.lines, ("north", "south"), strict=True):
        here = sources == source
        assert line.get_label() == source
        wrong = (p[here].argmax(1) != y[here]).mean()
        assert line.get_data()[1][-1] == pytest.approx(wrong)


@pytest.mark.parametrize(
    "history",
    [
        {
            "loss": [1.0, 0.5],
            "val_loss": [1.1, 0.7],
            "accuracy": [0.5, 0.8],
            "learning_rate": [1, 1],
        },
        {"loss": [1.0]},
        {"loss": [1.0], "val_loss": [1.2], "val_balanced_accuracy": [0.4]},
    ],
)
def test_training_curves_take_what_the_history_has(tmp_path, history):
    path = figures.save(figures.training_figure(history), tmp_path / "curves.png")
    assert 1_000 < path.stat().st_size < 60_000


def test_a_share_of_none_or_of_all_still_has_an_interval():
    y, p = np.arange(300) % 3, np.eye(3)[np.arange(300) % 3]
    block = evaluate_predictions(y, p, CLASSES, groups=np.arange(300) // 2, draws=20)
    low, high = stats.binomtest(0, 150).proportion_ci(method="wilson")
    assert block["intervals"]["rejected"] == pytest.approx([low, high], abs=1e-4)
    assert block["intervals"]["accuracy"] == pytest.approx([1 - high, 1], abs=1e-4)
    of_class = stats.binomtest(100, 100).proportion_ci(method="wilson")
    assert block["intervals"]["recall"]["Covid"] == pytest.approx(list(of_class), abs=1e-4)
    assert block["intervals"]["ece"] == [0, 0]
