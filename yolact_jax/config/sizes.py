"""Input sizes that a training goes through."""

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
        "data.input_size": tuple(round(factor * x) for x in config.data.frame.size),
        "anchors.scales_px": scales,
        "train.multi_scale": (),
    }
    return config.replace(changes)
