"""A prepared dataset as a dataset repo: Parquet with embedded images, and a card.

`Dataset.to_parquet` on an imagefolder stores paths only, and `push_to_hub` makes several commits;
here every image's bytes go into the file, a batch at a time, so that memory stays flat.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from aihealth.data.manifest import MANIFEST, REPORT, Row, read_manifest
from aihealth.errors import UserError
from aihealth.publishing import staging
from aihealth.publishing.target import Destination, Target

TEMPLATE = Path(__file__).with_name("templates") / "dataset_card.md"
SPLITS = ("train", "validation", "test")
SHARD_BYTES = 450_000_000  # the Hub advises files below 500 MB
BATCH = 100  # images a row group, so that readers can take a part
SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def publish_dataset(to: Destination, data: str, license: str) -> None:
    """Publish a prepared dataset.

    Args:
        to: the dataset repo.
        data: the folder that `python -m data_prep prepare` made.
        license: of the images, as the Hub spells it.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    folder = Path(data)
    read_manifest(folder)
    target = Target.open(to, "dataset")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        stage_dataset(folder, staged, to.repo_id, license)
        target.send(staged, f"Publish {folder.name}")


def stage_dataset(data: Path, into: Path, repo_id: str, license: str) -> None:
    """Lay out a dataset repo; the same dataset always gives the same bytes.

    Args:
        data: what `python -m data_prep prepare` made.
        into: an empty folder.
        repo_id: where it will be published.
        license: of the images, as the Hub spells it.

    Raises:
        UserError: not prepared, or a file is not the one of the manifest.
    """
    rows = read_manifest(data)
    known = [MANIFEST, REPORT, *(row.file for row in rows)]
    staging.collect(data, known, "the prepared dataset")
    labels = sorted({row.label for row in rows})
    (into / "data").mkdir()
    for split in SPLITS:
        part = [row for row in rows if row.split == split]
        shards = _shards(part)
        for index, shard in enumerate(shards):
            name = f"{split}-{index:05d}-of-{len(shards):05d}.parquet"
            _write(data, shard, labels, into / "data" / name)
    dataset_card(data, rows, repo_id, license).save(into / "README.md")


def dataset_card(data: Path, rows: Sequence[Row], repo_id: str, license: str) -> DatasetCard:
    """The card of a prepared dataset, from its manifest and report."""
    from aihealth.publishing.card import KNOWN_FAULTS
    from aihealth.release import read_json

    report = read_json(data / REPORT)
    labels = sorted({row.label for row in rows})
    sources = sorted({row.source for row in rows})
    names = [split for split in SPLITS if any(row.split == split for row in rows)]
    drawn = int(report.get("drawn") or 0)
    known = " ".join(sources).lower()
    faults = [text for name, text in KNOWN_FAULTS.items() if name in known]
    splits_of = Counter(group for group, _ in {(row.group, row.split) for row in rows})
    conflicts = len(report.get("label_conflicts") or [])
    if conflicts:
        faults.append(f"{conflicts} groups of near-duplicates carried different labels.")
    return DatasetCard.from_template(
        DatasetCardData(
            license=license,
            task_categories=["image-classification"],
            size_categories=_size_category(len(rows)),
            tags=["chest-x-ray", "radiology", *(["drawn"] if drawn else [])],
            configs=[
                {
                    "config_name": "default",
                    "data_files": [
                        {"split": name, "path": f"data/{name}-*.parquet"} for name in names
                    ],
                }
            ],
        ),
        template_path=str(TEMPLATE),
        title=repo_id.rpartition("/")[2],
        repo_id=repo_id,
        license=license,
        labels=labels,
        images=len(rows),
        drawn=drawn,
        groups=len(splits_of),
        crossing=sum(count > 1 for count in splits_of.values()),
        splits=[
            _counts(name, [row for row in rows if row.split == name], labels) for name in names
        ],
        sources=[
            _counts(name, [row for row in rows if row.source == name], labels) for name in sources
        ],
        faults=faults or ["None were looked for beyond near-duplicates and unreadable files."],
    )


def _write(data: Path, rows: Sequence[Row], labels: Sequence[str], path: Path) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    schema = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(labels)),
            "source": datasets.Value("string"),
            "group": datasets.Value("string"),
            "file": datasets.Value("string"),
            "sha256": datasets.Value("string"),
            "size": datasets.Value("int64"),
        }
    ).arrow_schema
    # Images are compressed already. Chunks cut by content let Xet send only what changed.
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="none", use_content_defined_chunking=True
    ) as writer:
        for start in range(0, len(rows), BATCH):
            batch = [_record(data, row, labels) for row in rows[start : start + BATCH]]
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))


def _record(data: Path, row: Row, labels: Sequence[str]) -> dict[str, Any]:
    try:
        content = (data / row.file).read_bytes()
    except OSError as error:
        raise UserError(f"{data / row.file} cannot be read: prepare the dataset again") from error
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise UserError(
            f"{data / row.file} is not the file of the manifest: prepare the dataset again"
        )
    return {
        "image": {"bytes": content, "path": Path(row.file).name},
        "label": labels.index(row.label),
        "source": row.source,
        "group": row.group,
        "file": row.file,
        "sha256": row.sha256,
        "size": row.size,
    }


def _shards(rows: Sequence[Row]) -> list[list[Row]]:
    """Runs of rows, in their order, of at most `SHARD_BYTES` of images each."""
    shards: list[list[Row]] = []
    room = 0
    for row in rows:
        if room < row.size or not shards:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(row)
        room -= row.size
    return shards


def _counts(name: str, rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Any]:
    counts = Counter(row.label for row in rows)
    return {
        "name": name,
        "counts": [counts[label] for label in labels],
        "images": len(rows),
        "groups": len({row.group for row in rows}),
    }


def _size_category(count: int) -> str:
    return next((name for limit, name in SIZE_CATEGORIES if count < limit), "100K<n<1M")
