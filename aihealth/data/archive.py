"""The images of an archive, found and read a part at a time: memory stays flat however many.

An archive is any mix of files, folders, Parquet files with the images inside (as `datasets` writes
them) and dataset repos on the Hub. A part of it is small, can be sent to another process, and
gives the same items whenever and wherever it is read. Labelled images are opened by `opening`: what
has a label is listed whole, while an archive may be too long for that, and has files to account for
that prove to be no images.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from aihealth.errors import UserError, warn
from aihealth.files import HEAD as FIRST_BYTES
from aihealth.files import is_passed_over, starts_like_image, suffix_is_image
from aihealth.images import MAX_BYTES, ImageError, read_bytes

HUB = "hf://datasets/"
FILES = 64  # files of a part: seconds of work, so that little is done again after a crash
_ROWS = 16  # images of a Parquet file in memory at once
_BUFFER = 2**20  # bytes that a Parquet file is read ahead


@dataclasses.dataclass(frozen=True)
class Item:
    """One image, not decoded.

    Attributes:
        name: path, or place in a Parquet file: `shard.parquet[17]`, counted from 0.
        content: the file's bytes, where they are at hand.
        error: why there are none.
        sure: False for what counts as an image only when it starts like one.
        found: True for what was found in a folder, and not named by the user.
        hidden: True for what is hidden there or the operating system's own; it is not opened.
    """

    name: str
    content: bytes | None = None
    error: str | None = None
    sure: bool = True
    found: bool = False
    hidden: bool = False

    def read(self) -> bytes | None:
        """The file's bytes, None for what proves to be no image.

        Raises:
            ImageError: it cannot be read.
            UserError: the Hub cannot be reached.
        """
        if self.error is not None:
            raise ImageError(self.error)
        if self.content is not None:
            return self.content
        if self.hidden or not (self.sure or _starts_like_image(self.name)):
            return None
        if not self.name.startswith(HUB):
            return read_bytes(self.name)
        with open_file(self.name) as file:
            return file.read(MAX_BYTES + 1)


class Part(Protocol):
    """Some images that belong together."""

    def items(self) -> Iterator[Item]:
        """The images, in an order that is always the same."""


@dataclasses.dataclass(frozen=True)
class Files:
    """Some files, at most `FILES`."""

    files: tuple[Item, ...]

    def items(self) -> Iterator[Item]:
        """The files, unread."""
        return iter(self.files)


@dataclasses.dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file.

    Attributes:
        shard: path of the file.
        column: of the images, as Parquet spells it: "image.bytes".
        index: number of the row group.
        first: number of its first row within the file.
        rows: how many it has.
    """

    shard: str
    column: str
    index: int
    first: int
    rows: int

    def items(self) -> Iterator[Item]:
        """The images, each with its bytes; rows that cannot be read come with the reason."""
        import pyarrow
        import pyarrow.parquet

        done = 0
        try:
            with open_file(self.shard) as file:
                shard = pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER)
                chosen = {"row_groups": [self.index], "columns": [self.column]}
                for batch in shard.iter_batches(batch_size=_ROWS, **chosen):
                    column = batch.column(0)
                    if pyarrow.types.is_struct(column.type):
                        (column,) = column.flatten()
                    for content in column.to_pylist():
                        missing = "the row holds no image" if content is None else None
                        yield Item(f"{self.shard}[{self.first + done}]", content, missing)
                        done += 1
        except (pyarrow.ArrowException, OSError):
            for row in range(self.first + done, self.first + self.rows):
                yield Item(f"{self.shard}[{row}]", error=_DAMAGED)


_DAMAGED = "the Parquet file is damaged"


def locate(data: str) -> str:
    """What `--data` means: a file or folder as it is, else a dataset repo at its present commit.

    Args:
        data: path, "org/name" or "org/name@revision".

    Returns:
        A path or an address that starts with `HUB`.

    Raises:
        UserError: neither a path nor a repo, or the Hub cannot be reached.
    """
    if data.startswith(HUB) or os.path.exists(data):
        return data
    from huggingface_hub import HfApi

    from aihealth import hub, release

    release.local_folder(data)  # It reads like a path: says that there is none.
    repo_id, revision = hub.parse(data)
    with hub.hub_errors(repo_id, repo_type="dataset", revision=revision):
        commit = HfApi().dataset_info(repo_id, revision=revision).sha
    return f"{HUB}{repo_id}@{commit}"


def parts(inputs: Sequence[str]) -> Iterator[Part]:
    """Divide an archive into parts.

    What in a folder counts as an image is the rule of `aihealth.files`; links to folders are not
    followed. Files named one by one count
    whatever their name.

    Args:
        inputs: files, folders and addresses from `locate`, in the order in which they are wanted;
            what is in a folder comes sorted by path.

    Raises:
        UserError: a folder without images, or one that cannot be listed.
    """
    for name in inputs:  # Before the first is answered, for the work would be lost.
        if _is_folder(name) and all(_is_hidden(path, name) for path in _found(name)):
            raise UserError(
                f"{name} has no images in it (PNG, JPEG, DICOM, Parquet, ...); links to folders "
                "are not followed"
            )
    named: list[Item] = []
    for name in inputs:
        if _is_folder(name):
            yield from _cut(named)
            named = []
            yield from _inside(name)
        elif name.lower().endswith(".parquet"):
            yield from _cut(named)
            named = []
            yield from _row_groups(name)
        else:
            named.append(Item(name))
    yield from _cut(named)


