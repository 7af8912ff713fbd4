"""A network that is asked to answer alike for one image changed in two ways."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("aihealth")
class Consistent(keras.Model):
    """A model of Keras whose training loss grows where two versions of an image get two answers.

    The loss has the Jensen-Shannon divergence of the two answers added, times `weight`
    (Hendrycks et al., "AugMix", ICLR 2020). Validation has the plain loss.

    Attributes:
        weight: of the divergence; 0 for a plain model. Not saved with the model.
    """

    weight = 0.0

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """As Keras calls it; with a weight, rows 0 and 1, 2 and 3, ... of `y_pred` are pairs."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not (training and self.weight):
            return loss
        given = ops.maximum(ops.cast(y_pred, "float32"), keras.config.epsilon())
        pairs = ops.reshape(given, (-1, 2, given.shape[-1]))
        mean = ops.mean(pairs, axis=1, keepdims=True)
        divergence = ops.sum(pairs * ops.log(pairs / mean), axis=-1)
        return loss + self.weight * ops.mean(divergence)
