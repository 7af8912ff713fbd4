"""What SimpleITK reads of the DICOM files that come with pydicom, as means of 8 x 8 blocks.

    pip install SimpleITK && python -m tests.helpers.foreign_levels

writes `tests/helpers/foreign_levels.json`, which `tests/test_dicom_levels.py` compares with. Run it
again when pydicom ships other files.
"""

import json
from pathlib import Path

import numpy as np
import pydicom

from tests.helpers.image_files import DICOM_FILES

LEVELS = Path(__file__).with_suffix(".json")
# SimpleITK reads these otherwise, for the reason given; each was looked at.
EXPLAINED = {
    "SC_rgb_rle_16bit.dcm": "SimpleITK takes its bytes in another order",
    "SC_rgb_rle_16bit_2frame.dcm": "SimpleITK takes its bytes in another order",
    "SC_rgb_rle_32bit.dcm": "SimpleITK takes its bytes in another order",
    "SC_rgb_rle_32bit_2frame.dcm": "SimpleITK takes its bytes in another order",
    "dicomdirtests/77654033/CT2/17136": "its window leaves 1% of the image, and is left out",
}


def blocks(grey: np.ndarray) -> list[float]:
    """Means of 8 x 8 blocks of an image, row by row, rounded to a tenth."""
    rows = np.array_split(grey.astype(np.float64), 8)
    return [round(float(part.mean()), 1) for row in rows for part in np.array_split(row, 8, axis=1)]


def main() -> None:
    """Read every file with SimpleITK and write what it gives."""
    import SimpleITK

    levels = {}
    for path in sorted(path for path in DICOM_FILES.rglob("*") if path.is_file()):
        try:
            image = SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO")
        except RuntimeError:
            continue
        pixels = SimpleITK.GetArrayFromImage(image).astype(np.float64)
        colours = image.GetNumberOfComponentsPerPixel() > 1
        pixels = pixels if pixels.ndim == (3 if colours else 2) else pixels[0]
        if min(pixels.shape[:2]) < 16:
            continue
        if colours:
            pixels = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
        tags = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if tags.get("PhotometricInterpretation") == "MONOCHROME1":
            # SimpleITK turns it before a window could be applied: windows are turned with it.
            pixels = pixels.min() + pixels.max() - pixels
            pixels = _windowed(pixels, tags).max() - _windowed(pixels, tags)
        else:
            pixels = _windowed(pixels, tags)
        low, high = pixels.min(), pixels.max()
        grey = np.rint((pixels - low) * (255 / (high - low) if high > low else 0))
        levels[path.relative_to(DICOM_FILES).as_posix()] = blocks(grey)
    LEVELS.write_text(json.dumps(levels).replace("], ", "],\n") + "\n")
    print(f"wrote {len(levels)} files to {LEVELS}")


def _windowed(pixels: np.ndarray, tags: pydicom.Dataset) -> np.ndarray:
    """The first window, by the formula of PS3.3, C.11.2.1.2.1, where it shows anything."""
    try:
        center, width = (
            float(np.ravel(tags[name].value)[0]) for name in ("WindowCenter", "WindowWidth")
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return pixels
    if width <= 1:
        return pixels
    shown = np.clip((pixels - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    return shown if shown.min() < shown.max() else pixels


if __name__ == "__main__":
    main()
