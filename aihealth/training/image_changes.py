"""The steps of augmentation: each changes every image of a batch in its own way."""

import dataclasses
import math

import tensorflow as tf

from aihealth.training.dice import Dice


@dataclasses.dataclass(frozen=True)
class Strength:
    """How much a training image is changed; probabilities and ranges per image."""

    zoom: tuple[float, float] = (0.65, 1.20)  # Side of the visible part, share of the image.
    aspect: float = 0.12  # Natural log of width / height, at most.
    shift: float = 0.07  # Share of the side, beyond what keeps the crop inside.
    rotate: float = 10.0  # Degrees.
    flip: float = 0.5
    match: float = 0.3  # Probability of taking over the grey levels of another image of the batch.
    equalise: float = 0.2
    gamma: float = 0.5  # Natural log of the exponent, at most.
    contrast: float = 0.3
    resample: float = 0.5  # Probability of being shrunk to a smaller size and back.
    smallest: float = 0.3  # Share of the side that it is shrunk to, at least.
    local: float = 0.6  # Probability of other local contrast, as filters of a viewer leave it.
    noise: float = 0.06  # Standard deviation, share of the grey range, at most.
    field: float = 0.2  # Amplitude of a smooth brightness gradient.
    corners: float = 0.5  # Probability of hiding each corner.
    cutout: float = 0.5  # Probability of hiding a rectangle.
    border: float = 0.3  # Probability of black, white or grey margins.


def tone(images: tf.Tensor, dice: Dice, strength: Strength) -> tf.Tensor:
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
        other = dice.shuffle(rank)
        matched = tf.cast(tf.searchsorted(other, rank - 1e-6), tf.float32)
        # Part of the way only, by chance, so that the curves of all images form a continuum.
        share = dice.uniform([n], 0.3, 1.0)[:, None]
        table = some(dice, strength.match, table + share * (matched - table), table)
        table = some(dice, strength.equalise, table + share * (255.0 * rank - table), table)
    unit = tf.clip_by_value(table / 255.0, 0.0, 1.0)
    unit **= tf.exp(dice.uniform([n], -strength.gamma, strength.gamma))[:, None]
    scale = 1.0 + dice.uniform([n], -strength.contrast, strength.contrast)[:, None]
    offset = dice.uniform([n], -strength.contrast, strength.contrast)[:, None] / 2
    unit = tf.clip_by_value((unit - 0.5) * scale + 0.5 + offset, 0.0, 1.0)
    return 255.0 * tf.gather(unit, tf.cast(images, tf.int32), batch_dims=1)


def warp(x: tf.Tensor, dice: Dice, size: int, strength: Strength) -> tf.Tensor:
    """Crop, stretch, shift, rotate and mirror; float32 `(n, s, s, 1)` to `(n, size, size, 1)`."""
    n, side = tf.shape(x)[0], tf.cast(tf.shape(x)[1], tf.float32)
    zoom = dice.uniform([n], *strength.zoom)
    aspect = tf.exp(dice.uniform([n], -strength.aspect, strength.aspect) / 2)
    angle = dice.uniform([n], -strength.rotate, strength.rotate) * (math.pi / 180)
    mirror = tf.where(dice.uniform([n], 0, 1) < strength.flip, -1.0, 1.0)
    step = side / size
    across, down = zoom * aspect * step, zoom / aspect * step
    room = tf.maximum(0.0, 1.0 - zoom) / 2 + strength.shift
    centre_x = side * (0.5 + room * dice.uniform([n], -1, 1))
    centre_y = side * (0.5 + room * dice.uniform([n], -1, 1))
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


def resample(x: tf.Tensor, dice: Dice, strength: Strength) -> tf.Tensor:
    """Shrink some images and enlarge them again: what a small or poorly scanned file looks like."""
    parts = [
        some(dice, strength.resample, _shrunk(part, dice, strength.smallest, 1.0), part)
        for part in halves(x)
    ]
    return tf.concat(parts, 0)


