"""ResNet backbones (He et al. 2016), stride on the 3x3 as in torchvision's v1.5."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.deform_conv import DeformConv
from yolact_jax.models.kernels.pooling import max_pool
from yolact_jax.models.layers import conv_and_norm, conv_norm
from yolact_jax.models.normalize import IMAGENET, Normalization

# Without pretrained weights a deep network learns sooner if every block starts as its
# shortcut (Goyal et al. 2017).
_START_AS_IDENTITY = nn.initializers.zeros


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, for ResNet-18.

    Attributes:
      planes: channels of both convolutions.
      stride: step of the first convolution.
      conv: convolution without bias.
      conv3x3: the second convolution, ordinary or deformable.
      norm: normalization layer.
    """

    planes: int
    stride: int
    conv: Any
    conv3x3: Any
    norm: Any
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to [B, h / stride, w / stride, planes]."""
        conv1 = self.conv(self.planes, 3, self.stride, name="conv1")
        y = nn.relu(conv_norm(conv1, self.norm(name="bn1"), x))
        conv2 = self.conv3x3(self.planes, 3, name="conv2")
        bn2 = self.norm(scale_init=_START_AS_IDENTITY, name="bn2")
        y = conv_norm(conv2, bn2, y)
        return nn.relu(y + _shortcut(self, x, y.shape[-1]))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, for ResNet-50 and deeper.

    Attributes:
      planes: channels of the 3x3 convolution; the block returns four times as many.
      stride: step of the 3x3 convolution.
      conv: convolution without bias.
      conv3x3: the 3x3 convolution, ordinary or deformable.
      norm: normalization layer.
    """

    planes: int
    stride: int
    conv: Any
    conv3x3: Any
    norm: Any
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to [B, h / stride, w / stride, 4 * planes]."""
        conv1 = self.conv(self.planes, 1, name="conv1")
        y = nn.relu(conv_norm(conv1, self.norm(name="bn1"), x))
        conv2 = self.conv3x3(self.planes, 3, self.stride, name="conv2")
        y = nn.relu(conv_norm(conv2, self.norm(name="bn2"), y))
        conv3 = self.conv(self.planes * self.expansion, 1, name="conv3")
        bn3 = self.norm(scale_init=_START_AS_IDENTITY, name="bn3")
        y = conv_norm(conv3, bn3, y)
        return nn.relu(y + _shortcut(self, x, y.shape[-1]))


def _shortcut(block: nn.Module, x: jax.Array, features: int) -> jax.Array:
    if block.stride == 1 and x.shape[-1] == features:
        return x
    conv = block.conv(features, 1, block.stride, name="downsample_conv")
    return conv_norm(conv, block.norm(name="downsample_bn"), x)


class ResNet(nn.Module):
    """ResNet without classifier, returning the maps the FPN needs.

    Attributes:
      stage_sizes: blocks per stage.
      block: `BasicBlock` or `Bottleneck`.
      width: channels of the stem and planes of the first stage; 64 is the standard.
      deformable_interval: every how many blocks of the last three stages, from the
        first of each stage on, the 3x3 convolution is deformable; 0 for none.
      axis_name: mapped axis for the batch statistics, see `BatchNorm`.
      remat: recompute the inside of residual blocks for the gradient instead of
        keeping it in memory.
      dtype: type in which convolutions run.
      winograd: see `Conv`.
      normalization: what the input went through; it has as many channels.
    """

    stage_sizes: Sequence[int]
    block: Any
    width: int
    deformable_interval: int
    axis_name: str | None = None
    remat: bool = False
    dtype: Any = jnp.float32
    winograd: bool = False
    normalization: Normalization = IMAGENET

    @nn.compact
    def __call__(
        self, x: jax.Array, *, use_running_average: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Computes C3, C4, C5: maps at strides s = 8, 16 and 32, [B, ceil(H / s), ...].

        Args:
          x: [B, H, W, N] float, normalized.
          use_running_average: freeze batch normalization, see `FrozenBatchNorm`.
        """
        conv, norm = conv_and_norm(
            use_running_average, self.axis_name, self.dtype, winograd=self.winograd
        )
        deform_conv = partial(DeformConv, dtype=self.dtype)
        block = nn.remat(self.block) if self.remat else self.block
        stem = conv(self.width, 7, 2, name="conv1")
        x = nn.relu(conv_norm(stem, norm(name="bn1"), x))
        x = max_pool(x)
        stages = []
        for stage, num_blocks in enumerate(self.stage_sizes):
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                planes = self.width * 2**stage
                conv3x3 = deform_conv if self._is_deformable(stage, index) else conv
                name = f"layer{stage + 1}_{index}"
                x = block(planes, stride, conv, conv3x3, norm, name=name)(x)
            stages.append(x)
        return tuple(stages[1:])

    def _is_deformable(self, stage: int, index: int) -> bool:
        interval = self.deformable_interval
        return interval > 0 and stage > 0 and index % interval == 0


ResNet18 = partial(ResNet, (2, 2, 2, 2), BasicBlock)
ResNet50 = partial(ResNet, (3, 4, 6, 3), Bottleneck)
ResNet101 = partial(ResNet, (3, 4, 23, 3), Bottleneck)
