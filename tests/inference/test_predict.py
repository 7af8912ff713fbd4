"""`python -m aihealth predict`, as its users run it."""

import csv
import dataclasses
import io
import json
import os
import shutil
import sys
import types

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from aihealth import __main__ as cli
from aihealth import answers, files, release
from aihealth.data import parallel
from aihealth.errors import UserError
from aihealth.inference import heatmaps, predict, writers
from tests.helpers import programs
from tests.helpers.image_files import make_dicom
from tests.helpers.releases import CLASSES, grey_image
from tests.helpers.space_answers import ANSWER, CONFIG, OTHER, UNSURE

STUB = types.SimpleNamespace(classes=CLASSES, config=CONFIG, name="org/name", revision="abc")


@pytest.fixture
def films(tmp_path):
    """Readable and unreadable files, in folders."""
    folder = tmp_path / "films"
    (folder / "ward").mkdir(parents=True)
    grey_image(60).save(folder / "dark.png")
    grey_image(180).save(folder / "ward" / "bright.jpg")
    dicom = make_dicom(np.asarray(grey_image(120)))
    (folder / "ward" / "IM0001").write_bytes(dicom)
    (folder / "ward" / "1.2.840.10008").write_bytes(dicom)
    (folder / "broken.png").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_bytes(b"not looked at")
    return folder


def run(*args, **options):
    return programs.run("-m", "aihealth", *args, **options)


def fails(*args):
    """Run in this process; the sentence."""
    return programs.sentence(cli.main, [str(arg) for arg in args])


