"""The same radiograph as other equipment, viewers and exports would have left it.

For `python -m aihealth audit`: what a model loses when nothing of the patient changes is what it
learned of its hospitals' processing. The idea is that of Hendrycks and Dietterich, "Benchmarking
neural network robustness to common corruptions and perturbations" (ICLR 2019), with changes that
collections of radiographs show. Each function takes and gives uint8 `(size, size)`; what is drawn
at random is the same for every image (but `photograph`'s) and every call.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

BICUBIC = Image.Resampling.BICUBIC
SEED = 0


def tone(pixels: np.ndarray, exponent: float) -> np.ndarray:
    """Another tone curve: grey levels, as 0..1, to a power."""
    return np.uint8(255 * (pixels / 255) ** exponent)


def equalise(pixels: np.ndarray) -> np.ndarray:
    """Histogram equalisation."""
    return np.asarray(ImageOps.equalize(Image.fromarray(pixels)))


def local_contrast(pixels: np.ndarray) -> np.ndarray:
    """The same contrast everywhere, in windows of an eighth of the side, as CLAHE leaves it."""
    from scipy.ndimage import gaussian_filter

    spread = len(pixels) / 16
    rest = pixels - gaussian_filter(pixels.astype(np.float32), spread)
    local = np.sqrt(gaussian_filter(rest**2, spread))
    return np.uint8(np.clip(128 + 48 * rest / (local + 4), 0, 255))


def sharpen(pixels: np.ndarray) -> np.ndarray:
    """Unsharp masking."""
    radius = len(pixels) / 80
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(radius, 150, 0)))


def shrink(pixels: np.ndarray) -> np.ndarray:
    """A file of 64 x 64 pixels, enlarged."""
    small = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX)
    return np.asarray(small.resize(pixels.shape[::-1], Image.Resampling.BILINEAR))


def compress(pixels: np.ndarray) -> np.ndarray:
    """JPEG at quality 20."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=20)
    return np.asarray(Image.open(file))


def add_noise(pixels: np.ndarray) -> np.ndarray:
    """Noise with a standard deviation of 12 of 255 grey levels."""
    noise = np.random.default_rng(SEED).normal(0, 12, pixels.shape)
    return np.uint8(np.clip(pixels + noise, 0, 255))


def crop(pixels: np.ndarray, share: float = 0.125) -> np.ndarray:
    """So much less at each side."""
    size = len(pixels)
    edge = round(size * share)
    inside = Image.fromarray(pixels[edge : size - edge, edge : size - edge])
    return np.asarray(inside.resize((size, size), BICUBIC))


def frame(pixels: np.ndarray, grey: int, share: float = 0.125) -> np.ndarray:
    """A plain margin at each side, of such a share of the whole."""
    size = len(pixels)
    edge = round(size * share)
    inside = Image.fromarray(pixels).resize((size - 2 * edge, size - 2 * edge), BICUBIC)
    return np.asarray(ImageOps.expand(inside, edge, grey))


def turn(pixels: np.ndarray) -> np.ndarray:
    """Turned by 10 degrees, black corners."""
    return np.asarray(Image.fromarray(pixels).rotate(10, Image.Resampling.BILINEAR))


def letter(pixels: np.ndarray) -> np.ndarray:
    """A side marker and a strip of text in the corners."""
    size = len(pixels)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    draw.rectangle((size // 40, size // 40, size // 7, size // 10), fill=255)
    draw.rectangle((0, size - size // 11, size // 3, size), fill=0)
    draw.text((2, size - size // 12), "AP ERECT", fill=255)
    draw.text((size - size // 6, size // 40), "L", fill=255)
    return np.asarray(image)


def shade(pixels: np.ndarray) -> np.ndarray:
    """Half as bright at the left as at the right."""
    return np.uint8(pixels * np.linspace(0.5, 1, pixels.shape[1]))


def photograph(pixels: np.ndarray) -> bytes:
    """A phone's photograph of a monitor that shows the image, simulated: a JPEG file.

    Tone, white balance, the moire of two rasters, glare, noise and the angle are drawn anew for
    each image. Real photographs may differ.
    """
    rng = np.random.default_rng(zlib.crc32(pixels.tobytes()))
    shown = Image.fromarray(pixels).resize((480, 480), BICUBIC)
    screen = ImageOps.expand(ImageOps.expand(shown, (160, 30), int(rng.integers(0, 25))), 40, 20)
    grey = (np.asarray(screen) / 255) ** rng.uniform(0.8, 1.25) * rng.uniform(0.75, 1)
    rows, columns = np.indices(grey.shape)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(0.04, 0.24)  # a pixel
    along = columns * np.cos(angle) + rows * np.sin(angle) + 4 * np.sin(rows / 110 + columns / 150)
    place = rng.uniform(0, grey.shape[0], 2)
    near = np.hypot(rows - place[0], columns - place[1]) / rng.uniform(75, 200)
    light = rng.uniform(0, 0.06) + rng.uniform(0, 0.25) * np.exp(-(near**2) / 2)
    balance = rng.uniform((0.9, 1, 0.95), (1.05, 1, 1.15))
    colours = np.empty((*grey.shape, 3))
    for channel in range(3):
        raster = rng.uniform(0.02, 0.06) * np.sin(2 * np.pi * (waves * along + channel / 4))
        colours[..., channel] = grey * (1 + raster) * balance[channel] + light
    colours += rng.normal(0, 0.012, colours.shape)
    picture = Image.fromarray(np.uint8(np.clip(colours, 0, 1) * 255))
    left, top, right, bottom = 200, 70, 680, 550  # of the image on the screen
    corners = np.array([left, top, left, bottom, right, bottom, right, top], float)
    corners += rng.uniform(-12, 12, 8) + rng.uniform(-10, 30) * np.array(
        [-1, -1, -1, 1, 1, 1, 1, -1]
    )
    taken = picture.transform((600, 600), Image.Transform.QUAD, corners.tolist(), BICUBIC)
    file = io.BytesIO()
    taken.save(file, "JPEG", quality=int(rng.integers(70, 93)))
    return file.getvalue()


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brighter": lambda pixels: tone(pixels, 0.6),
    "darker": lambda pixels: tone(pixels, 1.7),
    "histogram equalised": equalise,
    "local contrast evened out": local_contrast,
    "sharpened": sharpen,
    "shrunk to 64 pixels": shrink,
    "JPEG at quality 20": compress,
    "noise": add_noise,
    "cropped": crop,
    "black margins": lambda pixels: frame(pixels, 0),
    "white margins": lambda pixels: frame(pixels, 255),
    "turned by 10 degrees": turn,
    "letters in the corners": letter,
    "one side darker": shade,
}

# How much of the body the image shows, and nothing else: answers should stay what they are.
FRAMES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a grey border of 15%": lambda pixels: frame(pixels, 128, 0.15),
    "a tenth less at each side": lambda pixels: crop(pixels, 0.1),
}

# What should be set right, or said, before anybody believes the answer.
UNUSUAL: dict[str, Callable[[np.ndarray], np.ndarray | bytes]] = {
    "negative": lambda pixels: 255 - pixels,
    "lying on its left side": np.rot90,
    "lying on its right side": lambda pixels: np.rot90(pixels, 3),
    "upside down": lambda pixels: np.rot90(pixels, 2),
    "photographed from a screen (simulated)": photograph,
}
