"""What memory in large pages gains for a training step on a CPU with Linux.

    python benchmarks/large_pages.py --networks=nuclei,yolact_resnet50

Commands start with it, see `yolact_jax.tools.commands.large_pages`.  Processes with and
without take turns; a row has the median of each one's steps: wall time, and the time of
all cores in the program and in the system.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import app, flags

from benchmarks import kernel_forms, measurement, timing
from yolact_jax.tools.commands.large_pages import TUNABLES, VARIABLE

_NETWORKS = flags.DEFINE_list("networks", "nuclei,yolact_resnet50", "Configs.")
_TURNS = flags.DEFINE_integer("turns", 2, "Processes of each kind.")
_STEPS = flags.DEFINE_integer("steps", 6, "Timed steps of each process.")
_CHILD = flags.DEFINE_string("child", None, "For the processes: the config to train.")


def use() -> dict[str, float]:
    """What this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "step_s": time.perf_counter(),
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "page_faults": used.ru_minflt,
    }


def steps_of(name: str) -> dict[str, float]:
    """Trains for some steps; returns the median use of one, and the peak of memory."""
    step, _ = kernel_forms.training_step(kernel_forms.make_config(name))
    step()
    uses = []
    for _ in range(_STEPS.value):
        before = use()
        step()
        after = use()
        uses.append({key: after[key] - before[key] for key in after})
    row = {key: round(float(np.median([u[key] for u in uses])), 3) for key in uses[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row | {"peak_mib": round(peak)}


def in_a_process(name: str, tunables: str) -> dict[str, float]:
    """The row of a process that starts with these settings of the C library."""
    command = [sys.executable, __file__, f"--child={name}", f"--steps={_STEPS.value}"]
    environment = {**os.environ, VARIABLE: tunables}
    output = subprocess.check_output(command, env=environment, text=True)
    words = output.splitlines()[-1].split()
    return {
        key: float(value) for key, value in zip(words[::2], words[1::2], strict=True)
    }


def main(_) -> None:
    """Runs all processes and writes the rows."""
    if _CHILD.value:
        measurement.print_row(steps_of(_CHILD.value))
        return
    rows = []
    for name in _NETWORKS.value:
        for turn in range(_TURNS.value):
            for large, tunables in (("no", ""), ("yes", TUNABLES)):
                row = {"config": name, "turn": turn, "large_pages": large}
                rows.append(measurement.print_row(row | in_a_process(name, tunables)))
                timing.write_rows(flags.FLAGS.results, "large_pages", rows)


if __name__ == "__main__":
    app.run(main)
