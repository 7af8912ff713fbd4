"""The page that never uploads, written once, and its engine in a real browser."""

import shutil

import pytest

from aihealth.errors import UserError
from aihealth.publishing import static_page
from tests.helpers.engine import opened
from tests.helpers.space_app import RELEASE


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the page with the shipped release."""
    try:
        return static_page.write_page(str(RELEASE), str(tmp_path_factory.mktemp("page") / "site"))
    except UserError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(f"no packages to test with: {error}")


@pytest.fixture(scope="module")  # Playwright keeps an event loop running in this thread meanwhile.
def engine(site):
    """The engine, its model open."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium to test with")
    with opened(site) as engine:
        yield engine
