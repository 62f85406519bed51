"""Feature pyramid network (Lin et al. 2017) with two extra, coarser levels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.layers import Conv
from yolact_jax.ops.resize import resize_bilinear


class FPN(nn.Module):
    """Turns C3, C4, C5 into P3 to P7 of equal width.

    P6 is computed from P5 after its ReLU; P6 and P7 themselves have none, so the
    shared head sees signed features on these two levels, as the original's does.

    Attributes:
      features: channels of every level.
      num_downsample: levels added beyond the coarsest input.
      dtype: type in which convolutions run.
      winograd: see `Conv`.
    """

    features: int
    num_downsample: int = 2
    dtype: Any = jnp.float32
    winograd: bool = False

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> list[jax.Array]:
        """Maps backbone features [B, h, w, c], finest first, to pyramid levels."""
        conv = partial(Conv, self.features, dtype=self.dtype, winograd=self.winograd)
        first_level = 3
        merged = None
        levels = []
        for level, x in reversed(list(enumerate(maps, first_level))):
            lateral = conv(1, name=f"lateral_p{level}")(x)
            merged = lateral if merged is None else _upsample_add(merged, lateral)
            levels.insert(0, nn.relu(conv(3, name=f"smooth_p{level}")(merged)))
        for _ in range(self.num_downsample):
            level = first_level + len(levels)
            levels.append(conv(3, 2, name=f"downsample_p{level}")(levels[-1]))
        return levels


def _upsample_add(coarse: jax.Array, fine: jax.Array) -> jax.Array:
    return resize_bilinear(coarse, (fine.shape[1], fine.shape[2]), axes=(1, 2)) + fine
