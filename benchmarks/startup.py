"""What a person waits for: imports, loading a run, and the first picture.

    python benchmarks/startup.py runs/shapes photo.jpg

Starts fresh processes in turn and writes medians, and ratios to the import of jax and
flax alone.  "first picture" compiles everything; "next start" is the same command once
more, with what the first has kept; "compiled only" is a start that has kept compiled
programs and no traces.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import measurement, timing
from yolact_jax.files import read_json

REPEATS = 5
_PREDICT = Path(__file__).parent.parent / "predict.py"
_WITHOUT_TRACES = """
import sys
from yolact_jax.inference import traced
traced.keep_in = lambda folder: None
from yolact_jax.tools.commands.main import main
sys.exit(main(["predict", *sys.argv[1:]]))
"""
_LOAD = "import sys, yolact_jax; yolact_jax.load(sys.argv[1])"
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


def round_of(run: str, picture: str, plain: str) -> dict[str, float]:
    """Times each command once, one after the other: a busy machine slows all.

    Args:
      run: folder of a run.
      picture: to find objects in.
      plain: folder for what is compiled without traces, the same for all rounds.
    """
    load = [sys.executable, "-c", _LOAD, run]
    predict = [sys.executable, str(_PREDICT), f"--workdir={run}", f"--source={picture}"]
    untraced = [sys.executable, "-c", _WITHOUT_TRACES, *predict[2:]]
    with tempfile.TemporaryDirectory() as folder:
        if not Path(plain).exists():
            seconds([*untraced, f"--output={folder}/warm"], plain)
        return {
            "import jax and flax": seconds(IMPORTS, plain),
            "load a run": seconds(load, plain),
            "first picture": seconds([*predict, f"--output={folder}/a"], folder),
            "next start": seconds([*predict, f"--output={folder}/b"], folder),
            "compiled only": seconds([*untraced, f"--output={folder}/c"], plain),
        }


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("picture", help="a picture to find objects in")
    parser.add_argument("--results", default=str(results), help="folder of the rows")
    options = parser.parse_args()
    config = read_json(Path(options.run) / "config.json")
    backbone, size = config["model"]["backbone"], config["data"]["input_size"]
    seconds(IMPORTS, "")  # Files are in the cache of the system from here on.
    with tempfile.TemporaryDirectory() as folder:
        work = options.run, options.picture, f"{folder}/plain"
        rounds = [round_of(*work) for _ in range(REPEATS)]
    medians = {n: statistics.median(each[n] for each in rounds) for n in rounds[0]}
    base = medians["import jax and flax"]
    rows = [
        measurement.print_row(
            {
                "backbone": backbone,
                "input_size": size,
                "what": name,
                "seconds": round(median, 2),
                "of_import": round(median / base, 2),
            }
        )
        for name, median in medians.items()
    ]
    timing.write_rows(options.results, "startup", rows)


if __name__ == "__main__":
    main()
