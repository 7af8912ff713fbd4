"""Which files are images, and the account of a folder: what was used and what was not.

One rule for everything that reads folders or archives: a known suffix of any case, else the first
bytes. Hidden files and what operating systems leave behind are passed over.
"""

import collections
import contextlib
import dataclasses
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

from aihealth.errors import UserError, shown
from aihealth.signatures import is_dicom

# What is not read (HEIC, JPEG 2000) counts too: its answer says why, so nothing is lost in silence.
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".webp", ".tif", ".tiff", ".bmp", ".dib",
    ".gif", ".dcm", ".dicom", ".dic", ".ima", ".dc3", ".heic", ".heif", ".avif", ".jp2", ".j2k",
}  # fmt: skip
HEAD = 1024  # bytes of a file that tell what it is
_SYSTEM = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
_STARTS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",  # JPEG
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
)
_HEIF = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")

# Reasons of an account that several modules give.
SYSTEM = "hidden or of the system"
NO_IMAGE = "no image"
HOLDS_NONE = "without an image by nature (DICOM directories, reports)"


@dataclasses.dataclass
class Account:
    """How many files of a folder were used, and how many were not.

    Attributes:
        used: files that were used.
        left_out: how many were not, by reason: words that follow "files:", such as "masks".
    """

    used: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, other: "Account") -> None:
        """Add the files of another folder."""
        self.used += other.used
        self.left_out.update(other.left_out)

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Take files that were counted as used for left out."""
        self.used -= count
        self.left_out[reason] += count

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the most frequent reason first."""
        return {"used": self.used, "left_out": dict((+self.left_out).most_common())}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "Account":
        """What `to_dict` told."""
        return cls(told["used"], collections.Counter(told["left_out"]))

    def line(self) -> str:
        """One line that says it all.

        >>> Account(72, collections.Counter(masks=18, unreadable=1)).line()
        '72 of 91 files used; left out: 18 masks, 1 unreadable'
        """
        reasons = [f"{count} {reason}" for reason, count in self.left_out.most_common() if count]
        text = f"{self.used} of {self.used + self.left_out.total()} files used"
        return text + (f"; left out: {shown(', '.join(reasons))}" if reasons else "")


def is_passed_over(path: str | os.PathLike) -> bool:
    """Whether a path below a folder is hidden or the operating system's own (`__MACOSX/...`)."""
    parts = PurePath(path).parts
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in parts)


def suffix_is_image(path: str | os.PathLike) -> bool:
    """Whether a file's name says that it is an image."""
    return os.path.splitext(path)[1].lower() in SUFFIXES


def starts_like_image(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file are those of an image of any kind."""
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4) and head[15:18] == bytes(3)
    return (
        head.startswith(_STARTS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _HEIF)
        or (bitmap and len(head) > 26)
        or is_dicom(head)
    )


def is_image_file(path: str | os.PathLike, head: Callable[[], bytes] | None = None) -> bool:
    """Whether a file is meant as an image: the one rule of this project.

    Args:
        path: of the file below the folder or within the archive that is read.
        head: gives its first `HEAD` bytes, asked for only where the name does not say it; by
            default they are read from the disk. A file that cannot be opened gives none.
    """
    if is_passed_over(path if head else PurePath(path).name):
        return False
    return suffix_is_image(path) or starts_like_image(head() if head else read_head(path))


def read_head(path: str | os.PathLike) -> bytes:
    """The first `HEAD` bytes of a regular file, none of anything else or of what cannot be read."""
    try:
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def inside(folder: str | os.PathLike, *names: str) -> Path:
    """A folder joined with names from outside, which cannot lead out of it.

    Args:
        folder: our own.
        names: from a file, a release, a repo or another program; relative paths.

    Raises:
        UserError: the path would lie elsewhere.
    """
    path = os.path.join(*names)
    parts = PurePath(path).parts
    if not parts or os.path.isabs(path) or PurePath(path).drive or ".." in parts or "\0" in path:
        raise UserError(f"{path!r} is no name of a file in {folder}; it was not written or read")
    return Path(folder, path)


def check_output(
    out: str | os.PathLike,
    *,
    option: str = "--out",
    inputs: Iterable[Path] = (),
    built: bool = False,
    ours: bool = False,
) -> Path:
    """Say now, and not after the long work, that a folder cannot be written.

    Args:
        out: the folder, there or not.
        option: by which it was named.
        inputs: folders that it must not overlap.
        built: it is built under another name and renamed, so it must be new or empty.
        ours: what it holds may be replaced.

    Returns:
        Where it lies, links followed.

    Raises:
        UserError: a file is in its place, it may not be written to, it overlaps an input, it holds
            something else, or it cannot be renamed.
    """
    folder, here = Path(os.path.realpath(out)), Path.cwd()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        raise UserError(f"{option} {out}: {place} is a file; name a folder")
    if not os.access(place, os.W_OK):
        raise UserError(f"{option} {out}: {place} may not be written to; name another folder")
    for other in (path.resolve() for path in inputs):
        if folder == other or other in folder.parents or folder in other.parents:
            raise UserError(f"{option} {out} and the input {other} overlap; name another folder")
    if built and folder in (here, *here.parents):
        raise UserError(f"{option} {out} is the folder you are in, or one above it; name another")
    if built and folder.is_mount():
        raise UserError(f"{option} {out} is a mount point; name a folder in it, such as {out}/data")
    if built and not ours and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{option} {out} exists and holds something else; name a new folder")
    return folder


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Build a folder that appears under its name once it is whole; what lay there goes then.

    What runs left behind that were killed is removed; another run at work keeps its own.

    Args:
        folder: from `check_output`.

    Yields:
        The folder to fill, which lies beside it.
    """
    _remove_leftovers(folder)
    part, old = (folder.with_name(f"{folder.name}.{end}-{os.getpid()}") for end in ("part", "old"))
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.parent.glob(f"{glob.escape(folder.name)}.*-*"):
        match = re.fullmatch(r"\.(part|old)-(\d+)", path.name.removeprefix(folder.name))
        if not match or _is_running(int(match[2])):
            continue
        if match[1] == "old" and not folder.exists():  # It was killed between two renamings.
            path.rename(folder)
        shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
