"""Convolutions of an exported network, with the weights of a trained one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolact_jax.export.onnx import ops
from yolact_jax.export.onnx.graph import Value, apply
from yolact_jax.models.batch_norm import FrozenBatchNorm


@dataclasses.dataclass(frozen=True)
class Map:
    """A feature map.

    Attributes:
      value: [B, c, rows, columns].
      size: rows and columns.
    """

    value: Value
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Weights:
    """The variables of a module, and of the modules inside it.

    Attributes:
      params: parameters by name.
      stats: batch statistics by name.
      dtype: type in which convolutions run.
      place: names of the modules that it is inside, with slashes.
    """

    params: Mapping[str, Any]
    stats: Mapping[str, Any]
    dtype: Any
    place: str = ""

    def __getitem__(self, name: str) -> "Weights":
        stats, place = self.stats.get(name, {}), f"{self.place}/{name}".strip("/")
        return Weights(self.params[name], stats, self.dtype, place)

    def __contains__(self, name: str) -> bool:
        return name in self.params

    def in_type(self, array: np.ndarray) -> np.ndarray:
        """Converts an array of a layer, of which none may become infinite.

        Raises:
          ValueError: naming the layer, if the type does not reach as far.
        """
        most, largest = np.finfo(self.dtype).max, np.max(np.abs(array), initial=0)
        if largest > most:
            name = np.dtype(self.dtype).name
            hint = "" if name == "float32" else "; export with --dtype=float32"
            raise ValueError(
                f"{self.place} has a weight of {largest:g}, with batch normalization "
                f"folded in, above {most:g}, the largest {name}{hint}."
            )
        return array.astype(self.dtype)

    def array(self, name: str) -> np.ndarray:
        """A parameter as float32."""
        return np.asarray(self.params[name], np.float32)

    def gain_and_offset(self) -> tuple[np.ndarray, np.ndarray]:
        """What batch normalization multiplies by and adds, from its variables."""
        scale, bias = self.array("scale"), self.array("bias")
        mean, var = (np.asarray(self.stats[n], np.float32) for n in ("mean", "var"))
        gain = scale / np.sqrt(var + np.float32(FrozenBatchNorm.epsilon))
        return gain, bias - mean * gain


def relu(x: Map) -> Map:
    """Replaces negative elements by 0."""
    return Map(apply("Relu", x.value), x.size)


def leaky_relu(x: Map, slope: float) -> Map:
    """Multiplies negative elements by the slope."""
    return Map(apply("LeakyRelu", x.value, alpha=slope), x.size)


def add(x: Map, y: Map) -> Map:
    """Adds two maps of the same shape."""
    return Map(x.value + y.value, x.size)


def resize(x: Map, size: tuple[int, int]) -> Map:
    """Resizes bilinearly."""
    return Map(ops.enlarge(x.value, *size), size)


def max_pool(x: Map) -> Map:
    """Takes the maximum of 3x3 windows, stride 2, padding 1."""
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    return Map(apply("MaxPool", x.value, **window), _steps(x.size, 3, 2, 1))


def conv(
    x: Map,
    layer: Weights,
    *,
    stride: int = 1,
    padding: int | None = None,
    norm: Weights | None = None,
    depthwise: bool = False,
) -> Map:
    """Convolves as `models.layers.Conv`, or a deformable one, with `norm` folded in."""
    if "conv_offset_mask" in layer:
        return _deform_conv(x, layer, stride, norm)
    kernel, bias = _folded(layer, norm)
    size = len(kernel)
    pad = size // 2 if padding is None else padding
    weight = kernel.transpose(3, 2, 0, 1)
    groups = len(weight) if depthwise else 1
    weight, bias = layer.in_type(weight), layer.in_type(bias)
    return _convolve(x, weight, bias, stride, pad, groups)


def _convolve(x: Map, weight, bias, stride: int, pad: int, groups: int = 1) -> Map:
    size = weight.shape[-1]
    value = apply(
        "Conv",
        x.value,
        weight,
        bias,
        group=groups,
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[pad] * 4,
    )
    return Map(value, _steps(x.size, size, stride, pad))


def _folded(layer: Weights, norm: Weights | None) -> tuple[np.ndarray, np.ndarray]:
    kernel = layer.array("kernel")
    bias = np.zeros(kernel.shape[-1], np.float32)
    if "bias" in layer:
        bias = layer.array("bias")
    if norm is not None:
        gain, offset = norm.gain_and_offset()
        kernel, bias = kernel * gain, bias * gain + offset
    return kernel, bias


def _steps(
    map_size: tuple[int, int], size: int, stride: int, pad: int
) -> tuple[int, int]:
    """How many places a kernel of a size has, down and across."""
    rows, columns = ((side + 2 * pad - size) // stride + 1 for side in map_size)
    return rows, columns


def _deform_conv(x: Map, layer: Weights, stride: int, norm: Weights | None) -> Map:
    """Convolves as `models.deform_conv`, in float32.

    ``GridSample`` reads all taps, one below the other; the kernel is then that of a
    pointwise convolution.  The operator ``DeformConv`` is in few runtimes.
    """
    kernel, bias = _folded(layer, norm)
    taps, channels = len(kernel) ** 2, kernel.shape[2]
    x = Map(ops.cast(x.value, np.float32), x.size)
    exact = dataclasses.replace(layer["conv_offset_mask"], dtype=np.float32)
    steering = conv(x, exact, stride=stride)
    out = steering.size
    offsets = ops.part(steering.value, 0, 2 * taps, 1)
    modulation = ops.part(steering.value, 2 * taps, 3 * taps, 1)
    grid = _sampling_grid(offsets, x.size, out, len(kernel), stride)
    samples = apply("GridSample", x.value, grid, mode="bilinear", padding_mode="zeros")
    samples = ops.reshape(samples, 0, channels, taps, *out)
    samples = samples * ops.expand_dims(apply("Sigmoid", modulation), 1)
    columns = Map(ops.reshape(samples, 0, channels * taps, *out), out)
    weight = kernel.reshape(taps, channels, -1).transpose(2, 1, 0)
    weight = weight.reshape(*weight.shape[:1], channels * taps, 1, 1)
    result = _convolve(columns, weight, bias, 1, 0)
    return Map(ops.cast(result.value, layer.dtype), out)


def _sampling_grid(
    offsets: Value,
    in_size: tuple[int, int],
    out: tuple[int, int],
    size: int,
    stride: int,
) -> Value:
    """Where all taps read: [B, k * k * rows, columns, 2] (x, y), -1 to 1 in `x`."""
    taps = np.arange(size)[:, None] - size // 2
    down, across = (np.arange(count)[None] * stride + taps for count in out)
    shape = (1, size, size, *out)
    rows = np.broadcast_to(down[None, :, None, :, None], shape)
    columns = np.broadcast_to(across[None, None, :, None, :], shape)
    ordinary = np.stack([rows, columns], -1).astype(np.float32)
    ordinary = ordinary.reshape(1, size * size, *out, 2)
    moves = ops.reshape(offsets, 0, size * size, 2, *out)
    moves = apply("Transpose", moves, perm=[0, 1, 3, 4, 2])
    # Any place two cells outside reads zero; integers would not hold a far one.
    sides = np.array(in_size, np.float32)
    positions = ops.clip(moves + ordinary, -2.0, sides + 1.0)
    grid = (positions * 2.0 + 1.0) / sides - 1.0
    grid = ops.take(grid, grid.graph.constant(np.array([1, 0])), -1)
    return ops.reshape(grid, 0, size * size * out[0], out[1], 2)
