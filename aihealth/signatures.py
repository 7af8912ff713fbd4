"""What the first bytes of a file say that it is, and what to do with a file that is no image."""

import re
import struct

_VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
    b"UR US UT UV"
)
EXPLICIT_VRS = frozenset(_VRS.split())
_FIRST_GROUPS = {0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028}
_LAST_GROUP = 0x7FE0
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"}

LFS_POINTER = b"version https://git-lfs"


def is_dicom(data: bytes) -> bool:
    """Whether these bytes, 1 kB of them at least, begin a DICOM file.

    "DICM" stands after a preamble of 128 bytes (PS3.10, 7.1). Older scanners and archives write
    neither: then the first elements must look like those of a data set.
    """
    return data[128:132] == b"DICM" or data[:4] == b"DICM" or encoding_of(data) is not None


def encoding_of(data: bytes) -> tuple[bool, bool] | None:
    """How the data set that begins here is encoded, told from its first two elements.

    Returns:
        Whether it has implicit VRs and whether it is little-endian; None for no data set.
    """
    for order in "<>":
        for implicit in (False, True):
            if _two_elements(data, order, implicit):
                return implicit, order == "<"
    return None


def _two_elements(data: bytes, order: str, implicit: bool) -> bool:
    place, last = 0, -1
    for _ in range(2):
        if place + 8 > len(data):
            # A long first value hides the second element; a short file has none.
            return last >= 0 and place > 8
        group, element = struct.unpack_from(order + "HH", data, place)
        tag, vr = group << 16 | element, data[place + 4 : place + 6]
        if tag <= last or not (group in _FIRST_GROUPS or (last >= 0 and group <= _LAST_GROUP)):
            return False
        if implicit:
            (length,) = struct.unpack_from(order + "I", data, place + 4)
            place += 8
        elif vr not in EXPLICIT_VRS:
            return False
        elif vr in _LONG_VRS and place + 12 <= len(data):
            (length,) = struct.unpack_from(order + "I", data, place + 8)
            place += 12
        else:
            (length,) = struct.unpack_from(order + "H", data, place + 6)
            place += 8
        if last < 0 and length > 1024:  # First come dates, names and numbers, which are short.
            return False
        place, last = place + length, tag
    return True


_BASE64 = re.compile(rb"[A-Za-z0-9+/=_\-\s]{64,}\Z")


def sentence(data: bytes) -> str | None:
    """What a file is that cannot be read as an image, and how to make an image of it.

    Args:
        data: its bytes, 1 kB of them at least.

    Returns:
        One sentence; None where the first bytes do not tell.
    """
    head = data[:1024]
    for found, text in (
        (head.startswith(LFS_POINTER), LFS_SENTENCE),
        (head.lstrip().startswith(b"%PDF"), "this is a PDF; export its image as PNG or DICOM"),
        (head.startswith(b"PK"), "this is a ZIP archive; unpack it and give the images in it"),
        (head.startswith((b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")), _ARCHIVE),
        (head[257:262] == b"ustar", _ARCHIVE),
        (head[4:8] == b"ftyp", _iso_media(head[8:12])),
        (head.startswith(b"\0\0\0\x0cjP  ") or head.startswith(b"\xff\x4f\xff\x51"), _JPEG_2000),
        (head.startswith((b"\0\0\0\x0cJXL ", b"\xff\x0a")), "this is a JPEG XL image; " + _SAVE),
        (head.startswith(b"\x93NUMPY"), "this is a NumPy file; load it and give the array"),
        (head.startswith(b"8BPS"), "this is a Photoshop file; " + _SAVE),
        (head[344:347] in (b"n+1", b"ni1"), "this is a NIfTI volume; " + _SAVE),
        (head.startswith((b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"RIFF")), _film(head)),
        (head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")), _TIFF),
        (_is_markup(head), "this is a web page or other text, not an image; " + _DOWNLOAD),
        (bool(_BASE64.match(head)), "this is text, perhaps an image in base64; decode it first"),
    ):
        if found:
            return text
    return None


_SAVE = "save it as PNG or JPEG"
_DOWNLOAD = "download the file itself"
LFS_SENTENCE = "this is a git-lfs pointer, not the file itself; get that with: git lfs pull"
_ARCHIVE = "this is an archive; unpack it and give the images in it"
_JPEG_2000 = "this is a JPEG 2000 image; save it as PNG"
_TIFF = "this is a TIFF of a kind that cannot be read here; save it as 8 or 16 bits of grey"


def _iso_media(brand: bytes) -> str:
    if brand in (b"avif", b"avis"):
        return "this is an AVIF image; " + _SAVE
    if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1"):
        return (
            "this is a HEIC photo, as iPhones take them; save or export it as JPEG or PNG, or set "
            'the camera to "Most Compatible"'
        )
    return "this is a video; " + _FRAME


_FRAME = "save one frame as PNG"


def _film(head: bytes) -> str:
    return "this is damaged" if head[8:12] == b"WEBP" else "this is a video; " + _FRAME


def _is_markup(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"{", b"<head"))
