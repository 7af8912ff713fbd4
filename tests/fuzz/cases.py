"""Cases: which file is mutated, how, and what must come of it. A seed and a number make a case."""

import io
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from aihealth import Classifier, UserError, release
from aihealth.images import ImageError, decode_with_warning
from aihealth.publishing import card
from aihealth.wall import DIED
from tests.helpers.image_files import DICOM_FILES, GRAIN, RAMP, encode, make_dicom
from tests.helpers.space_app import RELEASE

from reliability import Reliability  # isort: skip (tests.helpers.space_app sets the path)

ANSWERED, REFUSED, CONTAINED = "answered", "refused", "decoder died behind the wall"
LARGEST = 60_000  # bytes of a file that pydicom ships
DECODERS = "decoders"
FACTS = (release.METRICS, release.PROVENANCE, release.AUDIT)  # the page and the card read them
TARGETS = (DECODERS, release.CONFIG, release.OOD, release.LITERT, *FACTS)

_BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_JSON = (None, True, False, 0, 0.5, -1, 10**30, float("nan"), float("inf"), {}, "", "../x",
         "\x1b[2J")  # fmt: skip


def images() -> list[bytes]:
    """What is mutated for the decoders: each format and mode, and what pydicom ships."""
    grain = Image.fromarray(np.asarray(Image.fromarray(GRAIN).resize((160, 120))))
    modes = {
        "PNG": ("L", "RGB", "RGBA", "P", "1", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "TIFF": ("L", "RGB", "F", "I;16"),
        "BMP": ("L", "RGB"),
        "GIF": ("P",),
        "WEBP": ("RGB", "RGBA"),
    }
    made = [encode(_in_mode(grain, mode), form) for form, its in modes.items() for mode in its]
    made.append(encode(grain, "JPEG", progressive=True))
    made += [
        encode(grain, "TIFF", compression=how)
        for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ]
    made += [make_dicom(RAMP, WindowWidth=9), make_dicom(RAMP.astype(np.uint16) * 16)]
    shipped = sorted(DICOM_FILES.glob("*.dcm"))
    return made + [p.read_bytes() for p in shipped if p.stat().st_size <= LARGEST]


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture).astype(np.uint16) * 200)
    return picture.convert(mode)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a file in one to eight places, more often near its start, where the structure is."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        size = len(changed)
        if size < 8:
            break
        near = min(size, 2000) if rng.random() < 0.5 else size
        place, length = int(rng.integers(near)), int(2 ** rng.uniform(0, 8))
        match rng.integers(8):
            case 0 | 1 | 2:
                changed[place] = rng.integers(256)
            case 3 | 4:
                changed[place] = rng.choice(_BYTES)
            case 5:
                stop = min(place + length, size)
                changed[place:stop] = bytes(stop - place)
            case 6:
                changed[place:place] = changed[place : place + length]
            case 7:
                del changed[place : place + length if rng.random() < 0.8 else size]
    return bytes(changed)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums again, so that its decoder gets to see it."""
    if not data.startswith(b"\x89PNG"):
        return data
    mended, place = bytearray(data), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(mended)


def mutate_json(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a JSON object's bytes, or the values of some fields."""
    if rng.random() < 0.3:
        return mutate(data, rng)
    content = json.loads(data)
    for _ in range(rng.integers(1, 4)):
        inside, field = content, str(rng.choice(list(content)))
        while isinstance(inside[field], dict) and inside[field] and rng.random() < 0.8:
            inside = inside[field]
            field = str(rng.choice(list(inside)))
        value = _JSON[rng.integers(len(_JSON))]
        inside[field] = value if rng.random() < 0.7 else [value] * int(rng.integers(5))
        if rng.random() < 0.2 and len(content) > 1:
            del inside[field]
    return json.dumps(content).encode()


def mutate_arrays(data: bytes, rng: np.random.Generator) -> bytes:
    """Change an `.npz`'s bytes, or those of an array in it."""
    if rng.random() < 0.5:
        return mutate(data, rng)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        chosen = names[rng.integers(len(names))]
        for name in names:
            content = old.read(name)
            new.writestr(name, mutate(content, rng) if name == chosen else content)
    return file.getvalue()


class Cases:
    """All cases of a seed."""

    def __init__(self, seed: int, target: str) -> None:
        """Read what is mutated.

        Args:
            seed: of the random numbers.
            target: one of `TARGETS`.
        """
        self._seed, self._target = seed, target
        self._images = images() if target == DECODERS else []

    def data(self, number: int) -> bytes:
        """The mutated file of a case."""
        rng = np.random.default_rng([self._seed, TARGETS.index(self._target), number])
        if self._target == DECODERS:
            changed = mutate(self._images[number % len(self._images)], rng)
            return with_checksums(changed) if rng.random() < 0.5 else changed
        how: dict[str, Callable] = {release.OOD: mutate_arrays, release.LITERT: mutate}
        return how.get(self._target, mutate_json)((RELEASE / self._target).read_bytes(), rng)

    def run(self, number: int) -> str:
        """Try a case.

        Returns:
            `ANSWERED`, `REFUSED` or `CONTAINED`.

        Raises:
            Exception: whatever a user would see as a traceback.
        """
        data = self.data(number)
        return _decode(data) if self._target == DECODERS else _open(self._target, data)


def _decode(data: bytes) -> str:
    try:
        pixels, _ = decode_with_warning(data)
    except ImageError as error:
        _check_sentence(str(error))
        return CONTAINED if str(error) == DIED else REFUSED
    assert pixels.dtype == np.uint8 and pixels.ndim == 2, pixels.shape
    return ANSWERED


def _open(name: str, data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for other in release.SERVING_FILES:
            shutil.copy(RELEASE / other, folder)
        Path(folder, name).write_bytes(data)
        if name in FACTS:
            return _show(Path(folder))
        try:
            answer = Classifier(folder, num_threads=1).predict(RAMP)
        except UserError as error:
            _check_sentence(str(error))
            return REFUSED
        assert len(answer.probabilities) == 3
        return ANSWERED


def _show(folder: Path) -> str:
    """Everything that the page and the card say of a release."""
    try:
        figures = Reliability.of(folder)
        for language in ("en", "fr"):
            for label in (None, *release.ReleaseConfig.load(folder).classes):
                assert figures.sentence(label, language)
            for kind in ("known", "unknown"):
                figures.plain(kind, language)
            figures.details(language)
        card.render(folder, "org/name")
    except UserError as error:
        _check_sentence(str(error))
        return REFUSED
    return ANSWERED


def _check_sentence(text: str) -> None:
    assert 0 < len(text) < 400 and text.isprintable(), repr(text)
