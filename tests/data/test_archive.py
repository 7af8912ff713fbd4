"""Finding the images of an archive: folders, Parquet files, a part at a time."""

import errno
import os

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from aihealth.data import archive
from aihealth.errors import UserError
from aihealth.images import ImageError
from tests.helpers.image_files import encode, make_dicom
from tests.helpers.releases import grey_image

FILM = encode(grey_image(60))


def items(*inputs):
    parts = archive.parts([str(name) for name in inputs])
    return [item for part in parts for item in part.items()]


def names(*inputs):
    return [item.name for item in items(*inputs)]


def write_parquet(path, images, **options):
    """Images as `datasets` keeps them; None is a row without one."""
    rows = [image if image is None else {"bytes": image, "path": "a.png"} for image in images]
    table = pyarrow.table({"label": list(range(len(rows))), "image": rows})
    pyarrow.parquet.write_table(table, path, compression="none", **options)
    return path


def test_folders_are_sorted_by_path_to_any_depth(tmp_path):
    for name in ("b/z.png", "b.png", "a/2.jpg", "a/10.jpg", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(FILM)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.png").write_bytes(FILM)
    found = [item.name for item in items(tmp_path) if item.read() is not None]
    assert found == [
        str(tmp_path / name) for name in ("a/10.jpg", "a/2.jpg", "b.png", "b/z.png", "c")
    ]


def test_without_a_suffix_the_first_bytes_decide_and_only_in_folders(tmp_path):
    (tmp_path / "IM0001").write_bytes(make_dicom(np.zeros((32, 32), np.uint8)))
    (tmp_path / "LICENSE").write_text("words")
    assert [item.read() is None for item in items(tmp_path)] == [False, True]
    (named,) = items(tmp_path / "LICENSE")
    assert named.read() == b"words"


def test_the_present_folder_has_no_dot_before_its_files(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(FILM)
    monkeypatch.chdir(tmp_path)
    assert names(".") == ["a.png"]


def test_a_part_has_few_files_and_large_folders_many_parts(tmp_path):
    for index in range(archive.FILES + 1):
        (tmp_path / f"{index:03d}.png").touch()
    sizes = [len(list(part.items())) for part in archive.parts([str(tmp_path)])]
    assert sizes == [archive.FILES, 1]


def test_rows_of_parquet_are_images_by_their_place(tmp_path):
    shard = write_parquet(tmp_path / "x.parquet", [FILM, None, FILM], row_group_size=2)
    found = items(tmp_path)
    assert [item.name for item in found] == [f"{shard}[{row}]" for row in range(3)]
    assert [len(list(part.items())) for part in archive.parts([str(shard)])] == [2, 1]
    assert found[2].read() == FILM
    with pytest.raises(ImageError, match="the row holds no image"):
        found[1].read()


def test_a_column_of_bytes_will_do_and_one_of_numbers_will_not(tmp_path):
    plain, numbers = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"scan": [FILM]}), plain)
    pyarrow.parquet.write_table(pyarrow.table({"scan": [1]}), numbers)
    good, bad = items(tmp_path)
    assert good.read() == FILM
    assert "no column of images" in bad.error


def test_a_damaged_parquet_file_is_rows_with_their_reason(tmp_path):
    whole = write_parquet(tmp_path / "b.parquet", [FILM] * 3, row_group_size=1)
    (tmp_path / "a.parquet").write_bytes(whole.read_bytes()[:-100])
    group = pyarrow.parquet.read_metadata(whole).row_group(1).column(1)
    content = bytearray(whole.read_bytes())
    start = group.data_page_offset
    content[start : start + 40] = bytes(40)
    whole.write_bytes(content)
    found = items(tmp_path)
    damaged = "the Parquet file is damaged"
    assert [item.error for item in found] == [damaged, None, damaged, None]
    assert found[2].name == f"{whole}[1]"


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="has no images in it"):
        items(tmp_path)


def test_an_empty_folder_is_found_before_the_first_image_is_given(tmp_path):
    for name in ("a", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "film.png").write_bytes(FILM)
    with pytest.raises(UserError, match="empty has no images in it"):
        next(archive.parts([str(tmp_path / "a"), str(tmp_path / "empty")]))


def test_broken_links_are_rows_and_links_to_folders_are_named(tmp_path, capsys):
    (tmp_path / "ward").mkdir()
    (tmp_path / "ward" / "a.png").write_bytes(FILM)
    links = {"b.png": "ward/a.png", "broken.png": "gone.png", "IM0001": "gone", "round": "."}
    for name, target in (links | {"more": "ward"}).items():
        (tmp_path / name).symlink_to(target)
    found = {os.path.basename(item.name): item for item in items(tmp_path)}
    assert list(found) == ["IM0001", "b.png", "broken.png", "a.png"]
    assert found["b.png"].read() == FILM
    for name in ("IM0001", "broken.png"):
        with pytest.raises(ImageError, match="there is no such file"):
            found[name].read()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("is a link to a folder" in line for line in lines)
    assert {line.split()[1] for line in lines} == {str(tmp_path / n) for n in ("round", "more")}


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)

    monkeypatch.setattr(archive.os, "scandir", refuse)
    with pytest.raises(UserError, match="cannot be listed: Permission denied"):
        items(tmp_path)


def test_a_dataset_repo_is_read_at_its_present_commit(api, repo_id, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    api.create_repo(repo_id, repo_type="dataset")
    write_parquet(tmp_path / "x.parquet", [FILM, FILM])
    (tmp_path / "y.png").write_bytes(FILM)
    (tmp_path / "README.md").write_text("---\n---\n")
    api.upload_folder(repo_id=repo_id, repo_type="dataset", folder_path=tmp_path)
    address = archive.locate(repo_id)
    commit = api.dataset_info(repo_id).sha
    assert address == f"hf://datasets/{repo_id}@{commit}"
    found = items(address)
    places = ("x.parquet[0]", "x.parquet[1]", "y.png")
    assert [item.name for item in found] == [f"{address}/{place}" for place in places]
    assert [item.read() for item in found] == [FILM] * 3


def test_what_is_no_path_and_no_repo_is_one_sentence(hub, tmp_path):
    with pytest.raises(UserError, match="dataset repo org/none does not exist"):
        archive.locate("org/none")
    with pytest.raises(UserError, match="there is no folder"):
        archive.locate(str(tmp_path / "none"))
