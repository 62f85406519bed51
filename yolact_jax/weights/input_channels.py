"""The first convolution of a network for RGB, for images of other channels."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from yolact_jax.weights import torch_names

_LOGGER = logging.getLogger(__name__)
_FIRST = (
    ("params", "backbone", "conv1", "kernel"),
    ("params", "backbone", "preconv", "conv", "kernel"),
    ("params", "backbone", "stem", "conv", "kernel"),
)
_RGB = 3


def with_input_of(
    tensors: Mapping[str, np.ndarray], variables: dict
) -> Mapping[str, np.ndarray]:
    """Fits the first convolution of a state dict to the channels of a model.

    Args:
      tensors: arrays by key, in PyTorch's layout, of a backbone or a whole model.
      variables: of the model.

    Returns:
      `tensors`, with a kernel for RGB inflated where the model has other channels.
    """
    flat: dict[Any, Any] = flatten_dict(variables)
    (path,) = (path for path in _FIRST if path in flat)
    key = torch_names.torch_key(path)
    key = key if key in tensors else key.removeprefix(torch_names.BACKBONE)
    kernel, channels = tensors.get(key), flat[path].shape[2]
    if kernel is None or kernel.ndim != 4 or channels == _RGB:
        return tensors
    if kernel.shape[1] != _RGB:
        return tensors
    _LOGGER.info("The first convolution is inflated from RGB to %d channels.", channels)
    return {**tensors, key: inflated(kernel, channels)}


def inflated(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Makes a kernel for N channels of one for RGB.

    The kernels of R, G and B are repeated in this order and multiplied by 3 / N; for
    one channel they are added.  A gray image in all channels keeps its response.  This
    is the rule of timm (Wightman, `adapt_input_conv`), after the inflation of Carreira
    and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017.

    Args:
      kernel: [out, 3, h, w] float.
      channels: N.

    Returns:
      [out, N, h, w] float.
    """
    if channels == 1:
        return kernel.sum(axis=1, keepdims=True)
    repeated = np.tile(kernel, (1, -(-channels // _RGB), 1, 1))[:, :channels]
    return repeated * kernel.dtype.type(_RGB / channels)
