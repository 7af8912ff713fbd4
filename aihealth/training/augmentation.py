"""Augmentation of a batch of radiographs with TensorFlow operations, against shortcuts.

A hospital shows in the tone curve, the sharpness, the borders and the letters in the corners of
its images. Each step below takes one of these clues away. Strengths are in `Strength`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import tensorflow as tf

from aihealth.evaluation.corruptions import LUNGS


@dataclasses.dataclass(frozen=True)
class Strength:
    """How much a training image is changed; probabilities and ranges per image."""

    zoom: tuple[float, float] = (0.70, 1.10)  # Side of the visible part, share of the image.
    aspect: float = 0.12  # Natural log of width / height, at most.
    shift: float = 0.07  # Share of the side, beyond what keeps the crop inside.
    rotate: float = 10.0  # Degrees.
    flip: float = 0.5
    match: float = 0.4  # Probability of taking over the grey levels of another image of the batch.
    equalise: float = 0.2
    gamma: float = 0.5  # Natural log of the exponent, at most.
    contrast: float = 0.3
    resample: float = 0.5  # Probability of being shrunk to a smaller size and back.
    smallest: float = 0.35  # Share of the side that it is shrunk to, at least.
    local: float = 0.0  # Probability of other local contrast, as filters of a viewer leave it.
    noise: float = 0.04  # Standard deviation, share of the grey range, at most.
    field: float = 0.2  # Amplitude of a smooth brightness gradient.
    corners: float = 0.5  # Probability of hiding each corner.
    cutout: float = 0.5  # Probability of hiding a rectangle.
    border: float = 0.3  # Probability of black, white or grey margins.
    fourier: float = 0.0  # Probability of taking over the low frequencies of another image.


LIGHT = Strength(
    zoom=(0.9, 1.0), aspect=0.05, shift=0.03, rotate=5.0, match=0.0, equalise=0.0, gamma=0.1,
    contrast=0.1, resample=0.0, noise=0.0, field=0.0, corners=0.0, cutout=0.0, border=0.0,
)  # fmt: skip
MEDIUM = Strength(
    zoom=(0.8, 1.05), match=0.3, equalise=0.1, gamma=0.35, contrast=0.2, smallest=0.5, noise=0.02,
    field=0.1, corners=0.3, cutout=0.3, border=0.15,
)  # fmt: skip
HEAVY = Strength()
WIDE = Strength(zoom=(0.65, 1.2), match=0.3, local=0.6, smallest=0.3, noise=0.06, border=0.3)

# For frames (`aihealth.modeling.framing`), which show little but the lungs.
FRAMED_LIGHT = dataclasses.replace(LIGHT, zoom=(0.94, 1.06))
FRAMED_WIDE = dataclasses.replace(WIDE, zoom=(0.85, 1.2), shift=0.05)


STRENGTHS = {"light": LIGHT, "medium": MEDIUM, "heavy": HEAVY, "wide": WIDE}


def by_name(
    name: str, size: int, exchange: float = 0.0
) -> tuple[Callable[[tf.Tensor], tf.Tensor], float]:
    """What happens to training images, and how much larger than `size` they are read for it.

    Args:
        name: "light", "medium", "heavy", "wide", "mixed", "framed", "original" or "none".
        size: side of the input, pixels.
        exchange: probability of `surround`.
    """
    margin = 1.25  # Crops of images that are a quarter larger keep their detail.
    if name == "none":
        change, margin = no_augmentation, 1.0
    elif name == "original":
        change, margin = original_augmentation, 1.0
    elif name == "mixed":
        change = functools.partial(mixed, size=size)
    elif name == "framed":
        change = functools.partial(mixed, size=size, light=FRAMED_LIGHT, wide=FRAMED_WIDE)
    else:
        change = functools.partial(augment, size=size, strength=STRENGTHS[name])
    if not exchange:
        return change, margin
    return lambda images: surround(change(images), exchange), margin


def augment(images: tf.Tensor, size: int, strength: Strength = HEAVY) -> tf.Tensor:
    """Change each image of a batch at random.

    Args:
        images: uint8 `(n, s, s)`, grey levels 0..255.
        size: side of the result; choose `s` a little larger, so that crops keep their detail.

    Returns:
        float32 `(n, size, size, 1)`, 0..255.
    """
    x = tone(images, strength)
    x = warp(x[..., None], size, strength)
    if strength.local:
        x = _some(strength.local, local(x), x)
    if strength.resample:
        x = resample(x, strength)
    if strength.fourier:
        x = _some(strength.fourier, fourier(x), x)
    if strength.field or strength.noise:
        x = disturb(x, strength)
    return hide(tf.clip_by_value(x, 0.0, 255.0), strength)


def mixed(
    images: tf.Tensor, size: int, light: Strength = LIGHT, wide: Strength = WIDE
) -> tf.Tensor:
    """As `augment`, the first half of a batch with `light`, the second with `wide`.

    A network that sees each film both ways learns them as they are and as others process them.
    """
    first, second = _halves(images)
    return tf.concat([augment(first, size, light), augment(second, size, wide)], axis=0)


def tone(images: tf.Tensor, strength: Strength) -> tf.Tensor:
    """Change grey levels by one random rising curve per image, as a table of 256 values.

    The curve is the identity, histogram equalisation or the histogram of another image of the
    batch (which mostly comes from another hospital), then gamma and contrast.
    """
    n, levels = tf.shape(images)[0], tf.range(256, dtype=tf.float32)
    table = tf.tile(levels[None], [n, 1])
    if strength.match or strength.equalise:
        flat = tf.cast(tf.reshape(images, [n, -1]), tf.int32)
        counts = tf.math.bincount(flat, minlength=256, maxlength=256, axis=-1, dtype=tf.float32)
        rank = tf.cumsum(counts, axis=-1) / tf.reduce_sum(counts, -1, keepdims=True)
        other = tf.random.shuffle(rank)
        matched = tf.cast(tf.searchsorted(other, rank - 1e-6), tf.float32)
        # Part of the way only, by chance, so that the curves of all images form a continuum.
        share = _uniform(n, 0.3, 1.0)[:, None]
        table = _some(strength.match, table + share * (matched - table), table)
        table = _some(strength.equalise, table + share * (255.0 * rank - table), table)
    unit = tf.clip_by_value(table / 255.0, 0.0, 1.0)
    unit **= tf.exp(_uniform(n, -strength.gamma, strength.gamma))[:, None]
    scale = 1.0 + _uniform(n, -strength.contrast, strength.contrast)[:, None]
    offset = _uniform(n, -strength.contrast, strength.contrast)[:, None] / 2
    unit = tf.clip_by_value((unit - 0.5) * scale + 0.5 + offset, 0.0, 1.0)
    return 255.0 * tf.gather(unit, tf.cast(images, tf.int32), batch_dims=1)


def warp(x: tf.Tensor, size: int, strength: Strength) -> tf.Tensor:
    """Crop, stretch, shift, rotate and mirror; float32 `(n, s, s, 1)` to `(n, size, size, 1)`."""
    n, side = tf.shape(x)[0], tf.cast(tf.shape(x)[1], tf.float32)
    zoom = _uniform(n, *strength.zoom)
    aspect = tf.exp(_uniform(n, -strength.aspect, strength.aspect) / 2)
    angle = _uniform(n, -strength.rotate, strength.rotate) * (math.pi / 180)
    mirror = tf.where(_uniform(n, 0, 1) < strength.flip, -1.0, 1.0)
    step = side / size
    across, down = zoom * aspect * step, zoom / aspect * step
    room = tf.maximum(0.0, 1.0 - zoom) / 2 + strength.shift
    centre_x = side * (0.5 + room * _uniform(n, -1, 1))
    centre_y = side * (0.5 + room * _uniform(n, -1, 1))
    a, b = mirror * across * tf.cos(angle), -down * tf.sin(angle)
    c, d = mirror * across * tf.sin(angle), down * tf.cos(angle)
    half = (size - 1) / 2
    zero = tf.zeros_like(a)
    matrix = tf.stack(
        [a, b, centre_x - 0.5 - half * (a + b), c, d, centre_y - 0.5 - half * (c + d), zero, zero],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x, transforms=matrix, output_shape=[size, size], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip


def resample(x: tf.Tensor, strength: Strength) -> tf.Tensor:
    """Shrink some images and enlarge them again: what a small or poorly scanned file looks like."""
    parts = [
        _some(strength.resample, _shrunk(part, strength.smallest, 1.0), part) for part in _halves(x)
    ]
    return tf.concat(parts, 0)


def local(x: tf.Tensor) -> tf.Tensor:
    """Change the contrast of coarse, middle and fine structures apart from each other.

    Sharpening, smoothing and adaptive equalisation (CLAHE), which viewers, exports and makers of
    datasets apply, differ in nothing more than these three factors.
    """
    return tf.concat([_bands(part) for part in _halves(x)], 0)


def _bands(x: tf.Tensor) -> tf.Tensor:
    """As `local`, with one choice of the two borders between the bands for the whole batch."""

    def gain(low: float, high: float) -> tf.Tensor:
        return tf.exp(_uniform(tf.shape(x)[0], low, high))[:, None, None, None]

    mean = tf.reduce_mean(x, (1, 2, 3), keepdims=True)
    coarse, middle = _shrunk(x, 0.03, 0.15, "bicubic"), _shrunk(x, 0.3, 0.8, "bicubic")
    return (
        mean
        + gain(-1.2, 0.2) * (coarse - mean)
        + gain(-0.4, 1.0) * (middle - coarse)
        + gain(-1.0, 1.4) * (x - middle)
    )


def _halves(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch in two parts, where a choice for each image would need Python."""
    half = tf.shape(x)[0] // 2
    return x[:half], x[half:]