def _inside(folder: str) -> Iterator[Part]:
    items: list[Item] = []
    for path in sorted(_found(folder, tell=True), key=os.fsencode):
        hidden = _is_hidden(path, folder)
        if path.lower().endswith(".parquet") and not hidden:
            yield from _cut(items)
            items = []
            yield from _row_groups(path)
        else:
            items.append(Item(path, sure=suffix_is_image(path), found=True, hidden=hidden))
            if len(items) == FILES:
                yield from _cut(items)
                items = []
    yield from _cut(items)


def _is_hidden(path: str, folder: str) -> bool:
    return is_passed_over(path if path.startswith(HUB) else os.path.relpath(path, folder))


def _cut(items: Sequence[Item]) -> Iterator[Files]:
    for start in range(0, len(items), FILES):
        yield Files(tuple(items[start : start + FILES]))


def _row_groups(shard: str) -> Iterator[Part]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{shard} is a Parquet file, which needs pip install pyarrow") from error
    try:
        with open_file(shard) as file:
            metadata = pyarrow.parquet.read_metadata(file)
            column = _image_column(metadata.schema.to_arrow_schema())
    except (pyarrow.ArrowException, OSError):
        yield Files((Item(shard, error=_DAMAGED),))
        return
    if column is None:
        yield Files((Item(shard, error="the Parquet file has no column of images"),))
        return
    first = 0
    for index in range(metadata.num_row_groups):
        rows = metadata.row_group(index).num_rows
        yield RowGroup(shard, column, index, first, rows)
        first += rows


def _image_column(schema: Any) -> str | None:
    """The column with the files' bytes: one like `datasets.Image`, else one of plain bytes."""
    from pyarrow import types

    fields = sorted(schema, key=lambda field: field.name != "image")
    for field in fields:
        if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return f"{field.name}.bytes"
    plain = (types.is_binary, types.is_large_binary)
    return next(
        (field.name for field in fields if any(kind(field.type) for kind in plain)),
        None,
    )


# === Folders ===


def _is_folder(name: str) -> bool:
    return os.path.isdir(name) or name.startswith(HUB)


def _found(folder: str, tell: bool = False) -> Iterator[str]:
    return _walk_hub(folder) if folder.startswith(HUB) else _walk(str(Path(folder)), tell)


def _walk(folder: str, tell: bool) -> Iterator[str]:
    """Paths of all files, at any depth, in no order; broken links are among them.

    Links to folders, which may lead back to where they are, are left out; `tell` says so.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = entry.name if folder == "." else os.path.join(folder, entry.name)
                link = entry.is_symlink()
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(path, tell)
                elif link and os.path.isdir(path):
                    if tell:
                        warn(
                            f"{path} is a link to a folder and was left out; name it to have it "
                            "searched"
                        )
                elif os.path.isfile(path) or (link and not os.path.exists(path)):
                    yield path
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be listed: {error.strerror}") from error


def _walk_hub(address: str) -> Iterator[str]:
    from huggingface_hub import HfFileSystem

    with _hub_errors(address):
        for path in HfFileSystem().find(address):
            name = os.path.basename(path)  # To open every card and table there would take long.
            if not is_passed_over(name) and (suffix_is_image(name) or not _worded_suffix(name)):
                yield "hf://" + path


def _worded_suffix(name: str) -> bool:
    """Whether a name ends in something like `.md`; in UIDs (1.2.840...) a number follows."""
    suffix = os.path.splitext(name)[1]
    return bool(suffix) and not suffix[1:].isdigit() and suffix.lower() != ".parquet"


def _starts_like_image(path: str) -> bool:
    try:
        with open_file(path) as file:
            return starts_like_image(file.read(FIRST_BYTES))
    except FileNotFoundError:
        return True  # A broken link: reading it says what is the matter.
    except OSError:
        return False


@contextlib.contextmanager
def open_file(path: str) -> Iterator[IO[bytes]]:
    """Open a local file, or one on the Hub, of which only what is read is transferred.

    Args:
        path: of the file, or its address, which starts with `HUB`.

    Raises:
        UserError: the Hub cannot be reached, or does not give the file.
    """
    if not path.startswith(HUB):
        with open(path, "rb") as file:
            yield file
        return
    from huggingface_hub import HfFileSystem

    with _hub_errors(path), HfFileSystem().open(path, "rb") as file:
        yield file


def _hub_errors(address: str) -> contextlib.AbstractContextManager[None]:
    from aihealth import hub

    return hub.hub_errors(hub.parse(address.removeprefix(HUB))[0], repo_type="dataset")
