"""The page that never uploads, written once, and its engine in a real browser."""

import contextlib
import shutil
import types

import pytest

from aihealth import release
from aihealth.errors import UserError
from aihealth.publishing import static_page
from tests.helpers import chromium
from tests.helpers.browsing import axe, browser, visit, windows  # noqa: F401 (fixtures)
from tests.helpers.engine import opened, served
from tests.helpers.space_app import ACCEPT, RELEASE


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the page with the shipped release."""
    try:
        return static_page.write_page(str(RELEASE), str(tmp_path_factory.mktemp("page") / "site"))
    except UserError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(f"no packages to test with: {error}")


@contextlib.contextmanager
def page_with(site, folder, **settings):
    """The page on 127.0.0.1, with other thresholds, so that the kind of its answers is known."""
    shutil.copytree(site, folder)
    if settings:  # The worker that keeps the page takes no file that has changed since.
        config = folder / "model" / release.CONFIG
        release.write_json(config, release.read_json(config) | settings)
    with served(folder) as url:
        yield types.SimpleNamespace(folder=folder, url=url, model=folder / "model")


@pytest.fixture(scope="session")
def accepting(site, tmp_path_factory):
    """A page that answers for whatever it is shown."""
    with page_with(site, tmp_path_factory.mktemp("accept") / "site", **ACCEPT) as page:
        yield page


@pytest.fixture(scope="module")  # as `browser`
def engine(site):
    """The engine, its model open."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    if not chromium.installed():
        pytest.skip("no Chromium to test with")
    with opened(site) as engine:
        yield engine
