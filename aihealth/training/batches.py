"""What `model.fit` is given: draws, augmented batches, the optimizer.

Batches are made by TensorFlow, on the CPU, whatever Keras' backend.
"""

import keras
import numpy as np
import tensorflow as tf

from aihealth.data.cluster import Cluster
from aihealth.data.prepared import Images
from aihealth.data.streaming import Stream
from aihealth.training.augmentation import Augmentation
from aihealth.training.dice import Dice

WARM_UP = 40  # steps
DOUBTFUL = 4  # images in a batch, besides the others, that no class is right for


def sampling_weights(images: Images, balance: float) -> np.ndarray:
    """How often each training image is drawn.

    Args:
        images: the training images.
        balance: 0 draws every image equally often, 1 every source of a class equally often;
            between them, the sources of a class count by their size to the power `1 - balance`.
            Classes are equally frequent whenever it is above 0.

    Returns:
        `(n,)` probabilities, sum 1.
    """
    weights = np.ones(len(images))
    if balance > 0:
        strata = images.strata()
        counts = np.bincount(strata)
        weights = counts[strata] ** (1.0 - balance) / counts[strata]
        per_class = np.bincount(images.labels, weights)
        weights /= per_class[images.labels]
    return weights / weights.sum()


def training_batches(
    images: Images,
    augment: Augmentation,
    *,
    weights: np.ndarray,
    batch_size: int,
    steps: range,
    smoothing: float,
    seed: int,
    cluster: Cluster | None = None,
    twice: bool = False,
) -> tf.data.Dataset:
    """Endless shuffling without Python: step number -> drawn indices -> augmented batch.

    Args:
        images: the training images.
        augment: as `augmentation.by_name` gives it.
        weights: `(n,)` probabilities of being drawn.
        batch_size: images a step, even.
        steps: numbers of the steps; what a step draws, and how it is augmented, depends on nothing
            else, so a run that resumes sees what it would have seen.
        smoothing: label smoothing, 0..1.
        seed: of the draws.
        cluster: the processes that share each batch: what is drawn does not depend on their
            number. How it is augmented does.
        twice: draw half as many images, and augment each in two ways that stand side by side.

    Returns:
        Batches of `(b, size, size, 3)` grey levels 0..255 and one-hot `(b, classes)` labels.
    """
    cluster = cluster or Cluster()
    drawn = batch_size // 2 if twice else batch_size
    rows = cluster.rows(drawn)
    with tf.device("CPU"):
        pixels = tf.constant(images.pixels)
        labels = one_hot(images.labels, len(images.classes), smoothing)
        cumulative = tf.constant(np.cumsum(weights), tf.float64)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draw = tf.random.stateless_uniform([drawn], [seed, step], dtype=tf.float64)
        index = tf.minimum(tf.searchsorted(cumulative, draw), len(images) - 1)[rows]
        dice = Dice([seed, step], cluster.index)
        found, asked = tf.gather(pixels, index), tf.gather(labels, index)
        if twice:
            return three_channels(two_ways(found, augment, dice)), tf.repeat(asked, 2, 0)
        return three_channels(augment(found, dice)), asked

    options = tf.data.Options()
    # There is nothing to rewrite in two steps, and the rewriting copies all pixels.
    options.experimental_optimization.apply_default_optimizations = False
    return (
        tf.data.Dataset.range(steps.start, steps.stop)
        .map(batch, num_parallel_calls=2, deterministic=True)
        .prefetch(2)
        .with_options(options)
    )


def two_ways(pixels: tf.Tensor, augment: Augmentation, dice: Dice) -> tf.Tensor:
    """Each image changed in two ways, one beside the other.

    `mixed` changes the first half of a batch a little and the second very much, so each pair is
    one image nearly as it is and the same one as another machine might give it.

    Args:
        pixels: uint8 `(n, s, s)`.

    Returns:
        float32 `(2 n, size, size, 1)`, 0..255.
    """
    changed = augment(tf.concat([pixels, pixels], 0), dice)
    return tf.reshape(tf.stack(tf.split(changed, 2), 1), tf.shape(changed))


