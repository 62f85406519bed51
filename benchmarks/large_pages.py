"""What memory in large pages gains for a training step on a CPU with Linux.

    python benchmarks/large_pages.py --networks=nuclei,yolact_resnet50

Commands start with it, see `yolact_jax.tools.commands.large_pages`.  Processes with and
without take turns; a row has the median of each one's steps: wall time, and the time of
all cores in the program and in the system.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import kernel_forms, measurement, timing
from yolact_jax.tools.commands.large_pages import TUNABLES, VARIABLE
from yolact_jax.zoo.specs import SPEC_NAMES


def use() -> dict[str, float]:
    """What this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "step_s": time.perf_counter(),
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "page_faults": used.ru_minflt,
    }


def steps_of(name: str, steps: int) -> dict[str, float]:
    """Trains for some steps; returns the median use of one, and the peak of memory."""
    step, _ = kernel_forms.training_step(kernel_forms.make_config(name))
    step()
    uses = []
    for _ in range(steps):
        before = use()
        step()
        after = use()
        uses.append({key: after[key] - before[key] for key in after})
    row = {key: round(float(np.median([u[key] for u in uses])), 3) for key in uses[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row | {"peak_mib": round(peak)}


def in_a_process(name: str, steps: int, tunables: str) -> dict[str, float]:
    """The row of a process that starts with these settings of the C library."""
    command = [sys.executable, __file__, f"--child={name}", f"--steps={steps}"]
    environment = {**os.environ, VARIABLE: tunables}
    output = subprocess.check_output(command, env=environment, text=True)
    words = output.splitlines()[-1].split()
    return {
        key: float(value) for key, value in zip(words[::2], words[1::2], strict=True)
    }


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    networks = measurement.words_of(SPEC_NAMES)
    default = "nuclei,yolact_resnet50"
    parser.add_argument("--networks", type=networks, default=default, help="configs")
    parser.add_argument("--turns", type=int, default=2, help="processes of each kind")
    parser.add_argument("--steps", type=int, default=6, help="timed ones of each")
    parser.add_argument("--results", default="benchmarks/results")
    parser.add_argument("--child", help="for the processes: the config to train")
    return parser.parse_args()


def main() -> None:
    """Runs all processes and writes the rows."""
    options, rows = parse(), []
    if options.child:
        measurement.print_row(steps_of(options.child, options.steps))
        return
    for name in options.networks:
        for turn in range(options.turns):
            for large, tunables in (("no", ""), ("yes", TUNABLES)):
                row = {"config": name, "turn": turn, "large_pages": large}
                row |= in_a_process(name, options.steps, tunables)
                rows.append(measurement.print_row(row))
                timing.write_rows(options.results, "large_pages", rows)


if __name__ == "__main__":
    main()
