"""Layers that have a form of our own, and the plain form of XLA, for `layers.py`."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from yolact_jax.models.kernels.convolution import (
    convolution,
    plain_convolution,
    pointwise_convolution,
)
from yolact_jax.models.kernels.pooling import max_pool
from yolact_jax.models.kernels.winograd import winograd_convolution
from yolact_jax.ops.resize import resize_bilinear

# Side of the map, channels, output channels, stride: backbone, stage by stage, and the
# lateral convolutions of the FPN.
_POINTWISE = (
    (138, 64, 256, 1),
    (138, 256, 64, 1),
    (138, 256, 512, 2),
    (69, 128, 512, 1),
    (69, 512, 256, 1),
    (35, 256, 1024, 1),
    (35, 1024, 256, 1),
    (18, 512, 2048, 1),
    (18, 2048, 256, 1),
)
# Side of the kernel and of the map, channels, output channels, stride: the stem, the
# first block of each later stage, and P6.
_STRIDED = (
    (7, 550, 3, 64, 2),
    (3, 138, 128, 128, 2),
    (3, 69, 256, 256, 2),
    (3, 35, 512, 512, 2),
    (3, 18, 256, 256, 2),
)
# Backbone; ProtoNet before and after its enlargement; class output of the head; P6,
# which is below the size from which the algorithm is used.
_WINOGRAD = (
    (138, 64, 64),
    (69, 128, 128),
    (35, 256, 256),
    (18, 512, 512),
    (69, 256, 256),
    (138, 256, 256),
    (69, 256, 243),
    (9, 256, 256),
)
_RESIZE = ((18, 35), (35, 69), (69, 138))
_FEATURES = 256


def windowed_max_pool(x: jax.Array) -> jax.Array:
    """The plain form of `max_pool`."""
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, window, strides, padding=padding
    )


def plain_resize(x: jax.Array, size: int) -> jax.Array:
    """The plain form of `resize_bilinear`."""
    shape = (x.shape[0], size, size, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def cases(dtype: str) -> Iterator[tuple[str, Callable, Callable, tuple, tuple | None]]:
    """Yields name, our form, plain form, shape [h, w, c] of the map, kernel shape."""
    for side, inputs, outputs, stride in _POINTWISE:
        name = f"1x1 convolution {side} x {inputs} to {outputs}"
        ours = functools.partial(pointwise_convolution, stride=stride)
        plain = functools.partial(plain_convolution, stride=stride, pad=0)
        name += f", stride {stride}" if stride > 1 else ""
        yield name, ours, plain, (side, side, inputs), (1, 1, inputs, outputs)
    for size, side, inputs, outputs, stride in _STRIDED:
        name = f"{size}x{size} convolution {side} x {inputs} to {outputs}"
        options = {"stride": stride, "pad": size // 2}
        ours = functools.partial(convolution, **options)
        plain = functools.partial(plain_convolution, **options)
        shapes = (side, side, inputs), (size, size, inputs, outputs)
        yield f"{name}, stride {stride}", ours, plain, *shapes
    yield "max pooling 275 x 64", max_pool, windowed_max_pool, (275, 275, 64), None
    if dtype == "float32":
        plain = functools.partial(plain_convolution, stride=1, pad=1)
        for side, inputs, outputs in _WINOGRAD:
            name = f"3x3 convolution {side} x {inputs} to {outputs}"
            kernel_shape = (3, 3, inputs, outputs)
            yield name, winograd_convolution, plain, (side, side, inputs), kernel_shape
    for side, size in _RESIZE:
        name = f"resize {side} to {size} x {_FEATURES}"
        ours = functools.partial(resize_bilinear, size=(size, size), axes=(1, 2))
        plain = functools.partial(plain_resize, size=size)
        yield name, ours, plain, (side, side, _FEATURES), None
