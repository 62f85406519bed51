"""What the benchmarks of JAX programs share: timing, peak rate, result files."""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks import measurement

_PEAK_SIDES = {"cpu": 2048}
_ACCELERATOR_PEAK_SIDE = 8192


def compile_program(function: Callable, *arguments) -> tuple[Callable, float]:
    """Compiles for the given arguments.

    Args:
      function: to be compiled, jitted or not.
      *arguments: arrays.

    Returns:
      The program, which knows its memory, and the seconds it took.
    """
    start = time.perf_counter()
    # Jitted again, it would not donate its arguments.
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    compiled = jitted.lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def time_program(program: Callable, *arguments, repeats: int) -> tuple[float, float]:
    """Runs a program after one warm-up run.

    Args:
      program: compiled.
      *arguments: its arguments.
      repeats: timed runs.

    Returns:
      Median and 90th percentile, in milliseconds.
    """
    return time_in_turns([program], *arguments, repeats=repeats)[0]


def time_in_turns(
    programs: Sequence[Callable], *arguments, repeats: int
) -> list[tuple[float, float]]:
    """Runs programs one after the other, again and again: all see the same load.

    Args:
      programs: compiled; each has one run to warm up.
      *arguments: of all of them.
      repeats: timed runs of each.

    Returns:
      Median and 90th percentile of each, in milliseconds.
    """
    calls = [functools.partial(_run, program, arguments) for program in programs]
    return measurement.time_calls_in_turns(calls, repeats)


def _run(program: Callable, arguments: tuple) -> None:
    jax.block_until_ready(program(*arguments))


def peak_gflops(dtype: str) -> float:
    """Rate of a large matrix product on this device, in 10^9 operations a second.

    The rate that a device reaches, rather than the one of its data sheet.
    """
    side = _PEAK_SIDES.get(jax.default_backend(), _ACCELERATOR_PEAK_SIDE)
    # Not ones: a GPU draws less power, and so runs faster, on bits that do not change.
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    program, _ = compile_program(jnp.matmul, matrix, matrix)
    best = min(time_program(program, matrix, matrix, repeats=3)[0] for _ in range(5))
    return 2 * side**3 / (1e-3 * best) / 1e9


def temporary_mib(program) -> float:
    """Memory a program needs beside arguments and results, in MiB."""
    return round(program.memory_analysis().temp_size_in_bytes / 2**20, 1)


def device_name() -> str:
    """The device in words fit for a file name, such as "cpu" or "nvidia_h100"."""
    return measurement.as_file_name(jax.devices()[0].device_kind)


def write_rows(folder: str, name: str, rows: list[dict]) -> None:
    """Writes rows as ``<name>-<device>-jax<version>.csv``.

    With a GPU they get a column for its driver.

    Args:
      folder: made if missing.
      name: first part of the file name.
      rows: all with the same keys.
    """
    path = Path(folder) / f"{name}-{device_name()}-jax{jax.__version__}.csv"
    measurement.write_csv(path, with_driver(rows))


def with_driver(rows: list[dict]) -> list[dict]:
    """Rows with a column for the driver of the GPU, if there is one."""
    driver = measurement.nvidia_driver() if jax.default_backend() == "gpu" else ""
    return [row | {"driver": driver} for row in rows] if driver else rows


def write_as_measured(folder: str, name: str, rows: Iterable[dict]) -> None:
    """Does as `write_rows` after every row, so that an interruption loses only one.

    Args:
      folder: as there.
      name: as there.
      rows: measured one by one.
    """
    measured = []
    for row in rows:
        measured.append(row)
        write_rows(folder, name, measured)
