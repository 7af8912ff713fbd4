"""What the wall costs a compressed DICOM file once a worker is warm."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from benchmarks.drawn import grainy
from benchmarks.harness import Row, Settings, Table, alternate, rows, seconds
from tests.helpers.image_files import encode, make_dicom

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
    picture = Image.fromarray(grainy(side))
    jpeg, boxed = encode(picture, "JPEG", quality=95), encode(picture, "JPEG2000")
    bare = boxed[boxed.index(b"\xff\x4f\xff\x51") :]  # DICOM has it without its boxes
    kinds = {"JPEG": (uid.JPEGBaseline8Bit, jpeg), "JPEG 2000": (uid.JPEG2000Lossless, bare)}
    return {
        kind: make_dicom(np.asarray(picture), syntax, PixelData=encapsulate([data]))
        for kind, (syntax, data) in kinds.items()
    }
