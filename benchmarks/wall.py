"""What the wall costs a compressed DICOM file once a worker is warm."""

import io
import time

import numpy as np
from PIL import Image

from benchmarks.drawn import film
from benchmarks.harness import Row, Settings, Table, alternate, rows

SIDES = {"5 megapixels": 2240, "9 megapixels": 3000}
FILES = 8  # one after the other in each round


def run(settings: Settings) -> list[Table]:
    """Decode each file here and behind the wall, in turns; by the clock, as a visitor waits."""
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
    return [Table("decoding behind the wall; times as long as here", "ms", table, "3 ms more")]


def _each(decode, data: bytes) -> float:
    """Milliseconds of the fastest: others were disturbed."""
    fastest = float("inf")
    for _ in range(FILES):
        start = time.perf_counter()
        decode(data)
        fastest = min(fastest, time.perf_counter() - start)
    return 1000 * fastest


def _files(side: int) -> dict[str, bytes]:
    picture = Image.fromarray(film(0, 512)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 2, (side, side))
    pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
    return {kind: _compressed(pixels, kind) for kind in ("RLE", "JPEG", "JPEG 2000")}


def _compressed(pixels: np.ndarray, kind: str) -> bytes:
    from pydicom import Dataset, FileMetaDataset, uid
    from pydicom.encaps import encapsulate

    syntax = {
        "RLE": uid.RLELossless, "JPEG": uid.JPEGBaseline8Bit, "JPEG 2000": uid.JPEG2000Lossless,
    }[kind]  # fmt: skip
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if kind == "RLE" else syntax
    dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = uid.UID("1.2.3")
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    if kind == "RLE":
        dataset.PixelData = pixels.tobytes()
        dataset.compress(syntax, encoding_plugin="pydicom")
    else:
        file = io.BytesIO()
        how = {"quality": 95} if kind == "JPEG" else {"irreversible": False}
        Image.fromarray(pixels).save(file, kind.replace(" ", ""), **how)
        frame = _codestream(file.getvalue()) if kind == "JPEG 2000" else file.getvalue()
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _codestream(jp2: bytes) -> bytes:
    """JPEG 2000 without the boxes around it, as DICOM has it."""
    return jp2[jp2.index(b"\xff\x4f\xff\x51") :]
