"""MobileNetV4-Conv-Small (Qin et al. 2024), without its classifier, for CPUs.

It has 1.3 million parameters, a nineteenth of ResNet-50's, and needs a twenty-second of
the operations.  Every layer is a convolution, a batch normalization that folds into it,
and at most a ReLU, so that it goes into any format; the weights are published.
RepVGG-A0, as simple once it is folded, has seven times the operations, five times the
parameters, and another form to train in; on two CPU cores it takes 2.5 times as long.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.layers import (
    conv_and_norm,
    conv_norm,
    depthwise_he_normal,
    he_normal,
)
from yolact_jax.models.normalize import TORCHVISION, Normalization

_STANDARD_WIDTH = 64


class Plain(NamedTuple):
    """A convolution with normalization and ReLU.

    Attributes:
      kernel_size: side of the kernel.
      features: output channels.
    """

    kernel_size: int
    features: int


class Inverted(NamedTuple):
    """A universal inverted bottleneck, which widens the channels in between.

    Attributes:
      start: side of the depthwise kernel before the channels are widened; 0: none.
      middle: side of the one in between; 0: none.
      expansion: by what the channels are widened.
      features: output channels.
    """

    start: int
    middle: int
    expansion: int
    features: int


_STEM = 32
# The first block of each stage but the last has stride 2, so the second ends at 8.
_STAGES: tuple[tuple[Plain | Inverted, ...], ...] = (
    (Plain(3, 32), Plain(1, 32)),
    (Plain(3, 96), Plain(1, 64)),
    (
        Inverted(5, 5, 3, 96),
        *[Inverted(0, 3, 2, 96)] * 4,
        Inverted(3, 0, 4, 96),
    ),
    (
        Inverted(3, 3, 6, 128),
        Inverted(5, 5, 4, 128),
        Inverted(0, 5, 4, 128),
        Inverted(0, 5, 3, 128),
        *[Inverted(0, 3, 4, 128)] * 2,
    ),
    (Plain(1, 960),),
)


class Unit(nn.Module):
    """Convolution, batch normalization and perhaps a ReLU.

    Attributes:
      features: output channels.
      kernel_size: side of the kernel.
      conv: convolution without bias.
      norm: normalization layer.
      stride: step of the kernel.
      depthwise: see `Conv`.
      relu: whether a ReLU follows.
      scale_init: initializer of the scale of the normalization.
    """

    features: int
    kernel_size: int
    conv: Any
    norm: Any
    stride: int = 1
    depthwise: bool = False
    relu: bool = True
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to [B, ceil(h / stride), ceil(w / stride), features]."""
        conv = self.conv(
            self.features,
            self.kernel_size,
            self.stride,
            depthwise=self.depthwise,
            kernel_init=depthwise_he_normal if self.depthwise else he_normal,
            name="conv",
        )
        norm = self.norm(scale_init=self.scale_init, name="bn")
        y = conv_norm(conv, norm, x)
        return nn.relu(y) if self.relu else y


class InvertedBottleneck(nn.Module):
    """The block that `Inverted` describes.

    Attributes:
      sizes: kernels, expansion and output channels.
      stride: step of the depthwise kernel in the middle, or else of that at the start.
      unit: `Unit`, bound to its layers.
    """

    sizes: Inverted
    stride: int
    unit: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, c] to [B, ceil(h / stride), ..., features]."""
        start, middle, expansion, features = self.sizes
        shortcut = self.stride == 1 and x.shape[-1] == features
        y = x
        if start:
            stride = 1 if middle else self.stride
            y = self._depthwise(y, start, stride, relu=False, name="dw_start")
        y = self.unit(expansion * x.shape[-1], 1, name="pw_exp")(y)
        if middle:
            y = self._depthwise(y, middle, self.stride, relu=True, name="dw_mid")
        # As in `resnet`: a block with a shortcut starts as that.
        init = nn.initializers.zeros if shortcut else nn.initializers.ones
        y = self.unit(features, 1, relu=False, scale_init=init, name="pw_proj")(y)
        return x + y if shortcut else y

    def _depthwise(self, x: jax.Array, size: int, stride: int, **options) -> jax.Array:
        unit = self.unit(x.shape[-1], size, stride=stride, depthwise=True, **options)
        return unit(x)


class MobileNet(nn.Module):
    """MobileNetV4, returning the maps the FPN needs.

    Attributes:
      width: 64 for the published channels; they are in proportion, in multiples of 8.
      axis_name: mapped axis for the batch statistics, see `BatchNorm`.
      remat: recompute the inside of bottlenecks for the gradient instead of keeping it
        in memory.
      dtype: type in which convolutions run.
      winograd: see `Conv`.
      normalization: what the input went through.
    """

    width: int
    axis_name: str | None = None
    remat: bool = False
    dtype: Any = jnp.float32
    winograd: bool = False
    normalization: Normalization = TORCHVISION

    @nn.compact
    def __call__(
        self, x: jax.Array, *, use_running_average: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Computes the feature maps at strides s = 8, 16 and 32, [B, ceil(H / s), ...].

        Args:
          x: [B, H, W, 3] float, normalized RGB.
          use_running_average: freeze batch normalization, see `FrozenBatchNorm`.
        """
        conv, norm = conv_and_norm(
            use_running_average, self.axis_name, self.dtype, winograd=self.winograd
        )
        unit = partial(Unit, conv=conv, norm=norm)
        bottleneck = nn.remat(InvertedBottleneck) if self.remat else InvertedBottleneck
        x = unit(self._channels(_STEM), 3, stride=2, name="stem")(x)
        maps = []
        for stage, blocks in enumerate(_STAGES):
            for index, sizes in enumerate(blocks):
                stride = 2 if index == 0 and stage < len(_STAGES) - 1 else 1
                name = f"blocks{stage}_{index}"
                sizes = sizes._replace(features=self._channels(sizes.features))
                if isinstance(sizes, Plain):
                    x = unit(
                        sizes.features, sizes.kernel_size, stride=stride, name=name
                    )(x)
                else:
                    x = bottleneck(sizes, stride, unit, name=name)(x)
            maps.append(x)
        return maps[1], maps[2], maps[-1]

    def _channels(self, published: int) -> int:
        return max(round(published * self.width / _STANDARD_WIDTH / 8), 1) * 8
