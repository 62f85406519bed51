"""What the benchmarks of JAX programs share: timing, peak rate, result files."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks import measurement

_PEAK_SIDE = 2048


def compile_program(function: Callable, *arguments) -> tuple[Callable, float]:
    """Compiles for the given arguments.

    Args:
      function: to be compiled, jitted or not.
      *arguments: arrays.

    Returns:
      The program, which knows its memory, and the seconds it took.
    """
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
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
    matrix = jnp.ones((_PEAK_SIDE, _PEAK_SIDE), dtype)
    program, _ = compile_program(jnp.matmul, matrix, matrix)
    best = min(time_program(program, matrix, matrix, repeats=3)[0] for _ in range(5))
    return 2 * _PEAK_SIDE**3 / (1e-3 * best) / 1e9


def temporary_mib(program) -> float:
    """Memory a program needs beside arguments and results, in MiB."""
    return round(program.memory_analysis().temp_size_in_bytes / 2**20, 1)


def device_name() -> str:
    """The device in words fit for a file name, such as "cpu" or "nvidia_h100"."""
    return measurement.as_file_name(jax.devices()[0].device_kind)


def write_rows(folder: str, name: str, rows: list[dict]) -> None:
    """Writes rows as ``<name>-<device>-jax<version>.csv``.

    Args:
      folder: made if missing.
      name: first part of the file name.
      rows: all with the same keys.
    """
    path = Path(folder) / f"{name}-{device_name()}-jax{jax.__version__}.csv"
    measurement.write_csv(path, rows)
