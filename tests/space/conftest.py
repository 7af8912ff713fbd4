"""The real app as a process, and a browser to look at it."""

import pytest

from tests.helpers.browsing import axe, browser, visit, windows  # noqa: F401 (fixtures)
from tests.helpers.space_app import ACCEPT, space_with
from tests.static.conftest import accepting, site  # noqa: F401 (fixtures)

UPLOADS_MB = 8  # of a visitor


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """A Space that answers for whatever it is shown."""
    limits = {"UPLOADS_PER_VISITOR_MB": str(UPLOADS_MB)}
    with space_with(tmp_path_factory.mktemp("space"), ACCEPT, **limits) as running:
        yield running


@pytest.fixture(scope="session")
def unsure_app(tmp_path_factory):
    """A Space that is never sure, and takes noise for no chest radiograph."""
    settings = ACCEPT | {"abstain_below": 1.0, "ood_threshold": 3.0}
    with space_with(tmp_path_factory.mktemp("space"), settings) as running:
        yield running
