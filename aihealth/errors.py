"""Problems a user can mend, and how the command lines show them."""

import errno
import io
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the caller can mend; its text is one sentence that says what and how.

    Command lines print the text and exit with status 2, without a traceback.
    """


class ImageError(UserError):
    """One image cannot be used; the text says why, without the name of the file."""


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
    try:
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
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_fail(f"{where}{_OS_SENTENCES[error.errno]}", 2))


def first_line(error: Exception) -> str:
    """The first line of a library's message, at most 200 characters, for a sentence of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def shown(file: str) -> str:
    r"""A file's name as text that can be written: bytes that are not UTF-8 become `\xe9`."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _fail(sentence: str, status: int) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return status
