"""Times the layers that have a form of our own against the plain form of XLA.

    python benchmarks/layers.py

The forms are 1x1 convolution as a matrix product, strided convolution with the gradient
to its kernel by rows or taps on a CPU (elsewhere the stem sees 2x2 pixels at once), 3x3
max pooling with the gradient of maxima of slices, 3x3 convolution by Winograd's
algorithm (float32 only; `model.winograd`), and bilinear resizing with a gradient that
gathers, at the sizes of YOLACT at 550 pixels with a ResNet-50.  A row each for the
result, the gradient to the map and that to the kernel, given the gradient of the
result.  The two forms take turns, so that both see the same load of the machine.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import measurement, timing
from benchmarks.layer_forms import cases

_DTYPES = flags.DEFINE_list("dtypes", "float32", "Types of maps and kernels.")
_BATCHES = flags.DEFINE_list("batch_sizes", "2", "Images in a map.")
_REPEATS = flags.DEFINE_integer("repeats", 11, "Timed runs of each form.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")


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