def local(x: tf.Tensor, dice: Dice) -> tf.Tensor:
    """Change the contrast of coarse, middle and fine structures apart from each other.

    Sharpening, smoothing and adaptive equalisation (CLAHE), which viewers, exports and makers of
    datasets apply, differ in nothing more than these three factors.
    """
    return tf.concat([_bands(part, dice) for part in halves(x)], 0)


def _bands(x: tf.Tensor, dice: Dice) -> tf.Tensor:
    """As `local`, with one choice of the two borders between the bands for the whole batch."""

    def gain(low: float, high: float) -> tf.Tensor:
        return tf.exp(dice.uniform([tf.shape(x)[0]], low, high))[:, None, None, None]

    mean = tf.reduce_mean(x, (1, 2, 3), keepdims=True)
    coarse, middle = _shrunk(x, dice, 0.03, 0.15, "bicubic"), _shrunk(x, dice, 0.3, 0.8, "bicubic")
    return (
        mean
        + gain(-1.2, 0.2) * (coarse - mean)
        + gain(-0.4, 1.0) * (middle - coarse)
        + gain(-1.0, 1.4) * (x - middle)
    )


def _shrunk(
    x: tf.Tensor, dice: Dice, least: float, most: float, enlarge: str = "bilinear"
) -> tf.Tensor:
    """Shrink to one random share of the side and enlarge again."""
    size = x.shape[1]
    share = dice.uniform([], least, most)
    small = tf.cast(tf.math.round(share * size), tf.int32)
    return tf.image.resize(tf.image.resize(x, [small, small], antialias=True), [size] * 2, enlarge)


