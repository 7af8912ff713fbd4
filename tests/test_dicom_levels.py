"""Grey levels of the DICOM files that come with pydicom, as another program reads them."""

import json

import numpy as np
import pytest

from aihealth.images import decode
from tests.helpers.foreign_levels import EXPLAINED, LEVELS, blocks
from tests.helpers.image_files import DICOM_FILES

FOREIGN = json.loads(LEVELS.read_text())


@pytest.mark.parametrize("name", sorted(FOREIGN.keys() - EXPLAINED.keys()))
def test_grey_levels_agree_with_simpleitk(name):
    found = blocks(decode(DICOM_FILES / name))
    assert np.abs(np.subtract(found, FOREIGN[name])).max() <= 1, name


def test_few_files_are_read_otherwise():
    assert EXPLAINED.keys() <= FOREIGN.keys()
    assert len(FOREIGN) > 70
