"""What a backbone expects of its input: the one place where pixels are normalized."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Shift and scale of pixel values, ``(x - mean) / std``.

    Attributes:
      mean: per channel, in units of 0..255.
      std: per channel, in units of 0..255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """How many channels a picture has."""
        return len(self.mean)


IMAGENET = Normalization((123.68, 116.78, 103.94), (58.40, 57.12, 57.38))
"""What the ResNet weights were trained with."""

TORCHVISION = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""What torchvision's and most of timm's ImageNet weights were trained with."""

UNIT_RANGE = Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
"""What the DarkNet weights were trained with."""


def gray(channels: int) -> Normalization:
    """Returns ImageNet's mean brightness and contrast for each of some channels."""
    mean, std = (sum(values) / 3 for values in (IMAGENET.mean, IMAGENET.std))
    return Normalization((mean,) * channels, (std,) * channels)


def normalize_images(
    images: jax.Array, normalization: Normalization = IMAGENET
) -> jax.Array:
    """Shifts and scales [..., H, W, N] in 0..255 to float32 for a backbone."""
    shape = (1,) * (images.ndim - 1) + (normalization.channels,)
    mean = jnp.asarray(normalization.mean, jnp.float32).reshape(shape)
    std = jnp.asarray(normalization.std, jnp.float32).reshape(shape)
    return (images.astype(jnp.float32) - mean) / std
