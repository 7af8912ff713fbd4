"""What the wall costs a compressed DICOM file once a worker is warm."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.drawn import film
from benchmarks.harness import Row, Settings, Table, alternate, rows, seconds

SIDES = {"5 megapixels": 2240, "9 megapixels": 3000}
REPEATS = 4  # in each turn, of which the fastest counts


def run(settings: Settings) -> list[Table]:
    """Decode here and behind the wall, in turns, by the clock."""
    from aihealth import images, wall

    table = []
    for name, side in SIDES.items():
        for kind, data in _files(256 if settings.quick else side).items():
            values = alternate(
                {
                    "here": lambda data=data: _each(images.decode_here, data),
                    "behind the wall": lambda data=data: _each(wall.decode, data),
                },
                settings.rounds,
            )
            here, behind = rows(values)
            note = f"{len(data) / 1e6:.1f} MB; {behind.value - here.value:+.1f} ms"
            table.append(
                Row(f"{name}, {kind}", behind.value, behind.low, behind.high, behind.ratio, note)
            )
    title = "compressed DICOM behind the wall; ratio to decoding here"
    return [Table(title, "ms", table, "3 ms more")]


def _each(decode: Callable, data: bytes) -> float:
    """Milliseconds."""
    return 1000 * seconds(lambda: decode(data), REPEATS)


def _files(side: int) -> dict[str, bytes]:
    picture = Image.fromarray(film(0, 512)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 2, (side, side))
    picture = Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))
    return {kind: _dicom(picture, kind) for kind in ("JPEG", "JPEG 2000")}


def _dicom(picture: Image.Image, kind: str) -> bytes:
    from pydicom import Dataset, FileMetaDataset, uid
    from pydicom.encaps import encapsulate

    file, dataset = io.BytesIO(), Dataset()
    dataset.file_meta = FileMetaDataset()
    if kind == "JPEG":
        picture.save(file, "JPEG", quality=95)
        dataset.file_meta.TransferSyntaxUID, start = uid.JPEGBaseline8Bit, 0
    else:
        picture.save(file, "JPEG2000", irreversible=False)
        dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
        start = file.getvalue().index(b"\xff\x4f\xff\x51")  # DICOM has it without its boxes
    dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = uid.UID("1.2.3")
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Columns, dataset.Rows = picture.size
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = encapsulate([file.getvalue()[start:]])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()
