"""How convolutions compute on the device at hand, where a config leaves it open."""

from typing import Any

import jax

from yolact_jax.config import Config

_BFLOAT16_CAPABILITY = 8.0  # NVIDIA's Ampere and later.


def compute_dtype(config: Config, platform: str | None = None) -> str:
    """Chooses the type of the convolutions; with "auto", that of the matrix units.

    Args:
      config: the whole config.
      platform: "cpu", "cuda", "rocm" or "tpu", where the model will run, on a device
        that is not known; None is where this process does.

    Returns:
      "float32" or "bfloat16".
    """
    chosen = config.model.compute_dtype
    if chosen != "auto":
        return chosen
    if platform is None:
        has_it = _multiplies_bfloat16(jax.devices()[0])
    else:
        has_it = platform == "tpu"
    return "bfloat16" if has_it else "float32"


def _multiplies_bfloat16(device: Any) -> bool:
    """Whether the matrix units have it; XLA on a CPU does not use those there are."""
    if device.platform != "gpu":
        return device.platform == "tpu"
    try:
        return float(device.compute_capability) >= _BFLOAT16_CAPABILITY
    except (AttributeError, ValueError):  # Not NVIDIA's.
        return False


def uses_winograd(config: Config, platform: str | None = None) -> bool:
    """Whether to use `models.kernels.winograd`; with "auto", only on a CPU.

    Args:
      config: the whole config.
      platform: where the model will run; None is where this process does.
    """
    if config.model.winograd == "auto":
        exact_enough = compute_dtype(config, platform) == "float32"
        return exact_enough and (platform or jax.default_backend()) == "cpu"
    return config.model.winograd == "yes"