def with_doubt(
    batches: tf.data.Dataset,
    radiographs: np.ndarray,
    others: np.ndarray,
    augment: Augmentation,
    *,
    steps: range,
    seed: int,
    cluster: Cluster | None = None,
    count: int = DOUBTFUL,
) -> tf.data.Dataset:
    """Add images that no class is right for; every class is asked for alike.

    So the network learns that what looks unusual is unusual, instead of which class it looks most
    like (Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", ICLR 2019).

    Args:
        batches: as `training_batches` gives them.
        radiographs: uint8 `(n, s, s)`, the training images; a few are taken as negatives or lying
            on their side or head.
        others: uint8 `(m, s, s)`, images of other diseases or views.
        augment: as for `training_batches`.
        steps: as for `training_batches`.
        seed: as for `training_batches`.
        cluster: as for `training_batches`.
        count: images added to each batch, an even number; half of them from `others`.
    """
    index = cluster.index if cluster else 0
    with tf.device("CPU"):
        radiographs, others = tf.constant(radiographs), tf.constant(others)

    def draw(pixels: tf.Tensor, dice: Dice) -> tf.Tensor:
        return tf.gather(pixels, tf.cast(dice.uniform([count // 2]) * len(pixels), tf.int32))

    def add(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        dice = Dice([seed, -1 - step], index)  # other numbers than those of the batch itself
        upright, kind = draw(radiographs, dice), dice.uniform([count // 2, 1, 1])
        lying = tf.transpose(upright, (0, 2, 1))
        side = tf.where(dice.uniform([count // 2, 1, 1]) < 0.5, lying, lying[:, ::-1])
        turned = tf.where(kind < 0.8, side, upright[:, ::-1])
        wrong = tf.where(kind < 0.5, 255 - upright, turned)
        added = augment(tf.concat([draw(others, dice), wrong], 0), dice)
        classes = labels.shape[1]
        none = tf.fill([count, classes], 1 / classes)
        return tf.concat([images, three_channels(added)], 0), tf.concat([labels, none], 0)

    numbered = batches.enumerate(steps.start)
    return numbered.map(add, num_parallel_calls=2, deterministic=True).prefetch(2)


def streamed_batches(
    stream: Stream,
    augment: Augmentation,
    *,
    classes: int,
    steps: range,
    smoothing: float,
    seed: int,
    cluster: Cluster | None = None,
    twice: bool = False,
) -> tf.data.Dataset:
    """As `training_batches`, from a stream; a third element weighs each image's loss."""
    rows, side = stream.batch_size, stream.side
    index = cluster.index if cluster else 0
    signature = (
        tf.TensorSpec((rows, side, side), tf.uint8),
        tf.TensorSpec((rows,), tf.int32),
        tf.TensorSpec((rows,), tf.float32),
    )

    def batch(step: tf.Tensor, given: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        pixels, labels, weights = given
        dice, asked = Dice([seed, step], index), one_hot(labels, classes, smoothing)
        if twice:
            changed = three_channels(two_ways(pixels, augment, dice))
            return changed, tf.repeat(asked, 2, 0), tf.repeat(weights, 2)
        return three_channels(augment(pixels, dice)), asked, weights

    return (
        tf.data.Dataset.from_generator(stream.batches, output_signature=signature)
        .enumerate(steps.start)
        .map(batch, num_parallel_calls=2, deterministic=True)
        .prefetch(2)
    )


def evaluation_batches(
    images: Images, batch_size: int, cluster: Cluster | None = None, devices: int = 1
) -> tf.data.Dataset:
    """The images as they are, in order, in batches of grey levels and one-hot labels.

    Where several devices share each batch, the last `len(images) % devices` are left out.

    Args:
        images: at the model's input size.
        batch_size: images a batch, of all processes together.
        cluster: the processes that share each batch; each gets its own rows.
        devices: of all processes together; they get equally many rows.
    """
    cluster = cluster or Cluster()
    if devices > 1:
        kept = len(images) - len(images) % devices
        starts = range(0, kept, batch_size)
        batches = [np.arange(kept)[start : start + batch_size] for start in starts]
        images = images.subset(np.concatenate([rows[cluster.rows(len(rows))] for rows in batches]))
    pairs = tf.data.Dataset.from_tensor_slices(
        (images.pixels[..., None], one_hot(images.labels, len(images.classes)))
    )
    return pairs.batch(batch_size // cluster.processes).map(
        lambda x, y: (three_channels(tf.cast(x, tf.float32)), y)
    )


def one_hot(labels: np.ndarray | tf.Tensor, classes: int, smoothing: float = 0.0) -> tf.Tensor:
    """`(n,)` integers to float32 `(n, classes)`, smoothed (Szegedy et al., CVPR 2016)."""
    return tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def three_channels(grey: tf.Tensor) -> tf.Tensor:
    """`(n, h, w, 1)` to `(n, h, w, 3)`, as models take images."""
    return tf.repeat(grey, 3, axis=-1)


def optimizer(
    arch: str, learning_rate: float, weight_decay: float, steps: int
) -> keras.optimizers.Optimizer:
    """AdamW under a cosine with a short warm-up; for the baseline the original's plain Adam.

    Args:
        arch: name of the architecture.
        learning_rate: the highest, after the warm-up.
        weight_decay: of AdamW.
        steps: of the whole run.
    """
    if arch == "baseline":
        return keras.optimizers.Adam(learning_rate)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20,
        max(1, steps - WARM_UP),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=WARM_UP,
    )
    return keras.optimizers.AdamW(schedule, weight_decay=weight_decay, global_clipnorm=2.0)
