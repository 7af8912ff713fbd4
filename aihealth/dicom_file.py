"""A DICOM file taken apart: the tags before the pixels, and the pixels as bytes.

Read as other programs read: without preamble, without file meta information, with a transfer
syntax that is missing or wrong. What is cut short is called so.
"""

import dataclasses
import io
import struct
from typing import Any

from aihealth import structure
from aihealth.dicom_codestream import codec
from aihealth.dicom_tags import text, texts
from aihealth.errors import ImageError, NoImage
from aihealth.signatures import encoding_of

CUT_SHORT = "the DICOM file is cut short; copy or export it again"
DAMAGED = "the DICOM file is damaged"
NO_IMAGE = "the DICOM file has no image in it"

_PIXEL_DATA = 0x7FE00010
_OTHER_PIXELS = (0x7FE00008, 0x7FE00009)  # floating point
_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


@dataclasses.dataclass(frozen=True)
class DicomFile:
    """What is read of a file.

    Attributes:
        header: pydicom's data set of all that stands before the pixels, not yet converted.
        syntax: transfer syntax UID; made out from the bytes where the file does not say it.
        pixels: the value of Pixel Data; of compressed files the items, without their end.
        fragments: how many pieces compressed pixels come in, None for others.
    """

    header: Any
    syntax: Any
    pixels: bytes
    fragments: int | None


def read(data: bytes) -> DicomFile:
    """Take a file apart.

    Raises:
        NoImage: it is of a kind that holds no image.
        ImageError: cut short, damaged, without pixels, or with pixels of a kind that is not read.
    """
    from pydicom.filereader import read_dataset

    meta, body = _after_meta(data)
    declared = next(iter(texts(meta, "TransferSyntaxUID")), "")
    if declared == "1.2.840.10008.1.2.1.99":
        body = structure.inflate(body)
    # By the file's own word where the first bytes do not tell.
    said = declared in ("", "1.2.840.10008.1.2"), declared != "1.2.840.10008.1.2.2"
    implicit, little = encoding_of(body) or said
    file = _File(body)
    try:
        header = read_dataset(
            file, implicit, little, stop_when=lambda tag, *_: tag in (_PIXEL_DATA, *_OTHER_PIXELS)
        )
    except Exception as error:  # pydicom raises many kinds on damaged files.
        raise ImageError(CUT_SHORT if file.short else DAMAGED) from error
    place = file.tell()
    # As the element itself says: pydicom goes on in the other encoding where a file changes to it.
    # An implicit length is even, and so none of these.
    implicit = body[place + 4 : place + 6] not in (b"OB", b"OW", b"UN", b"OF", b"OD")
    if not implicit and place + 12 > len(body):
        file.short = True
    order = "<" if little else ">"
    start = place + (8 if implicit else 12)
    if start > len(body):
        if file.short:
            raise ImageError(CUT_SHORT)
        if not len(header):
            raise ImageError(DAMAGED)
        raise _without_image(meta, header)
    group, element = struct.unpack_from(order + "HH", body, place)
    if group << 16 | element in _OTHER_PIXELS:
        raise ImageError(
            "the DICOM file has its pixels as floating-point numbers; export it with whole ones"
        )
    if group << 16 | element != _PIXEL_DATA:
        raise ImageError(CUT_SHORT if file.short else DAMAGED)
    (length,) = struct.unpack_from(order + "I", body, start - 4)
    if length == 0:
        raise _without_image(meta, header)
    if length == _UNDEFINED:
        pixels, fragments = _items(body[start:])
        return DicomFile(header, _compressed(declared, pixels), pixels, fragments)
    if start + length > len(body):
        raise ImageError(CUT_SHORT)
    return DicomFile(header, _native(implicit, little), body[start : start + length], None)


def _without_image(meta: Any, header: Any) -> ImageError:
    """Why a whole file has no pixels: by its nature, or because they were taken out."""
    kinds = [*texts(header, "SOPClassUID"), *texts(meta, "MediaStorageSOPClassUID")]
    by_nature = any(kind.startswith(_WITHOUT_IMAGE) for kind in kinds)
    if by_nature or text(header, "Modality") in _MODALITIES or "DirectoryRecordSequence" in header:
        return NoImage()
    return ImageError(NO_IMAGE)


_WITHOUT_IMAGE = (
    "1.2.840.10008.1.3.10",  # DICOMDIR
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states
    "1.2.840.10008.5.1.4.1.1.88.",  # reports, key object selections
    "1.2.840.10008.5.1.4.1.1.104.",  # encapsulated documents
    "1.2.840.10008.5.1.4.1.1.9.",  # waveforms
    "1.2.840.10008.5.1.4.1.1.66",  # raw data, registrations
    "1.2.840.10008.5.1.4.1.1.67",  # real world values
    "1.2.840.10008.5.1.4.1.1.481.",  # radiotherapy plans and structures
)
_MODALITIES = ("SR", "PR", "KO", "DOC", "REG", "ECG", "RTPLAN", "RTSTRUCT", "PLAN")


class _File(io.BytesIO):
    """Remembers whether more was asked for than there is."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.short = False
        self._ended = False

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if size is not None and len(found) < size:
            # At its end a whole file is asked once for the eight bytes of another element.
            self.short = self.short or self._ended or bool(found) or size != 8
            self._ended = True
        return found


def _after_meta(data: bytes) -> tuple[Any, bytes]:
    """The file meta information, empty where there is none, and what follows it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import _read_file_meta_info

    start = 132 if data[128:132] == b"DICM" else 4 if data[:4] == b"DICM" else 0
    file = _File(data)
    file.seek(start)
    if data[start : start + 2] != b"\2\0":
        return FileMetaDataset(), data[start:]
    try:
        # The length that the group gives of itself (PS3.10, 7.1) proves nothing.
        meta = _read_file_meta_info(file)
    except Exception as error:
        raise ImageError(CUT_SHORT if file.short else DAMAGED) from error
    return meta, data[file.tell() :]


def _native(implicit: bool, little: bool) -> Any:
    from pydicom import uid

    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _items(value: bytes) -> tuple[bytes, int]:
    """The items of compressed pixels up to their end; where only that is missing, up to the file's.

    Raises:
        ImageError: an item is cut short.
    """
    place = count = 0
    while place + 8 <= len(value):
        group, element, length = struct.unpack_from("<HHI", value, place)
        if (group, element) == _END:
            break
        if (group, element) != _ITEM:
            raise ImageError(DAMAGED)
        if place + 8 + length > len(value):
            raise ImageError(CUT_SHORT)
        place += 8 + length
        count += 1
    if count < 2:  # The first item is the table of offsets.
        raise ImageError(CUT_SHORT)
    return value[:place], count - 1


def _compressed(declared: str, items: bytes) -> Any:
    """The transfer syntax of compressed pixels: the file's word, unless the bytes say otherwise."""
    from pydicom import uid

    (table,) = struct.unpack_from("<I", items, 4)
    found = codec(items[8 + table + 8 :])
    syntax = uid.UID(declared)
    if found is None or any(syntax in family and found in family for family in _families()):
        return syntax
    return found


def _families() -> tuple[set[str], ...]:
    from pydicom import uid

    return (
        {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit},
        {uid.JPEGLossless, uid.JPEGLosslessSV1},
        {uid.JPEGLSLossless, uid.JPEGLSNearLossless},
        {uid.JPEG2000Lossless, uid.JPEG2000, uid.JPEG2000MCLossless, uid.JPEG2000MC}
        | {uid.UID(f"1.2.840.10008.1.2.4.{number}") for number in (201, 202, 203)},  # HTJ2K
        {uid.RLELossless},
    )
