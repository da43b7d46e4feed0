"""Keras's losses: what each row costs."""

from torch_impl.keras.losses.functions import (
    binary_crossentropy,
    binary_crossentropy_from_logits,
    class_weight_to_sample_weight,
    mean_loss,
)

__all__ = [
    "binary_crossentropy",
    "binary_crossentropy_from_logits",
    "class_weight_to_sample_weight",
    "mean_loss",
]
