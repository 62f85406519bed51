"""What all benchmarks share, of JAX or not: timed calls, names of devices, rows."""

import argparse
import csv
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np


def words_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Makes a type of `argparse`: some of the known words, separated by commas."""

    def read(text: str) -> list[str]:
        words = text.split(",")
        for word in words:
            if word not in known:
                there = ", ".join(known)
                raise argparse.ArgumentTypeError(f"{word!r} is not one of {there}.")
        return words

    return read


def time_calls(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Calls a function once to warm up, then some times more.

    Args:
      function: returns when its work is done, on accelerators too.
      repeats: timed calls.

    Returns:
      Median and 90th percentile, in milliseconds.
    """
    return time_calls_in_turns([function], repeats)[0]


def time_calls_in_turns(
    functions: Sequence[Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, float]]:
    """Times functions as `time_calls` does, in turns, so that all see the same load.

    With `time.process_time` as the clock, the time is that of all cores, and what other
    programs take does not count.
    """
    for function in functions:
        function()
    times = [[milliseconds(f, clock) for f in functions] for _ in range(repeats)]
    return [
        (float(np.median(mine)), float(np.percentile(mine, 90)))
        for mine in zip(*times, strict=True)
    ]


def milliseconds(
    function: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Wall time of one call, or what another clock says."""
    start = clock()
    function()
    return 1e3 * (clock() - start)


def as_file_name(device: str) -> str:
    """A device's name in lower case, fit for a file name."""
    return device.lower().replace(" ", "_").replace("/", "_")


def nvidia_driver() -> str:
    """Version of NVIDIA's driver, "" where there is none."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.split()[0]


def print_row(row: dict) -> dict:
    """Prints a row at once, and returns it."""
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def write_csv(path: Path, rows: list[dict]) -> None:
    """Writes rows, all with the same keys, and makes the folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
