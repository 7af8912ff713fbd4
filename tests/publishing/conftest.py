"""Who publishes, and what."""

import pytest

from aihealth.publishing import verification
from tests.helpers.releases import copy_release, make_dataset, make_release


@pytest.fixture(scope="session")
def other(release):
    """Neither better nor worse than `release`."""
    return copy_release(release, release.parent / "other", arch="other")


@pytest.fixture(scope="session")
def worse(release):
    """Takes Covid for Pneumonia and the other way round."""
    return make_release(release.parent / "worse", centres=(180, 120, 60))


@pytest.fixture(scope="session")
def data(release):
    return make_dataset(release.parent / "data", per_class=30)


@pytest.fixture(autouse=True)
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)


@pytest.fixture
def quick(monkeypatch):
    """Without loading TensorFlow each time: the release was checked in other tests."""
    monkeypatch.setattr(verification, "check_release", lambda folder: {})
