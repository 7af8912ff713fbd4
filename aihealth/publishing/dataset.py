"""A prepared dataset as a dataset repo: Parquet with embedded images, and a card.

`Dataset.to_parquet` on an imagefolder stores paths only, and `push_to_hub` makes several commits;
here every image's bytes go into the file, a batch at a time, so that memory stays flat.
"""

import dataclasses
import difflib
import hashlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData, constants

from aihealth.data.manifest import MANIFEST, REPORT, Row, classes_of, read_manifest
from aihealth.data.opening import SPLITS
from aihealth.errors import UserError
from aihealth.hub import hub_errors
from aihealth.publishing import faults, staging
from aihealth.publishing.staging import TEMPLATES
from aihealth.publishing.target import Destination, Target
from aihealth.release import read_json

SHARD_BYTES = 450_000_000  # the Hub advises files below 500 MB
BATCH = 100  # images a row group, so that readers can take a part
COLUMNS = dict.fromkeys(("source", "group", "file", "sha256"), "string") | {"size": "int64"}
SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


@dataclasses.dataclass(frozen=True)
class Terms:
    """On which terms the images may be used.

    Attributes:
        license: as the Hub spells it.
        name: of a license "other".
        link: to the text of a license "other".
        gated: "auto" or "manual" where people must accept the terms first, None where not.
    """

    license: str = "other"
    name: str | None = None
    link: str | None = None
    gated: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the Hub would refuse after the upload.

        Raises:
            UserError: no license of the Hub, or a name or link for one that has its own.
        """
        known = json.loads((TEMPLATES / "licenses.json").read_text(encoding="utf-8"))["licenses"]
        if self.license not in known:
            near = difflib.get_close_matches(self.license.lower(), known, 3, 0.5)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(
                f"--license {self.license} is not in the Hub's list{meant}; use other with "
                "--license-name and --license-link for terms of your own"
            )
        if self.license != "other" and (self.name or self.link):
            raise UserError(
                f"--license-name and --license-link are for --license other, not {self.license}"
            )


def publish_dataset(to: Destination, data: str, terms: Terms) -> None:
    """Publish a prepared dataset.

    Args:
        to: the dataset repo.
        data: the folder that `python -m data_prep prepare` made.
        terms: on which the images may be used.

    Raises:
        UserError: whatever stands against it, before anything is uploaded.
    """
    folder = Path(data)
    read_manifest(folder)
    target = Target.open(to, "dataset")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        stage_dataset(folder, staged, to.repo_id, terms)
        if terms.gated and not to.dry_run:
            # Closed before the first image is in it.
            target.create()
            with hub_errors(to.repo_id, repo_type="dataset"):
                target.api.update_repo_settings(to.repo_id, gated=terms.gated, repo_type="dataset")
        target.send(staged, f"Publish {folder.name}")


def stage_dataset(data: Path, into: Path, repo_id: str, terms: Terms) -> None:
    """Lay out a dataset repo; the same dataset always gives the same bytes.

    Args:
        data: what `python -m data_prep prepare` made.
        into: an empty folder.
        repo_id: where it will be published.
        terms: on which the images may be used.

    Raises:
        UserError: not prepared, a file is not the one of the manifest, or the folder holds files
            that are no part of the dataset.
    """
    rows = read_manifest(data)
    known = [MANIFEST, REPORT, *(row.file for row in rows)]
    staging.collect(data, known, "the prepared dataset")
    labels = classes_of(data)
    (into / "data").mkdir()
    for split in SPLITS:
        part = [row for row in rows if row.split == split]
        shards = _shards(part)
        for index, shard in enumerate(shards):
            name = f"{split}-{index:05d}-of-{len(shards):05d}.parquet"
            _write(data, shard, labels, into / "data" / name)
    size = sum(path.stat().st_size for path in (into / "data").iterdir())
    dataset_card(data, rows, repo_id, terms, size).save(into / "README.md")


def dataset_card(
    data: Path, rows: Sequence[Row], repo_id: str, terms: Terms, size: int | None = None
) -> DatasetCard:
    """The card of a prepared dataset, from its manifest and report.

    Args:
        data: the prepared dataset.
        rows: its manifest.
        repo_id: where it will be published.
        terms: on which the images may be used.
        size: bytes to download, None where that is not known.
    """
    report = read_json(data / REPORT)
    labels = classes_of(data)
    sources = sorted({row.source for row in rows})
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    parts = {split: part for split, part in parts.items() if part}
    drawn = int(report.get("drawn") or 0)
    told = faults.of_sources(sources)
    splits_of = Counter(group for group, _ in {(row.group, row.split) for row in rows})
    conflicts = len(report.get("label_conflicts") or [])
    if conflicts:
        told.append(f"{conflicts} groups of near-duplicates carried different labels.")
    if (report.get("patients") or {"known": 1})["known"] == 0:
        told.append(
            "No patient is known: images of one patient may be on both sides of the split, and "
            "figures on it may be too good."
        )
    url = f"{constants.ENDPOINT}/datasets/{repo_id}"
    title = repo_id.rpartition("/")[2]
    return DatasetCard.from_template(
        DatasetCardData(
            license=terms.license,
            **_own_terms(terms, url),
            pretty_name=f"{title}: {'drawn images' if drawn == len(rows) else 'chest radiographs'}",
            task_categories=["image-classification"],
            size_categories=_size_category(len(rows)),
            tags=["chest-x-ray", "radiology", *(["drawn"] if drawn else [])],
            configs=[
                {
                    "config_name": "default",
                    "data_files": [
                        {"split": name, "path": f"data/{name}-*.parquet"} for name in parts
                    ],
                }
            ],
            dataset_info=_dataset_info(parts, labels, size),
        ),
        template_path=str(TEMPLATES / "dataset_card.md"),
        title=title,
        repo_id=repo_id,
        url=url,
        license=terms.license,
        license_name=terms.name,
        license_link=terms.link,
        labels=labels,
        images=len(rows),
        drawn=drawn,
        groups=len(splits_of),
        crossing=sum(count > 1 for count in splits_of.values()),
        splits=[_counts(name, part, labels) for name, part in parts.items()],
        sources=[
            _counts(name, [row for row in rows if row.source == name], labels) for name in sources
        ],
        faults=told or ["None were looked for beyond near-duplicates and unreadable files."],
    )


def _own_terms(terms: Terms, url: str) -> dict[str, Any]:
    """What the front matter says beside the license."""
    found: dict[str, Any] = {}
    if terms.license == "other":
        found["license_name"] = terms.name or "terms-of-the-sources"
        found["license_link"] = terms.link or f"{url}/blob/main/README.md#licence"
    if terms.gated:
        found["extra_gated_prompt"] = (
            "These images are for research and teaching, under the terms that the card names. You "
            "agree not to try to identify a person, and not to pass the images on."
        )
        found["extra_gated_fields"] = {
            "Name": "text",
            "Institution": "text",
            "Purpose": "text",
            "I agree to these terms": "checkbox",
        }
    return found


def _dataset_info(
    parts: dict[str, list[Row]], labels: Sequence[str], size: int | None
) -> dict[str, Any]:
    """Splits and features as `datasets` writes them into a card."""
    names = {str(index): label for index, label in enumerate(labels)}
    features = [{"name": "image", "dtype": "image"}]
    features.append({"name": "label", "dtype": {"class_label": {"names": names}}})
    features += [{"name": name, "dtype": kind} for name, kind in COLUMNS.items()]
    splits = [
        {"name": name, "num_bytes": sum(row.size for row in part), "num_examples": len(part)}
        for name, part in parts.items()
    ]
    total = sum(split["num_bytes"] for split in splits)
    return {"features": features, "splits": splits, "dataset_size": total} | (
        {"download_size": size} if size else {}
    )


def _write(data: Path, rows: Sequence[Row], labels: Sequence[str], path: Path) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    schema = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(labels)),
            **{name: datasets.Value(kind) for name, kind in COLUMNS.items()},
        }
    ).arrow_schema
    # Images are compressed already. Chunks cut by content let Xet send only what changed. Arrow
    # writes to memory: where a disk is full, its writer would abort the process.
    group = io.BytesIO()
    with (
        path.open("wb") as file,
        pyarrow.parquet.ParquetWriter(
            group, schema, compression="none", use_content_defined_chunking=True
        ) as writer,
    ):
        for start in range(0, len(rows), BATCH):
            batch = [_record(data, row, labels) for row in rows[start : start + BATCH]]
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            file.write(group.getbuffer())
            group.seek(0)
            group.truncate()
        writer.close()
        file.write(group.getbuffer())


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
        **{name: getattr(row, name) for name in COLUMNS},
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
