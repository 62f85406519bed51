"""ProtoNet, the prediction head shared by all levels, and the semantic head."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.layers import Conv
from yolact_jax.ops.resize import resize_bilinear


class ProtoNet(nn.Module):
    """Computes the prototype masks of an image from P3 (YOLACT, section 3.1).

    Attributes:
      num_prototypes: K.
      features: channels of the hidden convolutions.
      dtype: type in which convolutions run.
      winograd: see `Conv`.
    """

    num_prototypes: int
    features: int
    dtype: Any = jnp.float32
    winograd: bool = False

    @nn.compact
    def __call__(self, p3: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to non-negative [B, 2h, 2w, K] float32."""
        conv = partial(Conv, self.features, 3, dtype=self.dtype, winograd=self.winograd)
        x = p3
        for index in range(3):
            x = nn.relu(conv(name=f"conv{index}")(x))
        size = (2 * x.shape[1], 2 * x.shape[2])
        x = resize_bilinear(x, size, axes=(1, 2))
        x = nn.relu(conv(name="conv3")(x))
        x = Conv(self.num_prototypes, 1, dtype=self.dtype, name="prototypes")(x)
        return nn.relu(x).astype(jnp.float32)


class PredictionHead(nn.Module):
    """Predicts class, box and mask coefficients of every anchor of one level.

    Attributes:
      num_classes: C, foreground classes.
      anchors_per_cell: anchor shapes per map cell.
      num_prototypes: K.
      features: channels of the hidden convolution.
      dtype: type in which convolutions run.
      winograd: see `Conv`.
    """

    num_classes: int
    anchors_per_cell: int
    num_prototypes: int
    features: int
    dtype: Any = jnp.float32
    winograd: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Predicts from one pyramid level, [B, h, w, c] float.

        Returns:
          Box deltas [B, h * w * a, 4], class logits [B, h * w * a, C + 1] and mask
          coefficients [B, h * w * a, K] after tanh, all float32.
        """
        conv = partial(Conv, kernel_size=3, dtype=self.dtype, winograd=self.winograd)
        x = nn.relu(conv(self.features, name="conv")(x))

        def predict(size: int, name: str) -> jax.Array:
            y = conv(self.anchors_per_cell * size, name=name)(x)
            return y.reshape(y.shape[0], -1, size).astype(jnp.float32)

        boxes = predict(4, "box")
        classes = predict(self.num_classes + 1, "class")
        coefficients = jnp.tanh(predict(self.num_prototypes, "mask"))
        return boxes, classes, coefficients
