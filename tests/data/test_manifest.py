"""The manifest of a prepared dataset, also one that somebody else made."""

import json

import pytest

from aihealth.data.manifest import MANIFEST, REPORT, Row, read_manifest, write_manifest
from aihealth.errors import UserError

ROW = Row("train/Normal/a.png", "train", "Normal", "north\u2028ward", "g", "0", 1)


@pytest.fixture
def prepared(tmp_path):
    (tmp_path / REPORT).write_text(json.dumps({}))
    write_manifest(tmp_path, [ROW])
    return tmp_path


def test_what_is_written_is_read_whatever_the_letters(prepared):
    assert read_manifest(prepared) == [ROW]


@pytest.mark.parametrize("file", ["../secret.png", "/etc/secret.png", "a/../../b.png", 3, None])
def test_a_manifest_cannot_name_files_elsewhere(prepared, file):
    line = json.loads((prepared / MANIFEST).read_text()) | {"file": file}
    (prepared / MANIFEST).write_text(json.dumps(line))
    with pytest.raises(UserError, match=r"is no name of a file in|is damaged"):
        read_manifest(prepared)
