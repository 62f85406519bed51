"""DarkNet-53 (Redmon and Farhadi 2018, YOLOv3), without its classifier."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.layers import conv_and_norm, conv_norm
from yolact_jax.models.normalize import UNIT_RANGE, Normalization

SLOPE = 0.1
"""Of the leaky ReLU, for negative values."""


class Unit(nn.Module):
    """Convolution, batch normalization and leaky ReLU.

    Attributes:
      features: output channels.
      kernel_size: side of the kernel.
      stride: step of the kernel.
      conv: convolution without bias.
      norm: normalization layer.
    """

    features: int
    kernel_size: int
    stride: int
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to [B, h / stride, w / stride, features]."""
        conv = self.conv(self.features, self.kernel_size, self.stride, name="conv")
        return nn.leaky_relu(conv_norm(conv, self.norm(name="bn"), x), SLOPE)


class ResidualBlock(nn.Module):
    """Halves the channels, doubles them again, and adds the input.

    Attributes:
      unit: the layer of which the block has two.
    """

    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to the same shape; nothing rectifies the sum."""
        features = x.shape[-1]
        y = self.unit(max(features // 2, 1), 1, 1, name="conv1")(x)
        return x + self.unit(features, 3, 1, name="conv2")(y)


class DarkNet(nn.Module):
    """DarkNet, returning the maps the FPN needs.

    Attributes:
      stage_sizes: residual blocks per stage.
      width: channels of the first stage; 64 is the standard.
      axis_name: mapped axis for the batch statistics, see `BatchNorm`.
      remat: recompute the inside of residual blocks for the gradient instead of
        keeping it in memory.
      dtype: type in which convolutions run.
      winograd: see `Conv`.
      normalization: what the input went through; it has as many channels.
    """

    stage_sizes: Sequence[int]
    width: int
    axis_name: str | None = None
    remat: bool = False
    dtype: Any = jnp.float32
    winograd: bool = False
    normalization: Normalization = UNIT_RANGE

    @nn.compact
    def __call__(
        self, x: jax.Array, *, use_running_average: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Computes the feature maps at strides s = 8, 16 and 32, [B, ceil(H / s), ...].

        Args:
          x: [B, H, W, N] float, normalized: RGB in [0, 1].
          use_running_average: freeze batch normalization, see `FrozenBatchNorm`.
        """
        conv, norm = conv_and_norm(
            use_running_average, self.axis_name, self.dtype, winograd=self.winograd
        )
        unit = partial(Unit, conv=conv, norm=norm)
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        x = unit(max(self.width // 2, 1), 3, 1, name="preconv")(x)
        stages = []
        for stage, num_blocks in enumerate(self.stage_sizes):
            x = unit(self.width * 2**stage, 3, 2, name=f"layer{stage + 1}_0")(x)
            for index in range(1, num_blocks + 1):
                x = block(unit, name=f"layer{stage + 1}_{index}")(x)
            stages.append(x)
        return tuple(stages[2:])


DarkNet53 = partial(DarkNet, (1, 2, 8, 8, 4))