def disturb(x: tf.Tensor, dice: Dice, strength: Strength) -> tf.Tensor:
    """Add a smooth brightness gradient and noise (fine, and coarse as compression leaves it)."""
    n, size = tf.shape(x)[0], x.shape[1]
    field = tf.image.resize(dice.uniform([n, 3, 3, 1], -1.0, 1.0), [size, size], "bicubic")
    coarse = dice.normal([n, size // 8, size // 8, 1])
    coarse = tf.image.resize(coarse, [size, size], "nearest")
    level = strength.noise * dice.uniform([n], 0.0, 1.0)[:, None, None, None] ** 2
    x += 255.0 * strength.field * dice.uniform([n], 0.0, 1.0)[:, None, None, None] * field
    return x + 255.0 * level * (dice.normal(tf.shape(x)) + 0.3 * coarse)


def hide(x: tf.Tensor, dice: Dice, strength: Strength) -> tf.Tensor:
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
        inside &= _wide(dice.uniform([n], 0, 1)) < probability
        # Black, white or any grey, so that a cover says nothing.
        colour = tf.clip_by_value(dice.uniform([n], -0.5, 1.2), 0.0, 1.0) * 255.0
        return tf.where(inside[..., None], _wide(colour)[..., None], x)

    zero, one = tf.zeros([n]), tf.ones([n])
    if strength.corners:
        for low in (True, False):
            for left in (True, False):
                h, w = dice.uniform([n], 0.03, 0.18), dice.uniform([n], 0.05, 0.25)
                vertical = (1 - h, one) if low else (zero, h)
                across = (zero, w) if left else (1 - w, one)
                x = paint(x, *vertical, *across, strength.corners)
    if strength.cutout:
        y, z, h, w = (
            dice.uniform([n], a, b) for a, b in ((0, 1), (0, 1), (0.05, 0.15), (0.05, 0.15))
        )
        x = paint(x, y - h, y + h, z - w, z + w, strength.cutout)
    if strength.border:
        h = dice.uniform([n], 0.0, 0.12)
        x = paint(x, zero, h, zero, one, strength.border / 2)
        x = paint(x, 1 - h, one, zero, one, strength.border / 2)
        w = dice.uniform([n], 0.0, 0.12)
        x = paint(x, zero, one, zero, w, strength.border / 2)
        x = paint(x, zero, one, 1 - w, one, strength.border / 2)
    return x


def swap_background(images: tf.Tensor, dice: Dice, probability: float) -> tf.Tensor:
    """Put the lungs of some images into the surroundings of another one of the batch.

    What lies around the lungs (shoulders, borders, letters, the shape of the body) then says
    nothing of the class. As CutMix (Yun et al., ICCV 2019), but what is kept is the lungs, and the
    label stays theirs alone. The other image is moved and scaled so that its lungs lie where those
    of this one lie, and brought to its grey levels: mean and deviation inside the lungs become the
    same. Xiao et al., "Noise or Signal" (ICLR 2021), swap backgrounds to measure what a network
    makes of them.

    Args:
        images: uint8 `(n, s, s)`, grey levels 0..255, as `data.lungs.mark_all` gives them.
        probability: of each image to be changed.

    Returns:
        uint8 `(n, s, s)`.
    """
    chosen = tf.where(dice.uniform(tf.shape(images)[:1]) < probability)
    own, others = (_and_lungs(tf.gather_nd(x, chosen)) for x in (images, dice.shuffle(images)))
    moved = _moved(others, _box_on_box(own[..., 1:], others[..., 1:]))
    (x, lungs), (other, other_lungs) = (tf.split(part, 2, -1) for part in (own, moved))
    # A little more than the lungs of both, with a soft edge.
    kept = tf.minimum(3 * _blurred(tf.maximum(lungs, tf.round(other_lungs))), 1)
    (mean, spread), (other_mean, other_spread) = (_levels(part, kept) for part in (x, other))
    frame = tf.clip_by_value((other - other_mean) / other_spread * spread + mean, 0.0, 255.0)
    mixed = tf.cast(tf.round(kept * x + (1 - kept) * frame), tf.uint8)[..., 0]
    return tf.tensor_scatter_nd_update(images, chosen, mixed)


def _and_lungs(images: tf.Tensor) -> tf.Tensor:
    """Marked images to float32 `(n, s, s, 2)`: grey levels, and 1 inside the lungs."""
    return tf.cast(tf.stack([images, images & 1], -1), tf.float32)


def _box_on_box(lungs: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """`(n, 8)` projective transforms that bring the boxes of other lungs onto those of these."""

    def ends(masks: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
        covered = tf.reduce_max(masks, (axis, 3))
        last = tf.shape(covered)[1] - tf.argmax(covered[:, ::-1], 1, tf.int32)
        return tf.cast(tf.argmax(covered, 1, tf.int32), tf.float32), tf.cast(last, tf.float32)

    rows = []
    for axis in (1, 2):  # columns are covered where any row is, and the other way round
        (low, high), (other_low, other_high) = (ends(masks, axis) for masks in (lungs, others))
        scale = (other_high - other_low) / (high - low)
        rows.append((scale, other_low - scale * low))
    (across, right), (along, down) = rows
    zero = tf.zeros_like(across)
    return tf.stack([across, zero, right, zero, along, down, zero, zero], axis=1)


def _moved(images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _blurred(x: tf.Tensor) -> tf.Tensor:
    """Mean of a square of a twentieth of the side, in two passes."""
    width = 1 + 2 * round(x.shape[1] / 40)
    down = tf.fill([width, 1, 1, 1], 1 / width)
    return tf.nn.conv2d(
        tf.nn.conv2d(x, down, 1, "SAME"), tf.transpose(down, (1, 0, 2, 3)), 1, "SAME"
    )


def _levels(x: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and deviation of the grey levels inside a mask, `(n, 1, 1, 1)` each."""
    weight = tf.reduce_sum(mask, (1, 2, 3), keepdims=True)
    mean = tf.reduce_sum(x * mask, (1, 2, 3), keepdims=True) / weight
    variance = tf.reduce_sum((x - mean) ** 2 * mask, (1, 2, 3), keepdims=True) / weight
    return mean, tf.sqrt(variance + 25.0)  # no division by what a plain image has


def halves(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch in two parts, where a choice for each image would need Python."""
    half = tf.shape(x)[0] // 2
    return x[:half], x[half:]


def some(dice: Dice, probability: float, changed: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """`changed` for a random share of the batch, `kept` for the rest."""
    shape = tf.concat([tf.shape(kept)[:1], tf.ones([tf.rank(kept) - 1], tf.int32)], 0)
    return tf.where(dice.uniform(shape) < probability, changed, kept)


def _wide(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None]
