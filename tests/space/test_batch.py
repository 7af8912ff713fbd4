"""The Space's batches and archives, and what it forgets: uploads and answers of visitors."""

import csv
import io
import os
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aihealth import Classifier
from aihealth import __main__ as cli
from aihealth.images import MAX_BYTES
from tests.helpers.releases import SIZE
from tests.helpers.space_answers import ANSWER, CONFIG, OTHER, UNSURE, one_answer
from tests.helpers.space_app import SPACE, film, png, zip_of

import answers  # isort: skip (space/ is put on the path by tests.space_app)
import batch  # isort: skip
import privacy  # isort: skip
import render  # isort: skip

# === Batches ===


def write(folder, files):
    """The uploads of a batch."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [(name, str(folder / name)) for name in files]


def rows_of(folder, files):
    with batch.items(write(folder, files)) as images:
        return list(batch.rows(one_answer, images))


def test_files_and_archives_become_one_row_an_image(tmp_path):
    image = png(film(size=512))
    archive = zip_of({"a/1.png": image, "a/.hidden": b"", "__MACOSX/a/1.png": b"", "2": image})
    rows = rows_of(tmp_path, {"x.png": image, "y.zip": archive})
    assert [(row.name, row.upload) for row in rows] == [("x.png", 0), ("a/1.png", 1), ("2", 1)]
    for row in rows:
        assert row.prediction.pixels.shape == (96, 96) and row.prediction.heatmaps is None


IMAGE = png(film(size=32))
ONE = zip_of({"a.png": IMAGE})
INSIDE = "the file is damaged inside the ZIP archive"


def locked():
    data = bytearray(ONE)
    data[6] |= 1  # the flag in the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    return bytes(data)


def damaged_inside(way):
    data = bytearray(zip_of({"bad.png": IMAGE, "good.png": IMAGE}, way))
    data[60:260] = bytes(byte ^ 0xFF for byte in data[60:260])
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        (b"hello", ["this is not an image that can be read (PNG, JPEG, TIFF, DICOM)"]),
        (b"", ["the file is empty"]),
        (IMAGE[:200], ["the image is damaged or cut short"]),
        (zip_of({"bomb.png": bytes(MAX_BYTES + 1)}), ["the file has more than 50 MB"]),
        (zip_of({"in.zip": ONE, "b.png": IMAGE}), [batch.NESTED, None]),
        (ONE.replace(b"PK\x01\x02", b"xxxx"), ["the ZIP archive is damaged"]),
        (ONE[:60] + ONE[90:], [INSIDE]),
        (ONE.replace(b"a.png", b"b.png", 1), [INSIDE]),
        (zip_of({}), ["the ZIP archive has no file in it"]),
        (locked(), ["the file is locked with a password"]),
        *(
            (damaged_inside(way), [INSIDE, None])
            for way in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ),
    ],
)
def test_what_cannot_be_read_has_its_reason_and_costs_no_other_its_answer(tmp_path, data, errors):
    rows = rows_of(tmp_path, {"first": data, "last.png": IMAGE})
    assert [row.error for row in rows] == [*errors, None]
    assert len(data) < 100_000


def test_an_archive_that_unpacks_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_UNPACKED", 3000)
    files = {f"{number}.bin": bytes(1000) for number in range(20)}
    rows = rows_of(tmp_path, {"big.zip": zip_of(files)})
    left = rows[4:]
    assert [row.left_out for row in rows] == [False] * 4 + [True] * 16
    assert {row.error for row in left} == {batch.TOO_LARGE} and left[-1].name == "19.bin"


def test_images_beyond_the_limit_are_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_IMAGES", 3)
    files = {f"{number}.png": b"" for number in range(4)}
    rows = rows_of(tmp_path, files | {"z.zip": zip_of({"in/5.png": b"", "in/6.png": b""})})
    assert [row.name for row in rows if row.left_out] == ["3.png", "in/5.png", "in/6.png"]
    assert {row.error for row in rows if row.left_out} == {batch.TOO_MANY}
    html = render.table(rows, CONFIG.classes, "en")
    assert "Images left out (3):" in html and "<li>in/6.png</li>" in html
    assert html.count("<tr class=") == 3


def test_an_archive_of_very_many_entries_is_not_opened(tmp_path, monkeypatch):
    data = zip_of({f"{number}.png": b"" for number in range(21)})
    fewer = data.replace((21).to_bytes(2, "little") * 2, (1).to_bytes(2, "little") * 2)
    assert fewer != data  # The number that an archive gives says nothing.
    uploads = write(tmp_path, {"many.zip": fewer, "last.png": IMAGE})
    monkeypatch.setattr(batch, "MAX_ENTRIES", 21)
    with batch.items(uploads) as images:
        assert len(images) == 22
    monkeypatch.setattr(batch, "MAX_ENTRIES", 20)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("opened"))
    with batch.items(uploads) as images:
        rows = list(batch.rows(one_answer, images))
    assert [row.error for row in rows] == [batch.TOO_MANY_ENTRIES, None]


def test_an_archive_is_closed_when_its_batch_is_answered(tmp_path):
    with batch.items(write(tmp_path, {"z.zip": ONE})) as images:
        assert images[0].read() == IMAGE
    with pytest.raises(batch.ImageError, match=INSIDE):
        images[0].read()


def test_zip_entries_are_never_written_to_the_disk(tmp_path, monkeypatch):
    for name in ("extract", "extractall"):
        monkeypatch.setattr(zipfile.ZipFile, name, lambda *_, **__: pytest.fail("unpacked"))
    (row,) = rows_of(tmp_path, {"z.zip": zip_of({"../../evil.png": IMAGE})})
    assert row.prediction is not None and list(tmp_path.iterdir()) == [tmp_path / "z.zip"]


# === What is made of them ===


def test_csv_has_a_line_an_image_and_no_formulas():
    stub = types.SimpleNamespace(
        classes=CONFIG.classes, config=CONFIG, name="org/name", revision="abc"
    )
    rows = [batch.Row("=cmd|x.png", ANSWER), batch.Row("b.png", error="the file is empty")]
    lines = list(csv.DictReader(io.StringIO(batch.to_csv(rows, stub, "from elsewhere"))))
    assert [line["file"] for line in lines] == ["'=cmd|x.png", "b.png"]
    assert lines[0]["label"] == "Pneumonia" and lines[0]["Pneumonia"] == "0.972000"
    assert (lines[0]["abstained"], lines[0]["is_chest_radiograph"]) == ("false", "true")
    assert (lines[0]["ood_distance"], lines[0]["ood_threshold"]) == ("0.5000", "2.0000")
    assert (lines[0]["model"], lines[0]["revision"]) == ("org/name", "abc")
    assert lines[1]["Covid"] == "" and lines[1]["error"] == "the file is empty"
    assert lines[1]["shift_warning"] == "from elsewhere"


def test_the_csv_is_the_one_of_the_command_line(hospital, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for index in range(21):
        (tmp_path / f"{index:02d}.png").write_bytes(png(film(size=32)))
    (tmp_path / "broken.png").write_bytes(b"not an image")
    uploads = [(path.name, str(path)) for path in sorted(tmp_path.glob("*.png"))]
    served = types.SimpleNamespace(name="x", classifier=Classifier(hospital), problem=None)
    told = answers.Answers(served, 1)
    with batch.items(uploads) as images:
        rows = list(told._rows(images))
    warning = served.classifier.shift(row.prediction for row in rows if row.prediction).warning
    with pytest.raises(SystemExit):
        cli.main(["predict", "--model", str(hospital), "--format", "csv", *dict(uploads)])
    assert batch.to_csv(rows, served.classifier, warning) == capsys.readouterr().out


def test_the_table_counts_each_kind_of_answer():
    rows = [
        batch.Row("a", ANSWER),
        batch.Row("b", UNSURE),
        batch.Row("c", OTHER),
        batch.Row("d", error="damaged"),
    ]
    html = render.table(rows, CONFIG.classes, "en")
    assert "1 answered, 1 not sure, 1 not a chest radiograph, 1 unreadable" in html


def test_the_page_says_that_many_images_come_from_elsewhere(hospital, tmp_path):
    classifier = Classifier(hospital)
    page = answers.Answers(types.SimpleNamespace(classifier=classifier, problem=None), threads=1)
    for level, told in ((120, False), (150, True)):
        files = {
            f"{index}.png": png(np.full((SIZE, SIZE), level + index % 9 - 4, np.uint8))
            for index in range(20)
        }
        uploads = [{"orig_name": name, "path": path} for name, path in write(tmp_path, files)]
        *steps, last = page.show_batch(uploads, "en")
        assert ("these 20 images differ" in last["html"]) == told
        assert all(step["total"] == 20 for step in steps)
    *_, last = page.show_batch(uploads[:19], "en")
    assert "images differ" not in last["html"]


# === Clean-up ===


def test_old_uploads_go_and_young_ones_stay(tmp_path):
    old, young = tmp_path / "hash1" / "old.png", tmp_path / "hash2" / "young.png"
    for path in (old, young):
        path.parent.mkdir()
    old.write_bytes(b"1")
    os.utime(old, (time.time() + 1e6,) * 2)  # a client's clock must not save it
    time.sleep(0.3)
    young.write_bytes(b"1")
    privacy.sweep(tmp_path, 0.2)
    assert not old.exists() and young.exists()
    time.sleep(0.3)
    privacy.sweep(tmp_path, 0.2)
    privacy.sweep(tmp_path, -1)
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_spaces_go_at_the_next_start_and_those_of_live_ones_stay(
    tmp_path, monkeypatch
):
    code = (
        "import privacy; f = privacy.use_private_folder(); (f / 'film').touch(); print(f); input()"
    )
    spaces = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=SPACE,
            env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    killed, live, ended = (Path(space.stdout.readline().strip()) for space in spaces)
    other = tmp_path / "aihealth-of-something-else"
    other.mkdir()
    spaces[0].kill()
    spaces[0].wait()
    spaces[2].communicate("\n")
    assert killed.exists() and not ended.exists()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    mine = privacy.use_private_folder()
    privacy.remove_left_behind(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([live, other, mine])
    assert (live / "film").exists()
    spaces[1].communicate("\n")
    assert not live.exists()
