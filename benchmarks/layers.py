"""Times the layers that have a form of our own against the plain form of XLA.

    python benchmarks/layers.py

The forms are 1x1 convolution as a matrix product, 3x3 max pooling as maxima of slices,
3x3 convolution by Winograd's algorithm (float32 only; `model.winograd`), and bilinear
resizing, at the sizes of YOLACT at 550 pixels with a ResNet-50.  A row each for the
result, the gradient to the map and that to the kernel, given the gradient of the
result.  The two forms take turns, so that both see the same load of the machine.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import measurement, timing
from yolact_jax.models.layers import convolution, max_pool, pointwise_convolution
from yolact_jax.models.winograd import winograd_convolution
from yolact_jax.resize import resize_bilinear

_DTYPES = flags.DEFINE_list("dtypes", "float32", "Types of maps and kernels.")
_BATCHES = flags.DEFINE_list("batch_sizes", "2", "Images in a map.")
_REPEATS = flags.DEFINE_integer("repeats", 11, "Timed runs of each form.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")

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
        plain = functools.partial(convolution, stride=stride, pad=0)
        name += f", stride {stride}" if stride > 1 else ""
        yield name, ours, plain, (side, side, inputs), (1, 1, inputs, outputs)
    yield "max pooling 275 x 64", max_pool, windowed_max_pool, (275, 275, 64), None
    if dtype == "float32":
        plain = functools.partial(convolution, stride=1, pad=1)
        for side, inputs, outputs in _WINOGRAD:
            name = f"3x3 convolution {side} x {inputs} to {outputs}"
            kernel_shape = (3, 3, inputs, outputs)
            yield name, winograd_convolution, plain, (side, side, inputs), kernel_shape
    for side, size in _RESIZE:
        name = f"resize {side} to {size} x {_FEATURES}"
        ours = functools.partial(resize_bilinear, size=(size, size), axes=(1, 2))
        plain = functools.partial(plain_resize, size=size)
        yield name, ours, plain, (side, side, _FEATURES), None


def gradient_of(function: Callable, argument: int) -> Callable:
    """Returns ``(cotangent, *inputs) -> gradient`` to one of the inputs."""

    def gradient(cotangent, *inputs):
        _, pull_back = jax.vjp(function, *inputs)
        return pull_back(cotangent)[argument]

    return gradient


def measure(dtype: str, batch_size: int, case: tuple) -> list[dict]:
    """Times all passes of a layer; returns a row for each."""
    name, ours, plain, map_shape, kernel_shape = case
    shapes = [(batch_size, *map_shape)] + ([kernel_shape] if kernel_shape else [])
    keys = jax.random.split(jax.random.key(0), len(shapes))
    inputs = [jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)]
    cotangent = jnp.ones_like(jax.jit(ours)(*inputs))
    passes = [("forward", ours, plain, inputs)]
    for index in range(len(inputs)):
        gradient = ("map gradient", "kernel gradient")[index]
        both = (gradient_of(function, index) for function in (ours, plain))
        passes.append((gradient, *both, [cotangent, *inputs]))
    rows = []
    for pass_name, *functions, arguments in passes:
        programs = [timing.compile_program(f, *arguments)[0] for f in functions]
        times = timing.time_in_turns(programs, *arguments, repeats=_REPEATS.value)
        (ours_ms, _), (plain_ms, _) = times
        row = {
            "layer": name,
            "dtype": dtype,
            "batch_size": batch_size,
            "pass": pass_name,
            "ours_ms": round(ours_ms, 3),
            "plain_ms": round(plain_ms, 3),
            "speedup": round(plain_ms / ours_ms, 2),
        }
        rows.append(measurement.print_row(row))
    return rows


def main(_) -> None:
    """Runs all cases and writes the rows."""
    rows = []
    for dtype in _DTYPES.value:
        for batch_size in _BATCHES.value:
            for case in cases(dtype):
                rows += measure(dtype, int(batch_size), case)
    timing.write_rows(_RESULTS.value, "layers", rows)


if __name__ == "__main__":
    app.run(main)
