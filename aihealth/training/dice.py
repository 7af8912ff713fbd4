"""Random numbers that a run can have again."""

import tensorflow as tf


class Dice:
    """Random numbers that follow from a seed and from how often was drawn before.

    TensorFlow's own random operations draw from a state of the process, which a run that goes on
    from a checkpoint has lost.

    Args:
        seed: `(2,)` integers, such as the run's seed and the number of the step.
        index: of the process; each draws other numbers.
    """

    def __init__(self, seed: tf.Tensor, index: int = 0) -> None:
        seed = tf.random.fold_in(tf.cast(seed, tf.int64), tf.constant(index, tf.int64))
        self._key = tf.random.stateless_uniform([], seed, None, None, tf.int64)
        self._draws = 0

    def uniform(self, shape: tf.Tensor | list, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """Float32 of a shape, from `low` up to `high`."""
        return tf.random.stateless_uniform(shape, self._next(), low, high)

    def normal(self, shape: tf.Tensor | list) -> tf.Tensor:
        """Float32 of a shape, with mean 0 and standard deviation 1."""
        return tf.random.stateless_normal(shape, self._next())

    def shuffle(self, x: tf.Tensor) -> tf.Tensor:
        """The rows of a tensor in another order."""
        return tf.gather(x, tf.argsort(self.uniform(tf.shape(x)[:1])))

    def _next(self) -> tf.Tensor:
        self._draws += 1
        return tf.stack([self._key, tf.constant(self._draws, tf.int64)])
