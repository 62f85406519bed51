"""What a person waits for: imports, loading a run, and the first picture.

    python benchmarks/startup.py runs/shapes photo.jpg

Starts fresh processes in turn and prints medians, and ratios to the import of jax and
flax alone.  "first picture" compiles everything; "next start" is the same command once
more, with what the first has put in the cache of compiled programs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 5
_PREDICT = Path(__file__).parent.parent / "predict.py"
IMPORTS = [sys.executable, "-c", "import jax, flax.linen"]


def seconds(command: list[str], cache: str) -> float:
    """Runs a command in a process of its own."""
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def round_of(run: str, picture: str) -> dict[str, float]:
    """Times each command once, one after the other: a busy machine slows all."""
    load = [
        sys.executable,
        "-c",
        "import sys, yolact_jax; yolact_jax.load(sys.argv[1])",
    ]
    predict = [sys.executable, str(_PREDICT), f"--workdir={run}", f"--source={picture}"]
    with tempfile.TemporaryDirectory() as folder:
        cache = f"{folder}/cache"
        return {
            "import jax and flax": seconds(IMPORTS, cache),
            "load a run": seconds([*load, run], cache),
            "first picture": seconds([*predict, f"--output={folder}/first"], cache),
            "next start": seconds([*predict, f"--output={folder}/next"], cache),
        }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("picture", help="a picture to find objects in")
    options = parser.parse_args()
    seconds(IMPORTS, "")  # Files are in the cache of the system from here on.
    rounds = [round_of(options.run, options.picture) for _ in range(REPEATS)]
    base = statistics.median(each["import jax and flax"] for each in rounds)
    for name in rounds[0]:
        median = statistics.median(each[name] for each in rounds)
        print(f"{name:<20}{median:7.2f} s{median / base:7.2f}")


if __name__ == "__main__":
    main()
