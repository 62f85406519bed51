"""The network of an exported model: what `models.yolact.Yolact` computes.

The names of the weights say how many stages, blocks and levels there are.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from yolact_jax.export.onnx import layers, ops
from yolact_jax.export.onnx.graph import Value, apply
from yolact_jax.export.onnx.layers import Map, Weights, conv, relu
from yolact_jax.models import darknet


class Predicted(NamedTuple):
    """Raw outputs, as in `structures.Predictions`, but for the order of the axes.

    Attributes:
      box_deltas: [B, A, 4] float32.
      class_logits: [B, A, C + 1] float32.
      coefficients: [B, A, K] float32.
      prototypes: [B, K, Hp, Wp] float32.
    """

    box_deltas: Value
    class_logits: Value
    coefficients: Value
    prototypes: Map


def predict(images: Value, size: tuple[int, int], model: Weights) -> Predicted:
    """Predicts for every anchor of [B, 3, *size] float32 images, normalized."""
    x = Map(ops.cast(images, model.dtype), size)
    backbone = _darknet if "preconv" in model["backbone"] else _resnet
    levels = _pyramid(backbone(x, model["backbone"]), model["fpn"])
    heads = [_head(level, model["head"]) for level in levels]
    boxes, logits, coefficients = (
        ops.cast(ops.concatenate(parts, 1), np.float32)
        for parts in zip(*heads, strict=True)
    )
    prototypes = _prototypes(levels[0], model["protonet"])
    return Predicted(boxes, logits, apply("Tanh", coefficients), prototypes)


def mask_ious(masks: Value, size: tuple[int, int], model: Weights) -> Value:
    """Predicts the overlap of [N, 1, *size] float32 masks per class, [N, C]."""
    net = model["mask_iou_net"]
    x = Map(ops.cast(masks, model.dtype), size)
    for _, layer in _numbered(net, "conv"):
        x = relu(conv(x, layer, stride=2, padding=0))
    x = relu(conv(x, net["scores"]))
    scores = apply("GlobalMaxPool", x.value)
    return ops.cast(ops.reshape(scores, 0, -1), np.float32)


def _numbered(weights: Weights, stem: str, start: int = 0) -> Iterator:
    """Yields (number, weights) of ``stem0``, ``stem1`` and so on."""
    for number in itertools.count(start):
        if f"{stem}{number}" not in weights:
            return
        yield number, weights[f"{stem}{number}"]


def _stages(backbone: Weights) -> Iterator[list[Weights]]:
    for stage in itertools.count(1):
        blocks = [block for _, block in _numbered(backbone, f"layer{stage}_")]
        if not blocks:
            return
        yield blocks


def _resnet(x: Map, backbone: Weights) -> list[Map]:
    x = relu(conv(x, backbone["conv1"], stride=2, norm=backbone["bn1"]))
    x = layers.max_pool(x)
    maps = []
    for stage, blocks in enumerate(_stages(backbone)):
        for index, block in enumerate(blocks):
            x = _residual_block(x, block, stride=2 if stage > 0 and index == 0 else 1)
        maps.append(x)
    return maps[1:]


def _residual_block(x: Map, block: Weights, stride: int) -> Map:
    bottleneck = "conv3" in block
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    y = x
    for number, step in enumerate(strides, 1):
        y = conv(y, block[f"conv{number}"], stride=step, norm=block[f"bn{number}"])
        y = relu(y) if number < len(strides) else y
    if "downsample_conv" in block:
        norm = block["downsample_bn"]
        x = conv(x, block["downsample_conv"], stride=stride, norm=norm)
    return relu(layers.add(y, x))


def _darknet(x: Map, backbone: Weights) -> list[Map]:
    x = _unit(x, backbone["preconv"])
    maps = []
    for first, *blocks in _stages(backbone):
        x = _unit(x, first, stride=2)
        for block in blocks:
            x = layers.add(x, _unit(_unit(x, block["conv1"]), block["conv2"]))
        maps.append(x)
    return maps[2:]


def _unit(x: Map, unit: Weights, stride: int = 1) -> Map:
    y = conv(x, unit["conv"], stride=stride, norm=unit["bn"])
    return layers.leaky_relu(y, darknet.SLOPE)


def _pyramid(maps: list[Map], fpn: Weights) -> list[Map]:
    merged, levels = None, []
    for level, x in reversed(list(enumerate(maps, 3))):
        lateral = conv(x, fpn[f"lateral_p{level}"])
        if merged is not None:
            lateral = layers.add(layers.resize(merged, x.size), lateral)
        merged = lateral
        levels.insert(0, relu(conv(merged, fpn[f"smooth_p{level}"])))
    for _, layer in _numbered(fpn, "downsample_p", 3 + len(levels)):
        levels.append(conv(levels[-1], layer, stride=2))
    return levels


def _prototypes(p3: Map, protonet: Weights) -> Map:
    x = p3
    *before, last = [layer for _, layer in _numbered(protonet, "conv")]
    for layer in before:
        x = relu(conv(x, layer))
    x = relu(conv(layers.resize(x, (2 * x.size[0], 2 * x.size[1])), last))
    x = relu(conv(x, protonet["prototypes"]))
    return Map(ops.cast(x.value, np.float32), x.size)


def _head(level: Map, head: Weights) -> list[Value]:
    """Box deltas, class logits and coefficients before tanh, [B, anchors, ...]."""
    x = relu(conv(level, head["conv"]))
    anchors_per_cell = head["box"].params["bias"].size // 4

    def rows_of(name: str) -> Value:
        y = conv(x, head[name]).value
        length = head[name].params["bias"].size // anchors_per_cell
        y = apply("Transpose", y, perm=[0, 2, 3, 1])
        return ops.reshape(y, 0, -1, length)

    return [rows_of(name) for name in ("box", "class", "mask")]
