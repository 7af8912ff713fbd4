"""Packages from npm for the page that never uploads: pinned, checked, kept; none is in git."""

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from aihealth.errors import UserError
from aihealth.files import inside

REGISTRY = "https://registry.npmjs.org"
TIMEOUT = 60  # seconds
MAX_BYTES = 64 * 2**20  # of a package


def files_of(name: str, package: dict[str, Any]) -> dict[str, bytes]:
    """The files that are taken out of a package, by their path in it.

    Args:
        name: of the package, such as "@litertjs/core".
        package: `version`; `integrity` as npm gives it ("sha512-" and base64); `files`, which are
            taken; and perhaps `replace`, texts that are replaced in its JavaScript.

    Raises:
        UserError: the registry cannot be reached, or the package is another than the pinned one.
    """
    found = {}
    with tarfile.open(fileobj=io.BytesIO(_archive(name, package)), mode="r:gz") as archive:
        for path in package["files"]:
            try:
                member = archive.extractfile(f"package/{path}")
            except KeyError:
                member = None
            if member is None:
                raise UserError(f"{name} {package['version']} of npm holds no {path}")
            data = member.read()
            if path.endswith(".js"):
                for old, new in package.get("replace", {}).items():
                    data = data.replace(old.encode(), new.encode())
            found[path] = data
    return found


def _archive(name: str, package: dict[str, Any]) -> bytes:
    """The package as npm sends it, from the cache or the registry."""
    wanted = base64.b64decode(package["integrity"].removeprefix("sha512-"))
    kept = inside(_cache(), f"{wanted.hex()[:40]}.tgz")
    if kept.is_file():
        data = kept.read_bytes()
        if hashlib.sha512(data).digest() == wanted:
            return data
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY
    file = f"{name.rpartition('/')[2]}-{package['version']}.tgz"
    url = f"{registry.rstrip('/')}/{name}/-/{file}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            data = answer.read(MAX_BYTES)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise UserError(f"{name} cannot be had from the npm registry: {reason}") from error
    if hashlib.sha512(data).digest() != wanted:
        raise UserError(
            f"{name} {package['version']} of the npm registry is not what space/static/"
            "packages.json pins; nothing was written"
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(kept)
    return data


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aihealth" / "npm"
