"""Times deformable convolution relative to an ordinary 3x3 one of the same size.

    python benchmarks/deform_conv.py [--repeats 20]

The sizes are those of YOLACT++ at 550 pixels.  Prints a line per size, forward alone
and with the gradient, and appends rows to ``benchmarks/results/deform_conv.csv``.
"""

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp

from yolact_jax.models.deform_conv import deform_conv
from yolact_jax.models.layers import convolution

SIZES = ((69, 128), (35, 256), (18, 512))  # side of the map, channels
RESULTS = Path(__file__).parent / "results" / "deform_conv.csv"


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


def median_ms(function, inputs, repeats: int) -> float:
    """Times a compiled function in steady state."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*inputs))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def with_gradient(function):
    """Returns a function that also runs backwards, to the map and the kernel."""
    return jax.grad(lambda *args: jnp.sum(jnp.square(function(*args))), argnums=(0, 3))


def measure(side: int, channels: int, repeats: int) -> dict:
    """Measures one size."""
    inputs = make_inputs(side, channels)
    row = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "side": side,
        "channels": channels,
    }
    for name, wrap in (("forward", lambda f: f), ("gradient", with_gradient)):
        ordinary = median_ms(wrap(plain), inputs, repeats)
        deformable = median_ms(wrap(deform_conv), inputs, repeats)
        row[f"{name}_ordinary_ms"] = round(ordinary, 3)
        row[f"{name}_deformable_ms"] = round(deformable, 3)
        row[f"{name}_ratio"] = round(deformable / ordinary, 2)
    return row


def append(row: dict) -> None:
    """Appends a row to the table of results."""
    RESULTS.parent.mkdir(exist_ok=True)
    new = not RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    """Parses arguments, measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="Runs per median.")
    repeats = parser.parse_args().repeats
    for side, channels in SIZES:
        row = measure(side, channels, repeats)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        append(row)


if __name__ == "__main__":
    main()
