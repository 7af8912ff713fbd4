import json
import sys

import pytest

from benchmarks.__main__ import NAMES, main
from benchmarks.harness import alternate, check_same, environment, rows
from tests.helpers import chromium
from tests.helpers.programs import run


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One folder for all, so that the original's 606 MB are built once."""
    return tmp_path_factory.mktemp("benchmarks")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_runs_alone_and_writes_its_tables(name, work, capsys, monkeypatch):
    if name == "first_paint":
        pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
        if not chromium.installed():
            pytest.skip("no Chromium to measure with")
    words = ["benchmarks", name, "--quick", "--work", str(work), "--json", str(work)]
    monkeypatch.setattr(sys, "argv", words)
    main()  # In this process, where TensorFlow is loaded once for all.
    printed = capsys.readouterr().out
    report = json.loads((work / f"{name}.json").read_text())
    assert report["quick"] and report["tables"]
    for table in report["tables"]:
        assert table["title"] in printed
        assert any(row["value"] for row in table["rows"])


def test_an_unknown_name_is_refused():
    process = run("-m", "benchmarks", "nothing")
    assert process.returncode == 2 and "nothing" in process.stderr


def test_alternatives_take_turns_and_the_first_turn_is_thrown_away():
    turns = []
    values = alternate(
        {name: lambda name=name: turns.append(name) or len(turns) for name in "ab"}, rounds=2
    )
    assert turns == list("ababab")
    assert values == {"a": [3, 5], "b": [4, 6]}


def test_ratios_say_how_many_times_better_the_first_row_is():
    slower = rows({"ours": [1.0, 2.0, 3.0], "theirs": [4.0, 8.0, 30.0]})
    assert [row.ratio for row in slower] == [1.0, 4.0]
    assert (slower[1].value, slower[1].low, slower[1].high) == (8.0, 4.0, 30.0)
    fewer = rows({"ours": [10.0], "theirs": [5.0]}, larger_is_better=True)
    assert fewer[1].ratio == 2.0


def test_answers_that_differ_are_not_compared_in_speed():
    assert check_same([0.5, 0.5], [0.5, 0.5004]) < 1e-3
    with pytest.raises(RuntimeError, match="differ"):
        check_same([0.5, 0.5], [0.6, 0.4])


def test_processes_are_measured_in_an_environment_that_keeps_bytecode():
    assert "PYTHONDONTWRITEBYTECODE" not in environment()
    assert environment({"A": "1"})["A"] == "1"
