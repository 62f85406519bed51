"""Input sizes that a training goes through, and the anchors for another one."""

import math

from yolact_jax.config.frame import scaled_sides
from yolact_jax.config.whole import Config


def training_sizes(config: Config) -> tuple[int, ...]:
    """Longer sides of the network input that training steps may have, pixels."""
    return config.train.multi_scale or (max(config.data.frame.size),)


def at_size(config: Config, longer_side: int) -> Config:
    """Returns the config for one input size, with shape and anchors in proportion."""
    factor = longer_side / max(config.data.frame.size)
    scales = tuple(
        tuple(factor * scale for scale in level) for level in config.anchors.scales_px
    )
    changes = {
        "data.input_size": scaled_sides(config.data.frame.size, longer_side),
        "anchors.scales_px": scales,
        "train.multi_scale": (),
    }
    return config.replace(changes)


def grown_scales(
    scales_px: tuple[tuple[float, ...], ...],
    before: tuple[int, int],
    after: tuple[int, int],
) -> tuple[tuple[float, ...], ...]:
    """Lets the areas of anchors grow with that of the network input.

    Args:
      scales_px: sides of the anchors by level, pixels.
      before: height and width of the input that they are for.
      after: of that to come.
    """
    factor = math.sqrt(math.prod(after) / math.prod(before))
    return tuple(
        tuple(float(f"{scale * factor:.4g}") for scale in level) for level in scales_px
    )
