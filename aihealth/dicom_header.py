"""Is this DICOM, and where does its data set begin? Also without the header it should have."""

import re
import struct

_VRS = set(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
    b"UR US UT UV".split()
)
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_IMPLICIT, _EXPLICIT, _BIG = (f"1.2.840.10008.1.2{end}".encode() for end in ("", ".1", ".2"))


def is_dicom(data: bytes) -> bool:
    """Whether bytes, of which some hundred are enough, begin like a DICOM file.

    With "DICM" after a preamble of 128 bytes (PS3.10, 7.1), as older devices write it without the
    preamble, or without any header: a bare data set.
    """
    return data[128:132] == b"DICM" or data[:4] == b"DICM" or _bare(data) is not None


def with_header(data: bytes) -> bytes:
    """The bytes of a DICOM file with preamble and transfer syntax, as found or as guessed."""
    if data[128:132] == b"DICM":
        return data
    if data[:4] == b"DICM":
        return bytes(128) + data
    if data[:2] == b"\2\0":
        return bytes(128) + b"DICM" + data
    syntax = _bare(data) or _IMPLICIT
    syntax += b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM\2\0\x10\0UI" + struct.pack("<H", len(syntax)) + syntax + data


def _bare(data: bytes) -> bytes | None:
    """The transfer syntax of a data set that begins here, None where none does.

    It begins with group 0008, or 0002 where only the preamble is missing; two elements in a row
    must be in order and of a sensible length.
    """
    for order, syntax in (("<", None), (">", _BIG)):
        place, last, explicit = 0, -1, None
        for _ in range(2):
            if place + 12 > len(data):
                return None
            group, element = struct.unpack_from(f"{order}HH", data, place)
            vr = data[place + 4 : place + 6]
            explicit = vr in _VRS if explicit is None else explicit
            tag = group << 16 | element
            if tag <= last or (last < 0 and group not in (0x0002, 0x0008)) or group > 0x0040:
                break
            if explicit and vr not in _VRS:
                break
            if explicit and vr in _LONG:
                length, place = struct.unpack_from(f"{order}I", data, place + 8)[0], place + 12
            elif explicit:
                length, place = struct.unpack_from(f"{order}H", data, place + 6)[0], place + 8
            else:
                length, place = struct.unpack_from(f"{order}I", data, place + 4)[0], place + 8
            if length > 256 or (not explicit and syntax == _BIG):
                break
            value = data[place : place + length]
            if not explicit and not re.fullmatch(rb"[\x00\x20-\x7e]*", value) and length != 4:
                break
            place, last = place + length, tag
        else:
            return syntax or (_EXPLICIT if explicit else _IMPLICIT)
    return None
