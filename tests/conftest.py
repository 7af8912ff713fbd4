"""Every test sees one Hub, our own on 127.0.0.1, and no network besides.

huggingface_hub, datasets and Keras read their environment when they are imported, so it is set
here, before any test module is; each pytest-xdist worker has a Hub of its own.
"""

import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from tests.hub_server import Hub, address, bind, client_env

assert "huggingface_hub" not in sys.modules, "imported before HF_ENDPOINT was set"

HOME = Path(tempfile.mkdtemp(prefix="aihealth-test-home-"))
SOCKET = bind()

for name in list(os.environ):
    if name.lower().endswith("_proxy") or name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        del os.environ[name]
os.environ |= client_env(address(SOCKET), HOME)
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "GRADIO_ANALYTICS_ENABLED": "False"}


def pytest_collection_modifyitems(items):
    """Files that take long come first, so that no worker waits for the other at the end."""
    long = {
        item.path for item in items if {"slow", "browser"} & {m.name for m in item.iter_markers()}
    }
    items.sort(key=lambda item: item.path not in long)


def pytest_unconfigure():
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """The running Hub of this session. Its log, faults and switches are fresh in each test."""
    server = Hub(tmp_path_factory.mktemp("hub"), SOCKET, HOME).start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def fresh_hub(request):
    """Forget the previous test's faults, switches and requests; repos stay."""
    if "hub" in request.fixturenames:
        request.getfixturevalue("hub").reset()


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """A release that looks at brightness: Covid dark, Normal medium, Pneumonia bright."""
    from tests.helpers.releases import make_release

    return make_release(tmp_path_factory.mktemp("releases") / "release")


@pytest.fixture(scope="session")
def hospital(release):
    """The same network, trained on images of one hospital."""
    from tests.helpers.releases import release_of_a_hospital

    return release_of_a_hospital(release, release.parent / "hospital")


@pytest.fixture(scope="session")
def model(release):
    """The same, as command lines take it."""
    return str(release)


@pytest.fixture(scope="session")
def drawings(tmp_path_factory):
    """A prepared dataset of a few dozen drawn images."""
    from tests.helpers.drawn import prepared_drawings

    return prepared_drawings(tmp_path_factory.mktemp("data"), 36)


@pytest.fixture
def api(hub):
    """The real client, with the right to write."""
    from huggingface_hub import HfApi

    return HfApi(hub.endpoint, token=hub.token)


@pytest.fixture
def repo_id():
    """A name that no other test uses."""
    return f"org/repo-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def repo(api, repo_id):
    """A new, empty model repo; its id."""
    api.create_repo(repo_id)
    return repo_id


@pytest.fixture
def cache(tmp_path):
    """A cache folder that nothing else uses."""
    return tmp_path / "cache"
