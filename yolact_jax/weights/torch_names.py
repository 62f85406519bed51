"""The name table between the parameters of this package and PyTorch's YOLACT.

Every array of a model has one key in the state dict of the original.  The table has the
path of the module that owns the array; the name of the array there, and the order of
its axes, depend on its kind only.
"""

import re
from collections.abc import Callable

import numpy as np

Path = tuple[str, ...]

BACKBONE = "backbone."
"""Prefix of the keys of the backbone."""

# Pattern of a module path, key of that module.  Blocks are counted from layer1 here
# and from layers.0 there.
_MODULES: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = (
    # ResNet
    (r"backbone/(conv1|bn1)", r"backbone.\1"),
    (
        r"backbone/layer(\d+)_(\d+)/(conv\d|bn\d|conv2/conv_offset_mask)",
        lambda m: f"{_block(m)}.{m[3].replace('/', '.')}",
    ),
    (
        r"backbone/layer(\d+)_(\d+)/downsample_conv",
        lambda m: f"{_block(m)}.downsample.0",
    ),
    (r"backbone/layer(\d+)_(\d+)/downsample_bn", lambda m: f"{_block(m)}.downsample.1"),
    # DarkNet
    (r"backbone/preconv/conv", "backbone._preconv.0"),
    (r"backbone/preconv/bn", "backbone._preconv.1"),
    (r"backbone/layer(\d+)_(\d+)/conv", lambda m: f"{_block(m)}.0"),
    (r"backbone/layer(\d+)_(\d+)/bn", lambda m: f"{_block(m)}.1"),
    (r"backbone/layer(\d+)_(\d+)/(conv\d)/conv", lambda m: f"{_block(m)}.{m[3]}.0"),
    (r"backbone/layer(\d+)_(\d+)/(conv\d)/bn", lambda m: f"{_block(m)}.{m[3]}.1"),
    # MobileNetV4, as in timm
    (r"backbone/stem/conv", "backbone.conv_stem"),
    (r"backbone/stem/bn", "backbone.bn1"),
    (r"backbone/blocks(\d)_(\d)/conv", r"backbone.blocks.\1.\2.conv"),
    (r"backbone/blocks(\d)_(\d)/bn", r"backbone.blocks.\1.\2.bn1"),
    (r"backbone/blocks(\d)_(\d)/(\w+)/(conv|bn)", r"backbone.blocks.\1.\2.\3.\4"),
    # FPN: the original stores its laterals and smoothing layers deepest first.
    (r"fpn/lateral_p(\d)", lambda m: f"fpn.lat_layers.{5 - int(m[1])}"),
    (r"fpn/smooth_p(\d)", lambda m: f"fpn.pred_layers.{5 - int(m[1])}"),
    (r"fpn/downsample_p(\d)", lambda m: f"fpn.downsample_layers.{int(m[1]) - 6}"),
    # ProtoNet: a list with the activations and the enlargement in between.
    (r"protonet/conv([012])", lambda m: f"proto_net.{2 * int(m[1])}"),
    (r"protonet/conv3", "proto_net.8"),
    (r"protonet/prototypes", "proto_net.10"),
    # Heads, of which all levels share the first.
    (r"head/conv", "prediction_layers.0.upfeature.0"),
    (r"head/box", "prediction_layers.0.bbox_layer"),
    (r"head/class", "prediction_layers.0.conf_layer"),
    (r"head/mask", "prediction_layers.0.mask_layer"),
    (r"semantic", "semantic_seg_conv"),
    (r"mask_iou_net/conv(\d)", lambda m: f"maskiou_net.maskiou_net.{2 * int(m[1])}"),
    (r"mask_iou_net/scores", "maskiou_net.maskiou_net.10"),
)
_ARRAYS = {
    ("params", "kernel"): "weight",
    ("params", "bias"): "bias",
    ("params", "scale"): "weight",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
_CLASS_HEADS = ("head/class", "semantic", "mask_iou_net/scores")


def _block(match: re.Match) -> str:
    return f"backbone.layers.{int(match[1]) - 1}.{match[2]}"


def torch_key(path: Path) -> str:
    """Names an array as the original does.

    Args:
      path: collection, modules and array, as in ``("params", "fpn", "lateral_p3",
        "kernel")``, which is ``"fpn.lat_layers.2.weight"``.

    Raises:
      KeyError: if the original has no such array.
    """
    collection, *modules, array = path
    module = "/".join(modules)
    for pattern, key in _MODULES:
        match = re.fullmatch(pattern, module)
        if match:
            named = key(match) if callable(key) else match.expand(key)
            return f"{named}.{_ARRAYS[collection, array]}"
    raise KeyError(f"the original YOLACT has nothing like {'/'.join(path)}")


def depends_on_classes(path: Path) -> bool:
    """Whether the shape of an array follows from the number of classes."""
    return "/".join(path[1:-1]) in _CLASS_HEADS


def to_torch(path: Path, array: np.ndarray) -> np.ndarray:
    """Orders the axes as PyTorch does: [h, w, in, out] kernels to [out, in, h, w]."""
    return array.transpose(3, 2, 0, 1) if path[-1] == "kernel" else array


def from_torch(path: Path, array: np.ndarray) -> np.ndarray:
    """Inverts `to_torch`."""
    return array.transpose(2, 3, 1, 0) if path[-1] == "kernel" else array


def torch_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape after `to_torch`."""
    if path[-1] != "kernel":
        return tuple(shape)
    height, width, inputs, outputs = shape
    return (outputs, inputs, height, width)
