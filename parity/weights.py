"""The pseudo-random weights and image with which the golden numbers were recorded.

Both follow from rules alone, so megabytes of weights need not be stored.  Each array
depends on its key, its shape, a seed and a few gains; the draws are float64, the
arrays float32.  The gains keep activations near 1 through a hundred layers and make
some dozens of anchors see an object.
"""

import re
import zlib
from collections.abc import Mapping

import numpy as np

RULE = {
    "conf_background_bias": 10.0,  # logit by which background starts ahead
    "conf_gain": 0.8,
    "mask_gain": 0.6,
    "proto_gain": 0.4,
    "fpn_gain": 1.0,
}
"""Gains of all models; the manifest of a record says where its models differ."""

_KERNEL_GAINS = (
    (r".*conf_layer", "conf_gain"),
    (r"fpn\.pred_layers.*", "fpn_gain"),
    (r".*mask_layer", "mask_gain"),
    (r"proto_net\.10", "proto_gain"),
    (r".*bbox_layer", 0.5),
    (r".*conv_offset_mask", 0.5),
    (r"semantic_seg_conv", 0.3),
)
_END_OF_BRANCH = r".*\.bn3|.*\.conv2\.1"
_DARKNET_NORM = r".*(preconv|conv[12]|layers\.\d+\.0)\.1"


def golden_weights(
    shapes: Mapping[str, tuple[int, ...]],
    num_classes: int,
    rule: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Generates a state dict.

    Args:
      shapes: shape of every key, as in PyTorch.
      num_classes: C, foreground classes.
      rule: what differs from `RULE`.
      seed: of all draws.

    Returns:
      float32 arrays by key; counters of batches are not among them.
    """
    rule = RULE | dict(rule or {})
    norms = {key.rpartition(".")[0] for key in shapes if key.endswith("running_var")}
    return {
        key: _fill(key, tuple(shape), norms, num_classes + 1, rule, seed)
        for key, shape in shapes.items()
    }


def _fill(key, shape, norms, num_channels, rule, seed) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(key.encode()) + seed)
    module, _, leaf = key.rpartition(".")
    if leaf == "running_mean":
        values = 0.1 * rng.standard_normal(shape)
    elif leaf == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif module in norms:
        values = _norm(module, leaf, shape, rng)
    elif leaf == "bias":
        values = _bias(module, shape, rng, num_channels, rule)
    else:
        values = _kernel(module, shape, rng, rule)
    return values.astype(np.float32)


def _norm(module, leaf, shape, rng) -> np.ndarray:
    if leaf == "bias":
        std = 0.3 if re.fullmatch(_DARKNET_NORM, module) else 0.1
        return std * rng.standard_normal(shape)
    # Residual branches end small, so that their sum does not grow with depth.
    scale = 0.3 if re.fullmatch(_END_OF_BRANCH, module) else 1.0
    return scale * rng.uniform(0.5, 1.5, shape)


def _bias(module, shape, rng, num_channels, rule) -> np.ndarray:
    values = rng.standard_normal(shape)
    if module.endswith("conf_layer"):
        values = 0.5 * values
        values[::num_channels] = rule["conf_background_bias"]
        return values
    if module.endswith("conv_offset_mask"):
        return 0.5 * values
    return (0.05 if module.startswith("maskiou_net") else 0.1) * values


def _kernel(module, shape, rng, rule) -> np.ndarray:
    values = np.sqrt(2.0 / np.prod(shape[1:])) * rng.standard_normal(shape)
    if module.startswith("maskiou_net"):
        return 1.2 * values
    if shape[1] > 3:
        # Without a mean, filters do not answer to the positive mean of activations.
        mean = values.reshape(shape[0], -1).mean(axis=1)
        values = values - mean[:, None, None, None]
    for pattern, gain in _KERNEL_GAINS:
        if re.fullmatch(pattern, module):
            return (rule[gain] if isinstance(gain, str) else gain) * values
    return values