def _shrunk(x: tf.Tensor, least: float, most: float, enlarge: str = "bilinear") -> tf.Tensor:
    """Shrink to one random share of the side and enlarge again."""
    size = x.shape[1]
    share = tf.random.uniform([], least, most)
    small = tf.cast(tf.math.round(share * size), tf.int32)
    return tf.image.resize(tf.image.resize(x, [small, small], antialias=True), [size] * 2, enlarge)


def fourier(x: tf.Tensor, low: int = 3) -> tf.Tensor:
    """Take over the amplitude of the lowest frequencies of another image (Yang & Soatto 2020)."""
    size = x.shape[1]
    spectrum = tf.signal.rfft2d(x[..., 0])
    size_of, phase = tf.abs(spectrum), tf.math.angle(spectrum)
    row = tf.minimum(tf.range(size), size - tf.range(size))[:, None]
    mask = (row < low) & (tf.range(size // 2 + 1)[None] < low)
    share = _uniform(tf.shape(x)[0], 0.0, 1.0)[:, None, None] * tf.cast(mask, tf.float32)
    size_of += share * (tf.random.shuffle(size_of) - size_of)
    mixed = tf.complex(size_of * tf.cos(phase), size_of * tf.sin(phase))
    return tf.signal.irfft2d(mixed, [size, size])[..., None]


def disturb(x: tf.Tensor, strength: Strength) -> tf.Tensor:
    """Add a smooth brightness gradient and noise (fine, and coarse as compression leaves it)."""
    n, size = tf.shape(x)[0], x.shape[1]
    field = tf.image.resize(tf.random.uniform([n, 3, 3, 1], -1.0, 1.0), [size, size], "bicubic")
    coarse = tf.random.normal([n, size // 8, size // 8, 1])
    coarse = tf.image.resize(coarse, [size, size], "nearest")
    level = strength.noise * _uniform(n, 0.0, 1.0)[:, None, None, None] ** 2
    x += 255.0 * strength.field * _uniform(n, 0.0, 1.0)[:, None, None, None] * field
    return x + 255.0 * level * (tf.random.normal(tf.shape(x)) + 0.3 * coarse)


def hide(x: tf.Tensor, strength: Strength) -> tf.Tensor:
    """Cover corners (letters, markers), one rectangle, and margins."""
    n, size = tf.shape(x)[0], x.shape[1]
    grid = (tf.range(size, dtype=tf.float32) + 0.5) / size
    rows, columns = grid[None, :, None], grid[None, None, :]

    def paint(
        x: tf.Tensor,
        top: tf.Tensor,
        bottom: tf.Tensor,
        left: tf.Tensor,
        right: tf.Tensor,
        probability: float,
    ) -> tf.Tensor:
        inside = (rows > _wide(top)) & (rows < _wide(bottom))
        inside &= (columns > _wide(left)) & (columns < _wide(right))
        inside &= _wide(_uniform(n, 0, 1)) < probability
        # Black, white or any grey, so that a cover says nothing.
        colour = tf.clip_by_value(_uniform(n, -0.5, 1.2), 0.0, 1.0) * 255.0
        return tf.where(inside[..., None], _wide(colour)[..., None], x)

    zero, one = tf.zeros([n]), tf.ones([n])
    if strength.corners:
        for low in (True, False):
            for left in (True, False):
                h, w = _uniform(n, 0.03, 0.18), _uniform(n, 0.05, 0.25)
                vertical = (1 - h, one) if low else (zero, h)
                across = (zero, w) if left else (1 - w, one)
                x = paint(x, *vertical, *across, strength.corners)
    if strength.cutout:
        y, z, h, w = (_uniform(n, a, b) for a, b in ((0, 1), (0, 1), (0.05, 0.15), (0.05, 0.15)))
        x = paint(x, y - h, y + h, z - w, z + w, strength.cutout)
    if strength.border:
        h = _uniform(n, 0.0, 0.12)
        x = paint(x, zero, h, zero, one, strength.border / 2)
        x = paint(x, 1 - h, one, zero, one, strength.border / 2)
        w = _uniform(n, 0.0, 0.12)
        x = paint(x, zero, one, zero, w, strength.border / 2)
        x = paint(x, zero, one, 1 - w, one, strength.border / 2)
    return x


def surround(x: tf.Tensor, probability: float) -> tf.Tensor:
    """Put the lungs of some images into the surroundings of another one of the batch.

    What lies around the lungs (shoulders, borders, letters, the shape of the body) then says
    nothing of the class. As CutMix (Yun et al., ICCV 2019), but what is kept is where the lungs
    lie, the label stays theirs alone, and the other image is brought to the grey levels of this
    one: mean and deviation where the lungs lie become the same. Xiao et al., "Noise or Signal"
    (ICLR 2021), exchange backgrounds to measure what a network makes of them.

    Args:
        x: float32 `(n, s, s, 1)`, 0..255.
        probability: of each image to be changed.

    Returns:
        float32 `(n, s, s, 1)`, 0..255.
    """
    n = tf.shape(x)[0]
    lungs = _around_the_lungs(n, x.shape[1])
    other = tf.random.shuffle(x)
    (mean, spread), (other_mean, other_spread) = (_levels(part, lungs) for part in (x, other))
    frame = tf.clip_by_value((other - other_mean) / other_spread * spread + mean, 0.0, 255.0)
    return _some(probability, lungs * x + (1 - lungs) * frame, x)


def _around_the_lungs(n: tf.Tensor, size: int) -> tf.Tensor:
    """`(n, size, size, 1)`, 1 inside and 0 outside of the two ellipses, a little larger or lower
    in each image, in half of them with what lies between the lungs; the edge is soft."""
    grid = (tf.range(size, dtype=tf.float32) + 0.5) / size
    large = _wide(_uniform(n, 0.95, 1.35))
    down = _wide(_uniform(n, -0.03, 0.03))
    rows, columns = grid[None, :, None], grid[None, None, :]
    mask = tf.zeros([n, size, size])
    for x, y, half_width, half_height in LUNGS:
        across, along = (columns - x) / half_width, (rows - y - down) / half_height
        away = tf.sqrt(across**2 + along**2) / large
        mask = tf.maximum(mask, tf.clip_by_value((1 - away) / 0.08 + 0.5, 0.0, 1.0))
    between = (tf.abs(columns - 0.5) < 0.22) & (tf.abs(rows - 0.47 - down) < 0.3 * large)
    between &= _wide(_uniform(n, 0, 1)) < 0.5
    return tf.maximum(mask, tf.cast(between, tf.float32))[..., None]


def _levels(x: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and deviation of the grey levels inside a mask, `(n, 1, 1, 1)` each."""
    weight = tf.reduce_sum(mask, (1, 2, 3), keepdims=True)
    mean = tf.reduce_sum(x * mask, (1, 2, 3), keepdims=True) / weight
    variance = tf.reduce_sum((x - mean) ** 2 * mask, (1, 2, 3), keepdims=True) / weight
    return mean, tf.sqrt(variance + 25.0)  # no division by what a plain image has


def no_augmentation(images: tf.Tensor) -> tf.Tensor:
    """uint8 `(n, s, s)` to float32 `(n, s, s, 1)`, as they are."""
    return tf.cast(images[..., None], tf.float32)


def original_augmentation(images: tf.Tensor) -> tf.Tensor:
    """What the original script did with ImageDataGenerator: shear 0.2, zoom 0.2, mirror.

    Args:
        images: uint8 `(n, s, s)`.

    Returns:
        float32 `(n, s, s, 1)`, 0..255.
    """
    n, side = tf.shape(images)[0], images.shape[1]
    shear = tf.random.uniform([n], -0.2, 0.2) * (math.pi / 180)  # Keras takes degrees
    zoom_x, zoom_y = tf.random.uniform([n], 0.8, 1.2), tf.random.uniform([n], 0.8, 1.2)
    mirror = tf.where(tf.random.uniform([n]) < 0.5, -1.0, 1.0)
    half = (side - 1) / 2
    a, b = mirror * zoom_x, -tf.sin(shear) * zoom_y
    c, d = tf.zeros([n]), tf.cos(shear) * zoom_y
    zero = tf.zeros([n])
    transforms = [a, b, half - half * (a + b), c, d, half - half * (c + d), zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images[..., None], tf.float32),
        transforms=tf.stack(transforms, axis=1),
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _uniform(n: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.random.uniform([n], low, high)


def _wide(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None]


def _some(probability: float, changed: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """`changed` for a random share of the batch, `kept` for the rest."""
    shape = tf.concat([tf.shape(kept)[:1], tf.ones([tf.rank(kept) - 1], tf.int32)], 0)
    return tf.where(tf.random.uniform(shape) < probability, changed, kept)
