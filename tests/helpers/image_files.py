"""Image files of every kind, for tests: as bytes, made here or shipped with pydicom."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

RAMP = np.tile(np.arange(0, 192, 3, dtype=np.uint8), (48, 1))  # 48 x 64, dark left, bright right
GRAIN = np.random.default_rng(0).integers(0, 256, (48, 64)).astype(np.uint8)
DICOM_FILES = Path(pydicom.data.__file__).parent / "test_files"


def encode(picture, form="PNG", **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def shipped(name):
    """A file that comes with pydicom itself, so that no network is needed."""
    return (DICOM_FILES / f"{name}.dcm").read_bytes()


def make_dicom(pixels, syntax=ExplicitVRLittleEndian, **tags):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    film.Rows, film.Columns = pixels.shape[-2:]
    film.SamplesPerPixel = 1
    film.PhotometricInterpretation = "MONOCHROME2"
    film.BitsAllocated = film.BitsStored = pixels.dtype.itemsize * 8
    film.HighBit = film.BitsStored - 1
    film.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        film.NumberOfFrames = len(pixels)
    film.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(film, name, value)
    file = io.BytesIO()
    film.save_as(file, enforce_file_format=True)
    return file.getvalue()


def element(group, number, vr, value):
    """A DICOM element in explicit VR, little endian (PS3.5 7.1.2), of any bytes."""
    value += b" " * (len(value) % 2)
    long = vr in (b"OB", b"OW", b"UN")
    length = b"\0\0" + struct.pack("<I", len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + vr + length + value


def brightens_to_the_right(pixels):
    return float(pixels[:, -8:].mean()) > float(pixels[:, :8].mean())


def png_file(header, rows):
    """A PNG of width, height, bits and kind of colour, and filtered rows; by hand, of any kind."""

    size = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + size + pixels + png_chunk(b"IEND")


def png_chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png(values, kind):
    """16 bits a sample, which Pillow reads but does not write; kinds as in PNG, table 11.1."""
    height, width = values.shape
    pixels = np.repeat(values[..., None], {2: 3, 4: 2, 6: 4}[kind], axis=2).astype(">u2")
    return png_file((width, height, 16, kind), b"".join(b"\0" + row.tobytes() for row in pixels))


def deep_tiff(values, kind=3):
    """An uncompressed TIFF of three samples of 16 bits."""
    height, width = values.shape
    pixels = np.repeat(values[..., None], kind, axis=2).astype("<u2").tobytes()
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: 14, 277: 3, 278: height}
    tags[279] = len(pixels)
    fields = b"".join(
        struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
        for tag, value in tags.items()
    )
    start = struct.pack("<2sHI3H", b"II", 42, 14 + len(pixels), 16, 16, 16)
    return start + pixels + struct.pack("<H", len(tags)) + fields + struct.pack("<I", 0)