def test_json_on_stdout_is_json_alone_and_a_bad_file_is_a_row(model, films):
    done = run("predict", "--model", model, "--format", "json", films, films / "nothing.png")
    rows = {os.path.basename(row["file"]): row for row in json.loads(done.stdout)}
    assert done.returncode == 1
    names = "broken.png dark.png 1.2.840.10008 IM0001 bright.jpg nothing.png"
    assert list(rows) == names.split()
    assert list(rows["dark.png"]) == [
        "file",
        "label",
        "probabilities",
        "abstained",
        "is_chest_radiograph",
        "ood_distance",
        "ood_threshold",
        "warning",
        "error",
        "model",
        "revision",
    ]
    assert rows["dark.png"]["label"] == "Covid"
    assert rows["bright.jpg"]["label"] == "Pneumonia"
    assert list(rows["dark.png"]["probabilities"]) == CLASSES
    assert sum(rows["dark.png"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert rows["dark.png"]["error"] is None
    assert rows["broken.png"]["label"] is None
    assert rows["broken.png"]["probabilities"] is None
    assert "not an image" in rows["broken.png"]["error"]
    assert rows["nothing.png"]["error"] == "there is no such file"
    assert "Traceback" not in done.stderr


def test_a_table_is_printed_by_default(model, films, capsys):
    cli.main(["predict", "--model", model, str(films / "dark.png"), str(films / "ward")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["answer", *CLASSES, "file"]
    assert lines[1].startswith("Covid")
    assert lines[1].endswith("dark.png")
    assert len(lines) == 1 + 4 + 1
    assert "Not a medical device" in lines[-1]


def written(model, films, out, *options):
    """What `predict` writes into a file."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(["predict", "--model", model, str(films), "--out", str(out), *options])
    assert exit_.value.code == 1
    return out


def test_csv_and_json_files_hold_the_same_rows(model, films, tmp_path, capsys):
    found = json.loads(written(model, films, tmp_path / "rows.json").read_text())
    table = written(model, films, tmp_path / "rows.txt", "--format", "csv")
    read = list(csv.DictReader(table.open(newline="")))
    assert [row["file"] for row in read] == [row["file"] for row in found]
    for line, row in zip(read, found, strict=True):
        assert line["label"] == (row["label"] or "")
        if row["probabilities"]:
            assert line["Normal"] == f"{row['probabilities']['Normal']:.6f}"
            assert line["is_chest_radiograph"] == "true"
        assert line["error"] == (row["error"] or "")
        assert line["model"] == "release"
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "rows.json", "rows.txt"]


def test_parquet_holds_the_same_rows(model, films, tmp_path):
    rows = written(model, films, tmp_path / "rows.json")
    table = pyarrow.parquet.read_table(written(model, films, tmp_path / "rows.parquet"))
    assert table.column_names == answers.columns(CLASSES)
    for row, given in zip(table.to_pylist(), json.loads(rows.read_text()), strict=True):
        shares = given.pop("probabilities") or dict.fromkeys(CLASSES)
        assert row == given | shares


@pytest.mark.parametrize("option", ["--json", "--csv", "--json=rows.json"])
def test_an_option_that_was_renamed_names_its_new_form(model, films, capsys, option):
    form = option[2:].partition("=")[0]
    said = fails("predict", "--model", model, films, option)
    assert f"--format {form}, or --out FILE.{form}" in said


def test_parquet_appears_only_when_it_is_whole(model, films, tmp_path, monkeypatch, capsys):
    def break_off(row, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writers.Parquet, "row", break_off)
    out = tmp_path / "rows.parquet"
    with pytest.raises(OSError, match="No space"):
        cli.main(["predict", "--model", model, str(films), "--out", str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["films"]


def test_output_goes_where_a_link_points_and_the_link_stays(tmp_path):
    (tmp_path / "shared").mkdir()
    link = tmp_path / "rows.csv"
    link.symlink_to(tmp_path / "shared" / "rows.csv")
    for text in ("first", "second"):
        with release.whole_file(link) as file:
            file.write(text)
        assert link.is_symlink() and link.read_text() == text
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["rows.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes")
def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with release.whole_file(pipe) as file:
            file.write("rows")
        assert os.read(reader, 10) == b"rows"
    finally:
        os.close(reader)
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_a_long_archive_is_written_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_ROW_GROUP", 4)
    with writers.writer("parquet", str(tmp_path / "rows.parquet"), STUB) as table:
        for index in range(10):
            table.row(answers.row(STUB, str(index), error="bad"))
        table.end("from elsewhere")
    written = pyarrow.parquet.ParquetFile(tmp_path / "rows.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(3)] == [4, 4, 2]
    assert written.metadata.metadata[b"shift_warning"] == b"from elsewhere"
    assert written.read().column("file").to_pylist() == [str(index) for index in range(10)]


def test_without_ray_its_engine_is_one_sentence(model, films, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    args = ("predict", "--model", model, "--engine", "ray", films / "dark.png")
    assert 'pip install ".[ray]"' in fails(*args)


def test_unsure_and_turned_away_have_no_label():
    out = io.StringIO()
    table = writers.Table(out, CLASSES)
    unsure = dataclasses.replace(UNSURE, warning="look")
    for name, prediction in (("unsure.png", unsure), ("hand.png", OTHER)):
        table.row(answers.row(STUB, name, prediction))
    lines = out.getvalue().splitlines()
    assert lines[1].startswith("not sure")
    assert lines[2].startswith("not a chest radiograph")
    assert lines[1].endswith("unsure.png: look")


@pytest.mark.skipif(sys.platform == "win32", reason="refuses such names")
def test_a_name_cannot_forge_a_line_or_send_the_terminal_a_command(model, tmp_path):
    name = "\x1b[2Jred.png\nNormal   0.99  b.png\u202egnp.x.png"
    grey_image(60).save(tmp_path / name)
    for form in ("table", "csv", "json"):
        done = run("predict", "--model", model, "--format", form, tmp_path, tmp_path / "\x1b.png")
        lines = [line for line in done.stdout.splitlines() if "red.png" in line]
        assert len(lines) == 1 and "Normal   0.99" in lines[0]
        assert not {"\x1b", "\u202e"} & set(done.stdout + done.stderr)
    done = run("predict", "--model", tmp_path / "\x1bno", tmp_path)
    assert r"\x1bno" in done.stderr and "\x1b" not in done.stderr


def test_images_of_another_hospital_are_noticed(hospital, tmp_path, capsys):
    for folder, level in (("own", 120), ("other", 150)):
        (tmp_path / folder).mkdir()
        for index in range(24):
            image = grey_image(level + index % 9 - 4)
            image.save(tmp_path / folder / f"{index}.png")
        cli.main(["predict", "--model", str(hospital), "--format", "csv", str(tmp_path / folder)])
        given = capsys.readouterr()
        rows = list(csv.DictReader(io.StringIO(given.out)))
        assert len(rows) == 24
        assert ("these 24 images differ" in given.err) == (folder == "other")
        assert ("these 24 images differ" in rows[-1]["shift_warning"]) == (folder == "other")
        assert not any(row["shift_warning"] for row in rows[:-1])


def test_the_sample_of_many_answers_is_small_and_fair():
    sample = predict._Sample(size=50)
    for position in range(1000):
        sample.add(dataclasses.replace(ANSWER, ood_score=position).without_pictures())
        sample.add(OTHER)
    kept = [answer.ood_score for answer in sample.answers]
    assert len(kept) == len(set(kept)) == 50
    assert 350 < np.mean(kept) < 650


def test_each_image_has_its_own_heatmap_in_the_folders_of_the_image(model, tmp_path, monkeypatch):
    names = ("a/film.png", "b/film.png", "a/b_c.png", "a_b/c.png", "a/b/c.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        grey_image(60).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    cli.main(["predict", "--model", model, "a", "./a_b/", "b", "--heatmaps", "maps"])
    maps = {path for path in (tmp_path / "maps").rglob("*") if path.is_file()}
    assert maps == {tmp_path / "maps" / f"{name}.Covid.png" for name in names}
    with Image.open(tmp_path / "maps" / "a" / "b_c.png.Covid.png") as picture:
        assert picture.size == (48, 48)
    monkeypatch.chdir(tmp_path / "a")
    inputs = ["../b/film.png", str(tmp_path / "a" / "film.png")]
    cli.main(["predict", "--model", model, *inputs, "--heatmaps", "../up"])
    assert (tmp_path / "up" / "_up" / "b" / "film.png.Covid.png").is_file()
    assert (tmp_path / "up" / "film.png.Covid.png").is_file()


def test_no_two_files_have_the_same_heatmap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a.png", "../a.png", "_up/a.png", "__up/a.png", "../_up/a.png", "/a.png", "b/a.png"]
    names += ["b/../c/a.png", "b_a.png", "hf://datasets/org/x@1/a.png", "x.parquet[1]"]
    places = {tuple(heatmaps.place(name, "Normal")) for name in names}
    assert len(places) == len(names)
    assert not any(".." in place for place in places)
    assert heatmaps.place(str(tmp_path / "b" / "a.png"), "Normal") == ["b", "a.png.Normal.png"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a/..", "", "x\0"])
def test_names_from_outside_do_not_lead_out_of_a_folder(tmp_path, name):
    with pytest.raises(UserError, match="is no name of a file in"):
        files.inside(tmp_path, name)
    assert files.inside(tmp_path, "a", "b.png") == tmp_path / "a" / "b.png"


def test_a_heatmap_of_a_file_far_down_has_a_name_that_fits(model, tmp_path):
    deep = tmp_path / ("ward" * 30) / ("bed" * 30)
    deep.mkdir(parents=True)
    name = "film" * 62 + ".png"
    grey_image(60).save(deep / name)
    maps = tmp_path / "maps"
    cli.main(["predict", "--model", model, str(deep / name), "--heatmaps", str(maps)])
    (written,) = (path for path in maps.rglob("*") if path.is_file())
    assert written.name.endswith("film.png.Covid.png")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_text_are_shown_with_escapes(model, tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    grey_image(60).save(os.fsdecode(name))
    done = run("predict", "--model", model, "--format", "json", tmp_path)
    assert json.loads(done.stdout)[0]["file"].endswith(r"caf\xe9.png")
    assert json.loads(done.stdout)[0]["label"] == "Covid"


def test_letters_that_the_terminal_lacks_are_shown_with_escapes(model, tmp_path):
    grey_image(60).save(tmp_path / "фильм.png")
    latin = {"env": os.environ | {"PYTHONIOENCODING": "latin-1"}}
    done = run("predict", "--model", model, tmp_path, **latin)
    assert (done.returncode, r"\u0444\u0438" in done.stdout) == (0, True)
    grey_image(60).save(tmp_path / "é😀.png")
    done = run("predict", "--model", model, "--format", "json", tmp_path, **latin)
    names = [os.path.basename(row["file"]) for row in json.loads(done.stdout)]
    assert names == ["é😀.png", "фильм.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(model, films):
    words = ("predict", "--model", model, films, "--format", "json")
    with open("/dev/full", "w") as full:
        done = run(*words, stdout=full)
    assert done.returncode != 0
    assert "no space left on the disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_overlay_tints_where_the_map_is_high_and_nothing_else():
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[:, 6:] = 1
    tinted = np.asarray(heatmaps.tinted(np.full((64, 64), 100, np.uint8), heatmap))
    assert (tinted[:, :16] == 100).all()
    red, _, blue = map(int, tinted[32, 60])
    assert red > blue + 50


def test_predict_loads_no_training_library(model, films):
    code = (
        "import sys; from aihealth import __main__ as cli; "
        "cli.main(['predict', '--model', sys.argv[1], sys.argv[2]]); "
        "loaded = {'tensorflow', 'keras', 'datasets', 'sklearn', 'scipy', 'matplotlib', 'gradio'}; "
        "print('LOADED', sorted(loaded & set(sys.modules)))"
    )
    assert "LOADED []" in programs.works("-c", code, model, films / "dark.png")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--format", "parquet", "{films}"], "add --out FILE.parquet"),
        (["--format", "xml", "{films}"], "invalid choice"),
        (["--out", "{films}", "{films}"], "is a folder"),
        (["--out", "{films}/none/rows.csv", "{films}"], "is no folder"),
        (["--heatmaps", "{films}/dark.png", "{films}"], "--heatmaps"),
        (["{empty}"], "has no images"),
        (["--data", "{empty}"], "has no images"),
        ([], "name a file or a folder"),
        (["--out", "{films}/none/rows.parquet", "{films}"], "is no folder"),
        (["--workers", "2", "{films}"], "--engine ray"),
        (["--engine", "ray", "--heatmaps", "maps", "{films}"], "--engine local"),
    ],
)
def test_bad_options_are_one_sentence(model, films, tmp_path, capsys, args, words):
    empty = tmp_path / "empty"
    empty.mkdir()
    args = [arg.format(films=films, empty=empty) for arg in args]
    assert words in fails("predict", "--model", model, *args)


def test_without_a_model_the_shipped_release_is_used(model, films, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(release, "CHECKOUT", tmp_path / "project")
    assert "--model is needed" in fails("predict", films / "dark.png")
    shutil.copytree(model, tmp_path / "project" / "release")
    cli.main(["predict", str(films / "dark.png")])
    assert "Covid" in capsys.readouterr().out


def test_no_such_model_is_one_sentence_without_traceback(films):
    done = run("predict", "--model", "no/such/folder", films / "dark.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_results_come_in_order_and_errors_come_through():
    assert list(parallel.in_order(lambda x: x * x, range(1000), "squares")) == [
        x * x for x in range(1000)
    ]
    with pytest.raises(ZeroDivisionError):
        list(parallel.in_order(lambda x: 1 // x, [1, 0], "reciprocals"))


def test_a_long_list_is_not_worked_off_ahead_of_its_reader():
    begun = []
    results = parallel.in_order(begun.append, range(10_000), "counting")
    next(results)
    results.close()
    assert len(begun) < 1000


@pytest.mark.parametrize("command", ["predict", "evaluate", "audit"])
def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    assert exit_.value.code == 0
    assert f"python -m aihealth {command} " in capsys.readouterr().out
