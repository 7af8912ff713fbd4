"""A full disk: one sentence, status 2, and nothing half-written, in each command that writes.

A limit on the size of files stands for the disk: the system then answers EFBIG where it would
answer ENOSPC or EDQUOT, and `errors` has a sentence for each of them.
"""

import errno
from pathlib import Path

import pytest
from PIL import Image

from aihealth import errors
from tests.helpers import programs
from tests.helpers.image_files import RAMP
from tests.helpers.space_app import RELEASE, film

resource = pytest.importorskip("resource")


def run(*words, limit=None):
    """Run a command line with a limit on what a file may hold, bytes."""

    def shrink_the_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return programs.run(*words, preexec_fn=shrink_the_disk if limit is not None else None)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for label in ("Normal", "Covid", "Pneumonia"):
        (folder / label).mkdir()
        for number in range(24):
            source = "north" if number % 2 else "harbour"
            path = folder / label / f"{source}_{number:04}_1.png"
            Image.fromarray(film(number, label)).save(path)
    return folder


@pytest.fixture(scope="module")
def prepared(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "data"
    programs.works("-m", "data_prep", "prepare", images, "--out", out, "--source-from-name")
    return out


COMMANDS = {
    "predict, CSV": "-m aihealth predict --model {release} {images} --out {out}.csv",
    "predict, JSON": "-m aihealth predict --model {release} {images} --out {out}.json",
    "predict, Parquet": "-m aihealth predict --model {release} {images} --out {out}.parquet",
    "predict, heatmaps": "-m aihealth predict --model {release} {images} --heatmaps {out}",
    "evaluate": "-m aihealth evaluate --model {release} --data {prepared} --out {out}",
    "audit": "-m aihealth audit --model {release} --data {prepared} --out {out}",
    "page": "-m aihealth page --model {release} --out {out}",
    "leave-one-source-out": "-m aihealth leave-one-source-out --data {prepared} --out {out} -- "
    "--arch baseline --size 32 --epochs 1 --steps 2",
    "train, checkpoint": "train.py --data {prepared} --out {out} --arch baseline --size 32 "
    "--epochs 1 --steps 2",
    "train, release": "train.py --data {prepared} --out {out} --epochs 0 --weights {release}",
    "push, model": "push_to_hub.py model --release {release} --repo-id org/full --dry-run",
    "push, data": "push_to_hub.py dataset --data {prepared} --repo-id org/full --dry-run",
    "draw": "-m data_prep demo --out {out} --images-per-class 12",
    "inspect": "-m data_prep inspect {images} --json {out}.json",
    "prepare": "-m data_prep prepare {images} --out {out}",
    "compose": "-m data_prep compose --lungs {images} --radiographs {images}/Normal "
    "--masks {images}/Covid --out {out}",
}


SLOW = ("leave-one-source-out", "train, checkpoint", "train, release")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in COMMANDS],
)
def test_a_full_disk_is_one_sentence_and_nothing_half_written(name, images, prepared, tmp_path):
    places = {"release": RELEASE, "images": images, "prepared": prepared, "out": tmp_path / "out"}
    done = run(*COMMANDS[name].format(**places).split(), limit=100)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "larger than is allowed here" in last
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [], "half-written"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_each_kind_of_full_disk_has_its_sentence(number, capsys):
    def full():
        raise OSError(number, "full", "runs/mine")

    with pytest.raises(SystemExit) as end:
        errors.run_cli(full)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: runs/mine: ")


def test_a_device_that_is_full(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no such device here")
    path = tmp_path / "film.png"
    Image.fromarray(RAMP).save(path)
    answers = tmp_path / "answers.csv"
    answers.symlink_to("/dev/full")
    done = run("-m", "aihealth", "predict", "--model", RELEASE, path, "--out", answers)
    assert done.returncode == 2 and "no space left" in done.stderr
    assert "Traceback" not in done.stderr
