"""Batch normalisation in one kernel: the same numbers in less of a step."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("aihealth")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """As Keras' own layer, by the one kernel that TensorFlow has for all of it.

    Keras writes a dozen elementwise operations instead, each of which reads and writes the whole
    activation. In half precision, on other backends, and without scale and offset, this is Keras'
    layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """As Keras calls it: `(n, h, w, c)` to the same shape; `mask` is not supported."""
        known = self.compute_dtype == "float32" and self.scale and self.center
        if keras.backend.backend() != "tensorflow" or not known or len(inputs.shape) != 4:
            return super().call(inputs, training, mask)
        given = {"scale": self.gamma.value, "offset": self.beta.value, "epsilon": self.epsilon}
        mean, variance = self.moving_mean, self.moving_variance
        normalize = tf.compat.v1.nn.fused_batch_norm
        if not (training and self.trainable):
            fixed = {"mean": mean.value, "variance": variance.value, "is_training": False}
            return normalize(inputs, **given, **fixed)[0]
        outputs, found_mean, found_variance = normalize(inputs, **given)
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        found_variance *= (count - 1) / count  # Keras averages that of the batch, uncorrected.
        for average, found in ((mean, found_mean), (variance, found_variance)):
            average.assign(average * self.momentum + found * (1 - self.momentum))
        return outputs
