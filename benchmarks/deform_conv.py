"""Times deformable convolution relative to an ordinary 3x3 one of the same size.

    python benchmarks/deform_conv.py

The sizes are those of YOLACT++ at 550 pixels; a row each, forward alone and with the
gradient.  The two take turns, so that both see the same load of the machine.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import measurement, timing
from yolact_jax.models.deform_conv import deform_conv
from yolact_jax.models.kernels.convolution import convolution

SIZES = ((69, 128), (35, 256), (18, 512))  # side of the map, channels

_REPEATS = flags.DEFINE_integer("repeats", 20, "Timed runs of each.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")


def make_inputs(side: int, channels: int) -> tuple[jax.Array, ...]:
    """Makes a map, offsets of about one cell, modulation and a kernel."""
    keys = jax.random.split(jax.random.key(0), 4)
    return (
        jax.random.normal(keys[0], (1, side, side, channels)),
        jax.random.normal(keys[1], (1, side, side, 9, 2)),
        jax.random.uniform(keys[2], (1, side, side, 9)),
        jax.random.normal(keys[3], (3, 3, channels, channels)) / channels,
    )


def plain(x, offsets, modulation, kernel) -> jax.Array:
    """The ordinary convolution; takes the same arguments."""
    return convolution(x, kernel, 1, 1)


def with_gradient(function):
    """Returns a function that also runs backwards, to the map and the kernel."""
    return jax.grad(lambda *args: jnp.sum(jnp.square(function(*args))), argnums=(0, 3))


def measure(side: int, channels: int) -> dict:
    """Measures one size."""
    inputs = make_inputs(side, channels)
    row = {"side": side, "channels": channels}
    for name, wrap in (("forward", lambda f: f), ("gradient", with_gradient)):
        programs = [
            timing.compile_program(wrap(function), *inputs)[0]
            for function in (plain, deform_conv)
        ]
        times = timing.time_in_turns(programs, *inputs, repeats=_REPEATS.value)
        (ordinary, _), (deformable, _) = times
        row[f"{name}_ordinary_ms"] = round(ordinary, 3)
        row[f"{name}_deformable_ms"] = round(deformable, 3)
        row[f"{name}_ratio"] = round(deformable / ordinary, 2)
    return measurement.print_row(row)


def main(_) -> None:
    """Measures all sizes and writes the rows."""
    rows = [measure(*size) for size in SIZES]
    timing.write_rows(_RESULTS.value, "deform_conv", rows)


if __name__ == "__main__":
    app.run(main)
