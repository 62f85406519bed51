"""Repeats one step of a run, to see why its update was skipped.

    yolact-jax replay --workdir runs/shapes --step 1234

By default, repeats the first step whose update was skipped.  Prints every loss term,
the norm of the gradient, and what is wrong with the parameters before the step and with
the boxes of the batch, by image.  To get the state before the step, it trains from the
newest earlier checkpoint over the steps between, on the same batches; on a CPU that
state equals the run's bit for bit.  --nearest skips that and uses the checkpoint.
"""

from typing import Any

import numpy as np
from absl import flags

from yolact_jax.cli import Command, require_device
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.tools.replay import replay


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    flags.DEFINE_integer(
        "step", None, "Step to repeat. [the first skipped]", flag_values=values
    )
    flags.DEFINE_bool(
        "nearest", False, "Use the nearest checkpoint as it is.", flag_values=values
    )


def run(values: Any) -> None:
    """Repeats the step; prints its losses and what looks wrong."""
    if values.workdir is None:
        raise ValueError("--workdir is missing: the folder of a run.")
    keep_compiled_programs()
    require_device()
    terms, findings = replay(values.workdir, values.step, nearest=values.nearest)
    for name, value in terms.items():
        verdict = "" if np.isfinite(value) else "   <- not finite"
        print(f"{name:<18}{value:>14.6g}{verdict}")
    print("\n".join(findings) or "State and boxes of the batch look right.")


COMMAND = Command("replay", __doc__, define_flags, run)
