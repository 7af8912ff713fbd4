"""Packages from npm: pinned, checked, kept."""

import base64
import hashlib
import io
import tarfile

import pytest

from aihealth.errors import UserError
from aihealth.publishing import packages
from tests.helpers.engine import served

NAME = "@org/decoder"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that is served as a registry, and the pin of the package in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path, text in (("index.js", b'import "other";'), ("code.wasm", b"\0asm")):
            info = tarfile.TarInfo(f"package/dist/{path}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    file = tmp_path / "npm" / NAME / "-" / "decoder-1.2.3.tgz"
    file.parent.mkdir(parents=True)
    file.write_bytes(data.getvalue())
    digest = base64.b64encode(hashlib.sha512(data.getvalue()).digest()).decode()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with served(tmp_path / "npm") as address:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        yield (
            file,
            {
                "version": "1.2.3",
                "integrity": f"sha512-{digest}",
                "files": ["dist/index.js", "dist/code.wasm"],
                "replace": {'"other"': '"./other.js"'},
            },
        )


def test_a_package_is_fetched_once_and_its_files_taken_out(registry):
    file, package = registry
    found = packages.files_of(NAME, package)
    assert found == {"dist/index.js": b'import "./other.js";', "dist/code.wasm": b"\0asm"}
    file.unlink()
    assert packages.files_of(NAME, package) == found


def test_a_kept_package_that_was_changed_is_fetched_again(registry, tmp_path):
    _, package = registry
    found = packages.files_of(NAME, package)
    (kept,) = (tmp_path / "cache").rglob("*.tgz")
    kept.write_bytes(b"other")
    assert packages.files_of(NAME, package) == found


def test_another_package_than_the_pinned_one_is_refused_and_not_kept(registry, tmp_path):
    file, package = registry
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"decoder 1\.2\.3 of the npm registry is not what"):
        packages.files_of(NAME, package)
    assert not list((tmp_path / "cache").rglob("*"))


def test_a_file_that_the_package_lacks_is_named(registry):
    _, package = registry
    with pytest.raises(UserError, match=r"holds no dist/gone\.js"):
        packages.files_of(NAME, package | {"files": ["dist/gone.js"]})


def test_a_registry_that_is_gone_is_one_sentence(registry, monkeypatch):
    file, package = registry
    for address in ("http://127.0.0.1:9/", "no address"):
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        with pytest.raises(UserError, match="cannot be had from the npm registry"):
            packages.files_of(NAME, package)
    file.unlink()
