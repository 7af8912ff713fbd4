"""Optional tags of a DICOM file as they are found in practice, set right before pixels are read.

Exports leave tags out, leave them empty, write a comma for the decimal point, or contradict
themselves. What can only mean one thing is set to that; what would make every pixel alike counts as
absent; what is guessed is said to the reader. No value of a tag leaves this module.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from aihealth.errors import ImageError

NO_PHOTOMETRIC = (
    "The file does not say whether low values are black or white (Photometric Interpretation): "
    "black was taken."
)
INVERSE = (
    "The file contradicts itself on black and white (MONOCHROME2 with Presentation LUT Shape "
    "INVERSE): the shape was applied, and they may be exchanged."
)

# View Code Sequence, CID 4010: lateral projections in SNOMED CT, and in the codes before it (SRT).
_LATERAL_CODES = {
    "399067008", "399173006", "399198007", "399352003", "399260004",
    "R-102CD", "R-10236", "R-10232", "R-10228", "R-10224",
}  # fmt: skip
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR", "ARGB", "HSV",
            "YBR_PARTIAL_420", "YBR_PARTIAL_422", "CMYK")  # fmt: skip
_VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_NO_IMAGE = (
    "1.2.840.10008.1.3.10",  # DICOMDIR
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states
    "1.2.840.10008.5.1.4.1.1.88.",  # reports, key object selections
    "1.2.840.10008.5.1.4.1.1.104.",  # encapsulated documents
    "1.2.840.10008.5.1.4.1.1.9.",  # waveforms
    "1.2.840.10008.5.1.4.1.1.66",  # raw data, registrations
    "1.2.840.10008.5.1.4.1.1.67",  # real world values
    "1.2.840.10008.5.1.4.1.1.481.",  # radiotherapy plans and structures
)


def holds_no_image(dataset: Any) -> bool:
    """Whether a file is of a kind that never has an image: a DICOMDIR, a report, and the like."""
    meta = getattr(dataset, "file_meta", {})
    kinds = (_text(meta, "MediaStorageSOPClassUID"), _text(dataset, "SOPClassUID"))
    return any(kind.startswith(_NO_IMAGE) for kind in kinds if kind) or (
        "PixelData" not in dataset and "DirectoryRecordSequence" in dataset
    )


def set_right(dataset: Any) -> tuple[list[str], int]:
    """Set the tags that pixels are read by.

    Args:
        dataset: a `pydicom.Dataset` with Pixel Data; it is changed.

    Returns:
        What the reader should know, and by how many bits stored values stand too high.

    Raises:
        ImageError: a tag without which pixels cannot be read is missing or contradicts the others.
    """
    warnings: list[str] = []
    for name in ("Rows", "Columns"):
        value = _integer(dataset, name)
        if value is None or value <= 0:
            raise ImageError(f"the DICOM file does not say how large its image is ({name})")
        _set(dataset, name, value)
    _set(dataset, "NumberOfFrames", max(1, _integer(dataset, "NumberOfFrames") or 1))
    _set_samples(dataset, warnings)
    shift = _set_bits(dataset)
    _set_rescale(dataset)
    _set_window(dataset)
    shape = _text(dataset, "PresentationLUTShape").upper()
    if dataset.PhotometricInterpretation == "MONOCHROME2" and shape == "INVERSE":
        dataset.PhotometricInterpretation = "MONOCHROME1"  # As viewers that apply the shape.
        warnings.append(INVERSE)
    return warnings, shift


def padding_range(dataset: Any) -> tuple[int, int] | None:
    """Lowest and highest stored value that is no image but fills the frame (PS3.3 C.7.5.1.1.2).

    The tag is often written with the other sign than the pixels have: the same bits are meant.
    """
    bits, signed = int(dataset.BitsAllocated), bool(dataset.PixelRepresentation)
    ends = []
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = _integer(dataset, name)
        if value is not None:
            value %= 1 << bits
            ends.append(value - (1 << bits) if signed and value >> (bits - 1) else value)
        elif not ends:
            return None
    return min(ends), max(ends)


def is_lateral(dataset: Any) -> bool:
    """Whether View Position or View Code Sequence (PS3.3 C.8.11.5) names a lateral projection."""
    if view_is_lateral(_text(dataset, "ViewPosition")):
        return True
    try:
        items = list(dataset.get("ViewCodeSequence") or ())
    except Exception:  # A damaged sequence names nothing.
        return False
    for item in items:
        codes = (_text(item, "CodeValue"), _text(item, "LongCodeValue"))
        if _LATERAL_CODES & set(codes) or view_is_lateral(_text(item, "CodeMeaning")):
            return True
    return False


def view_is_lateral(view: str) -> bool:
    """Whether a View Position (0018,5101) names a lateral projection.

    Of the terms that DICOM defines (PS3.3 C.8.1.1) LL and RL, left and right lateral, are lateral,
    and so is taken whatever says LAT or LATERAL, as many devices write. LLD and RLD, left and right
    lateral decubitus, are not: the patient lies on a side, but the beam goes from front to back or
    back to front. Obliques (LLO, RLO, LAO) are neither frontal nor lateral and are not announced.

    Args:
        view: the value of the tag.
    """
    words = set(re.findall("[A-Z]+", view.upper()))
    if words & {"AP", "PA"} or any(word.startswith(("DEC", "OBL")) for word in words):
        return False
    return any(re.fullmatch("LL|RL|(L|R|LT|RT)?LAT(ERAL)?", word) for word in words)


# === What the pixels are ===


def _set_samples(dataset: Any, warnings: list[str]) -> None:
    photometric = re.sub(r"\s+", " ", _text(dataset, "PhotometricInterpretation").upper())
    squeezed = re.sub(r"[ _-]", "", photometric)
    known = {re.sub(r"[ _-]", "", name): name for name in ("MONOCHROME1", "MONOCHROME2", *_COLOURS)}
    photometric = known.get(squeezed, "")
    samples = _integer(dataset, "SamplesPerPixel")
    if samples not in (1, 3, 4):
        bits = _integer(dataset, "BitsAllocated") or 16
        room = _stored_bytes(dataset) >= 3 * _pixels(dataset) * bits // 8
        grey = photometric.startswith(("MONO", "PALETTE")) if photometric else not room
        samples = 1 if grey else 3
    if not photometric:
        photometric = "MONOCHROME2" if samples == 1 else "RGB"
        if samples == 1:
            warnings.append(NO_PHOTOMETRIC)
    if samples > 1 and photometric.startswith(("MONO", "PALETTE")):
        raise ImageError(
            f"the DICOM file contradicts itself: {photometric} with {samples} samples a pixel"
        )
    _set(dataset, "PhotometricInterpretation", photometric)
    _set(dataset, "SamplesPerPixel", samples)
    if samples > 1:
        _set(dataset, "PlanarConfiguration", int(_integer(dataset, "PlanarConfiguration") == 1))


def _set_bits(dataset: Any) -> int:
    """Set the five tags of bits; by how many of them stored values stand too high."""
    allocated = _integer(dataset, "BitsAllocated")
    stored, high = _integer(dataset, "BitsStored"), _integer(dataset, "HighBit")
    native = not dataset.file_meta.TransferSyntaxUID.is_compressed
    if allocated not in (1, 8, 16, 32, 64):
        values = _pixels(dataset) * dataset.SamplesPerPixel
        room = 8 * _stored_bytes(dataset) // max(values, 1) if native else (stored or 8)
        allocated = 32 if room >= 32 else 16 if room > 8 else 8
    if stored is None or not 1 <= stored <= allocated:
        stored = high + 1 if high is not None and 0 < high < allocated else allocated
    shift = 0
    contradict = native and high is not None and stored <= high < allocated
    if contradict and _used_bits(dataset, allocated) > stored:
        shift, stored = high + 1 - stored, high + 1
    signed = _integer(dataset, "PixelRepresentation") == 1
    for name, value in (("BitsAllocated", allocated), ("BitsStored", stored),
                        ("HighBit", stored - 1), ("PixelRepresentation", int(signed))):  # fmt: skip
        _set(dataset, name, value)
    return shift


def _used_bits(dataset: Any, allocated: int) -> int:
    """How many bits the values of a native image take, seen on every seventh."""
    if allocated not in (8, 16, 32):
        return 0
    size = allocated // 8
    data = bytes(dataset.PixelData)
    little = getattr(dataset, "original_encoding", (None, True))[1] is not False
    kind = f"{'<' if little else '>'}u{size}"
    values = np.frombuffer(data, kind, count=len(data) // size)
    return int(values[::7].max(initial=0)).bit_length()


# === What the values mean ===


def _set_rescale(dataset: Any) -> None:
    slopes, intercepts = (_numbers(dataset, name) for name in ("RescaleSlope", "RescaleIntercept"))
    _drop(dataset, "RescaleSlope", "RescaleIntercept")
    slope = slopes[0] if slopes else 1.0
    if slope != 0 and (slopes or intercepts):
        dataset.RescaleSlope = _decimal(slope)
        dataset.RescaleIntercept = _decimal(intercepts[0] if intercepts else 0.0)


def _set_window(dataset: Any) -> None:
    function = re.sub(r"[\s-]+", "_", _text(dataset, "VOILUTFunction").upper())
    _drop(dataset, "VOILUTFunction")
    if function and function not in _VOI_FUNCTIONS:  # What its window would show is not known.
        _drop(dataset, "WindowCenter", "WindowWidth")
    elif function:
        dataset.VOILUTFunction = function
    least = 1.0 if function not in ("LINEAR_EXACT", "SIGMOID") else 1e-9
    centres, widths = (
        _numbers(dataset, name, keep=True) for name in ("WindowCenter", "WindowWidth")
    )
    _drop(dataset, "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation")
    for centre, width in zip(centres, widths, strict=False):
        if not math.isnan(centre) and width >= least:
            dataset.WindowCenter, dataset.WindowWidth = _decimal(centre), _decimal(width)
            break


# === Reading a tag whatever stands in it ===


def _pixels(dataset: Any) -> int:
    return dataset.Rows * dataset.Columns * dataset.NumberOfFrames


def _stored_bytes(dataset: Any) -> int:
    return len(dataset.get("PixelData") or b"")


def _raw(dataset: Any, name: str) -> tuple[Any, str | None]:
    """What stands in a tag, bytes where it was not looked at yet, and how it says it is written."""
    from pydicom.datadict import tag_for_keyword

    try:
        element = dataset.get_item(tag_for_keyword(name))
    except Exception:  # A tag that cannot be read says nothing.
        return None, None
    return (None, None) if element is None else (element.value, element.VR)


def _words(dataset: Any, name: str) -> list[str]:
    """The values of a tag of text, stripped."""
    value, _ = _raw(dataset, name)
    if value is None:
        return []
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    values = value.split("\\") if isinstance(value, str) else value
    values = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    return [str(each).strip(" \0\t\r\n") for each in values]


def _text(dataset: Any, name: str) -> str:
    return next(iter(_words(dataset, name)), "")


def _numbers(dataset: Any, name: str, *, keep: bool = False) -> list[float]:
    """The finite numbers in a tag of text; `keep` puts NaN where there is none."""
    found = []
    for word in _words(dataset, name):
        try:
            value = float(word.replace(",", "."))
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            found.append(value)
        elif keep:
            found.append(math.nan)
    return found


def _integer(dataset: Any, name: str) -> int | None:
    """A whole number, written in bytes or as text; None where there is none."""
    value, kind = _raw(dataset, name)
    if isinstance(value, bytes) and kind not in _TEXTS and name != "NumberOfFrames":
        little = getattr(dataset, "original_encoding", (None, True))[1] is not False
        return int.from_bytes(value[:2], "little" if little else "big") if value else None
    numbers = _numbers(dataset, name)
    return int(numbers[0]) if numbers and numbers[0] == int(numbers[0]) else None


_TEXTS = ("CS", "DS", "IS", "LO", "LT", "SH", "ST", "UT")


def _decimal(value: float) -> str:
    """A number as DICOM writes it, at most 16 characters."""
    text = repr(value)
    return text if len(text) <= 16 else f"{value:.9e}"


def _set(dataset: Any, name: str, value: Any) -> None:
    _drop(dataset, name)
    setattr(dataset, name, value)


def _drop(dataset: Any, *names: str) -> None:
    from pydicom.datadict import tag_for_keyword

    for name in names:
        dataset.pop(tag_for_keyword(name), None)
