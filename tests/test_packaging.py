"""What `pip install .` gives, and each extra: a wheel is built, and its commands are run."""

import json
import os
import re
import tomllib

import numpy as np
import pytest
from packaging.requirements import Requirement

from aihealth import errors
from tests.helpers import programs
from tests.helpers.image_files import make_dicom
from tests.helpers.installed import build_wheel, install
from tests.helpers.programs import ROOT
from tests.helpers.releases import copy_release, grey_image, make_dataset

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def work(release, tmp_path_factory):
    """Far from the checkout: a release, a data set, a picture and a DICOM file."""
    folder = tmp_path_factory.mktemp("work")
    copy_release(release, folder / "release")
    make_dataset(folder / "prepared")
    grey_image(60).save(folder / "dark.png")
    (folder / "scan.dcm").write_bytes(make_dicom(np.asarray(grey_image(120))))
    return folder


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Makes the environment of an extra, once."""
    made = {}

    def make(extra):
        if extra not in made:
            made[extra] = install(wheel, tmp_path_factory.mktemp(extra or "bare") / "venv", extra)
        if made[extra] is None:
            pytest.skip(f"the packages of [{extra}] are not installed here")
        return made[extra]

    return make


def run(python, folder, *words, **more):
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    variables |= more
    return programs.run(*words, python=python, cwd=folder, env=variables)


def sentence(done):
    """The one sentence of a command that refuses."""
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    return last


def command(environment, work, *words, extra=None):
    """Run the `aihealth` command of an environment."""
    return run(environment(extra).with_name("aihealth"), work, *words)


@pytest.mark.parametrize("words", [["-m", "aihealth"], []])
def test_a_plain_install_predicts_and_says_nothing_else(environment, work, words):
    python = environment(None)
    program = python if words else python.with_name("aihealth")
    options = ["predict", "--model", "release", "--format", "json", "dark.png"]
    done = run(program, work, *words, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["label"] == "Covid"


def test_without_its_extra_dicom_is_a_row_that_names_it(environment, work):
    done = command(environment, work, "predict", "--model", "release", "scan.dcm")
    assert done.returncode == 1
    assert re.search(r'pip install "aihealth\[dicom\] @ git\+https://', done.stdout)
    done = command(environment, work, "predict", "--model", "release", "scan.dcm", extra="dicom")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("evaluate --model release --data prepared --out out", "train"),
        ("audit --model release --data prepared --out out", "train"),
        ("leave-one-source-out --data prepared --out out", "train"),
        ("predict --model release --engine ray dark.png", "ray"),
        ("predict --model release --out rows.parquet dark.png", "pyarrow"),
    ],
)
def test_without_its_extra_a_command_names_it(environment, work, words, extra):
    said = sentence(command(environment, work, *words.split()))
    assert f"aihealth[{extra}]" in said or f"pip install {extra}" in said
    assert not (work / "rows.parquet").exists()


@pytest.mark.parametrize("words", ["predict dark.png", "evaluate --data prepared --out out"])
def test_what_needs_the_checkout_says_so(environment, work, words):
    said = sentence(command(environment, work, *words.split()))
    assert "--model is needed" in said and "checkout" in said


@pytest.mark.parametrize(
    "words",
    [
        "train.py --data {work}/prepared --out {work}/run",
        "push_to_hub.py dataset --data {work}/prepared --repo-id org/data --dry-run",
    ],
)
def test_a_script_of_the_checkout_names_the_extra_as_it_is_installed_there(
    environment, work, words
):
    done = run(environment(None), ROOT, *words.format(work=work).split())
    assert 'pip install ".[train]"' in sentence(done)


@pytest.mark.slow
def test_with_its_extra_training_data_is_prepared_and_measured(environment, work):
    python = environment("train")
    for words in (
        "data_prep demo --out drawn --images-per-class 12",
        "data_prep inspect drawn",
        "data_prep prepare drawn --out data",
        "aihealth evaluate --model release --data data --out measured",
    ):
        done = run(python, work, "-m", *words.split())
        assert done.returncode == 0, done.stderr
        assert "cuda" not in done.stderr.lower() and "INFO" not in done.stderr
    assert (work / "measured" / "metrics.json").is_file()
    done = command(
        environment, work, "leave-one-source-out", "--data", "data", "--out", "x", extra="train"
    )
    assert "checkout" in sentence(done) or "clone" in sentence(done)


def test_without_its_extra_the_page_names_it(environment, work):
    done = run(environment(None), work, ROOT / "space" / "app.py")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: this needs gradio, which is not installed: pip install")


def test_with_its_extra_the_page_can_be_built(environment, work):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import app; print('built')"
    done = run(environment("space"), work, "-c", code, ROOT / "space")
    assert "built" in done.stdout, done.stderr


@pytest.mark.skipif("AIHEALTH_FRESH" not in os.environ, reason="minutes: AIHEALTH_FRESH=1")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("extra", "words", "backend"),
    [
        ("ray", "-m aihealth predict --model release --engine ray --workers 1 dark.png", ""),
        ("jax", f"{ROOT}/train.py --data prepared --out run --size 32 --epochs 1", "jax"),
    ],
)
def test_what_pip_brings_for_an_extra_is_enough(wheel, work, tmp_path, extra, words, backend):
    programs.works("-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    programs.works("-m", "pip", "install", "-q", f"{wheel}[{extra}]", python=python)
    done = run(python, work, *words.split(), **({"KERAS_BACKEND": backend} if backend else {}))
    assert done.returncode == 0, done.stderr
    assert "Covid" in done.stdout if extra == "ray" else (work / "run" / "release").is_dir()


def test_requirements_txt_is_what_the_extras_ask_for():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").open()]
    listed = {str(Requirement(line)) for line in lines if line}
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *extras["dicom"], *extras["train"], *extras["space"]]
    asked = {str(Requirement(line)) for line in asked if not line.startswith("aihealth[")}
    assert asked <= listed


def test_a_missing_package_names_its_own_extra_and_a_fault_of_ours_stays_one():
    said = r'pip install "\.\[dicom\]"'
    with pytest.raises(errors.UserError, match=said), errors.needs("train"):
        raise ModuleNotFoundError("no", name="pydicom.pixels")
    with pytest.raises(ModuleNotFoundError), errors.needs("train"):
        raise ModuleNotFoundError("no", name="aihealth.nothing")
