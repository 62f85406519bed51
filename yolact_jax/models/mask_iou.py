"""The mask scoring network of YOLACT++ (Bolya et al. 2020, after Huang et al. 2019)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.layers import Conv


class MaskIouNet(nn.Module):
    """Predicts, per class, how well a soft mask overlaps with its object.

    Attributes:
      num_classes: C, foreground classes.
      features: channels of the convolutions of stride 2.
      dtype: type in which convolutions run.
    """

    num_classes: int
    features: Sequence[int] = (8, 16, 32, 64, 128)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, masks: jax.Array) -> jax.Array:
        """Scores cropped soft masks [D, Hp, Wp] as [D, C] float32, at least 0."""
        x = masks[..., None]
        for index, features in enumerate(self.features):
            # No padding, unlike everywhere else: the weights were trained without.
            conv = Conv(
                features, 3, 2, padding=0, dtype=self.dtype, name=f"conv{index}"
            )
            x = nn.relu(conv(x))
        x = Conv(self.num_classes, 1, dtype=self.dtype, name="scores")(x)
        return jnp.max(nn.relu(x), axis=(1, 2)).astype(jnp.float32)
