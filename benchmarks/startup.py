"""Time to import and load a run, against that of importing jax and flax alone.

python benchmarks/startup.py runs/shapes

Starts fresh processes in turn and prints the medians and their ratio.
"""

import argparse
import statistics
import subprocess
import sys
import time

REPEATS = 5
CODES = {
    "jax and flax": "import jax, flax.linen",
    "load a run": "import sys, yolact_jax; yolact_jax.load(sys.argv[1])",
}


def seconds(code: str, run: str) -> float:
    """Runs code in a process of its own."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, run], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a run")
    run = parser.parse_args().run
    for code in CODES.values():
        seconds(code, run)  # Files are in the cache of the system from here on.
    # In turn, so that a busy machine slows both.
    rounds = [
        {name: seconds(code, run) for name, code in CODES.items()}
        for _ in range(REPEATS)
    ]
    medians = {name: statistics.median(r[name] for r in rounds) for name in CODES}
    for name, median in medians.items():
        print(f"{name:<14}{median:6.2f} s")
    base, loaded = medians.values()
    print(f"ratio         {loaded / base:6.2f}")


if __name__ == "__main__":
    main()
