"""Problems a user can mend, and how the command lines show them."""

import argparse
import contextlib
import errno
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NoReturn


class UserError(Exception):
    """Something the caller can mend; its text is one sentence that says what and how.

    Command lines print the text and exit with status 2, without a traceback.
    """


class ImageError(UserError):
    """One image cannot be used; the text says why, without the name of the file."""

    def __init__(self, text: str) -> None:
        super().__init__(shown(text))  # It may quote what stands in the file.


class NoImage(ImageError):
    """A file that holds no image by nature, such as a report on a patient's CD."""

    TEXT = "the file is of a kind that holds no image"

    def __init__(self) -> None:
        super().__init__(self.TEXT)


_OS_SENTENCES = {
    errno.ENOSPC: "no space left on the disk; free some or choose another output folder",
    errno.EFBIG: "the file would be larger than is allowed here; choose another output folder",
    errno.EDQUOT: "the disk quota is used up; free some or choose another output folder",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.ENOTDIR: "a part of this path is a file; choose another output folder",
    errno.EEXIST: "this is a file; choose another output folder",
    errno.EACCES: "permission denied; choose a place that you may write to",
    errno.EBUSY: "this is a mount point or in use; choose another output folder",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EISDIR: "this is a folder; name a file",
    errno.ENAMETOOLONG: "this name is too long for the file system; choose a shorter one",
    errno.EXDEV: "this cannot be moved to another disk; choose another output folder",
}


def run_cli(main: Callable[[], None]) -> None:
    """Run a command line: one sentence and a non-zero exit instead of a traceback.

    Args:
        main: the command; raises `UserError` for what the user can mend.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # What a terminal cannot show becomes an escape.
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no word of CUDA in tables
    try:
        with needs("train"):
            main()
    except UserError as error:
        sys.exit(_fail(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_fail("stopped from the keyboard", 130))
    except BrokenPipeError:
        # The reader (`| head`) went away; silence the flush at exit as the Python docs advise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OS_SENTENCES:
            raise
        name = error.filename2 or error.filename  # of a copy, what was written
        where = f"{name}: " if name else ""
        sys.exit(_fail(f"{where}{_OS_SENTENCES[error.errno]}", 2))


class Parser(argparse.ArgumentParser):
    """A command line whose refusals are printed as all others are."""

    def error(self, message: str) -> NoReturn:
        """Refuse it.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message} (see {self.prog} --help)")


def refuse_renamed(words: Iterable[str], renamed: Mapping[str, str]) -> None:
    """Name the new form of an option or command of earlier versions.

    Args:
        words: of a command line.
        renamed: old name to new form.

    Raises:
        UserError: one of the words has an old name.
    """
    for name in (word.partition("=")[0] for word in words):
        if name in renamed:
            raise UserError(f"{name} is now {renamed[name]}")


def warn(sentence: str) -> None:
    """Say on the standard error what does not stop a command."""
    print(f"warning: {shown(sentence)}", file=sys.stderr)


def first_line(error: Exception) -> str:
    """The first line of a library's message, at most 200 characters, for a sentence of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def shown(text: str) -> str:
    r"""Text from outside as a terminal may have it, on one line.

    What is no letter, sign or space becomes an escape: a file name can neither forge a line nor
    send the terminal a command. Bytes that are not UTF-8 become `\xe9`.

    >>> shown("ward 3/é.png\x1b[2J\n")
    'ward 3/é.png\\x1b[2J\\n'
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # how Python keeps a byte of a name that is not UTF-8
        return f"\\x{ord(sign) - 0xDC00:02x}"
    if sign.isprintable() or sign in _JOINERS or unicodedata.category(sign) == "Zs":
        return sign
    return sign.encode("unicode_escape").decode()


_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji


# === Packages that are not there ===

_PACKAGE = os.path.dirname(os.path.realpath(__file__))
# The extras of pyproject.toml that a command may lack, and the modules by which that is seen.
_EXTRAS = {
    "dicom": ("pydicom", "gdcm"),
    "ray": ("ray",),
    "jax": ("jax", "jaxlib"),
    "space": ("gradio",),
}


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say in one sentence which extra is missing, where a package cannot be imported.

    Args:
        extra: of pyproject.toml, unless the package that is missing belongs to another.

    Raises:
        UserError: names the package and the command that installs the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "aihealth", "data_prep"):
            raise
        raise UserError(
            f"this needs {package}, which is not installed: {install_command(extra, package)}"
        ) from error


# What lies beside the package, where it runs from a checkout; see `release.in_checkout`.
CHECKOUT = Path(__file__).resolve().parents[1]


def install_command(extra: str, package: str) -> str:
    """What to type for an extra: in the checkout, from where the package came, or by name.

    Args:
        extra: of pyproject.toml.
        package: the module that is missing.
    """
    extra = next((name for name, modules in _EXTRAS.items() if package in modules), extra)
    if os.path.isfile("pyproject.toml") and os.path.realpath("aihealth") == _PACKAGE:
        return f'pip install ".[{extra}]"'
    try:
        addresses = metadata.metadata("aihealth").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # the copy in a release or a Space
        return f"pip install {package}"
    address = next(line.partition(", ")[2] for line in addresses if line.startswith("Repository"))
    return f'pip install "aihealth[{extra}] @ git+{address}"'


def _fail(sentence: str, status: int) -> int:
    print(f"error: {shown(sentence)}", file=sys.stderr)
    return status
