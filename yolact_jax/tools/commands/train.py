"""Trains a model, or continues a run that was stopped.

    yolact-jax train --data my_pictures --workdir runs/mine
    yolact-jax train --config shapes --workdir runs/shapes
    python train.py --config configs/shapes.py --workdir runs/shapes

--data takes a folder of labeled pictures, and says what it recognizes there.
--config takes a name or a file; any field of it can be set, for example
--config.train.batch_size=16.  A stopped run continues from its newest checkpoint.
SIGTERM and Ctrl-C end it after the running step, saved.
--plan only prints what the training needs.

On several hosts the same command runs in one process on each, with --distributed
on a TPU pod or under Slurm, and else with the address of process 0.

Exit status: 0 when the run is complete, 128 plus the number of the signal (143, 130)
when one stopped it, 1 for anything else.
"""

from typing import Any

from absl import flags

from yolact_jax.cli import (
    Command,
    require_device,
    start_logging,
)
from yolact_jax.tools.commands import data_flag, plan
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.training.loop import train
from yolact_jax.training.multihost import processes


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    data_flag.define(values)
    flags.DEFINE_bool(
        "plan", False, "Print cost and memory; do not train.", flag_values=values
    )
    flags.DEFINE_bool(
        "distributed", False, "Find the other processes.", flag_values=values
    )
    flags.DEFINE_string(
        "coordinator_address",
        None,
        "host:port of process 0, without --distributed.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_processes", None, "Processes of the run.", flag_values=values
    )
    flags.DEFINE_integer(
        "process_id", None, "Which of them this is, from 0.", flag_values=values
    )


def run(values: Any) -> int | None:
    """Plans or trains, alone or with other processes."""
    config = data_flag.config_of(values)
    if values.plan:
        return plan.show(config)
    if values.workdir is None:
        raise ValueError("--workdir is missing: the folder to keep the run in.")
    keep_compiled_programs()
    processes.initialize(
        auto=values.distributed,
        coordinator_address=values.coordinator_address,
        num_processes=values.num_processes,
        process_id=values.process_id,
    )
    require_device()
    if not processes.is_first_process():
        start_logging(quiet=True)
    train(config, values.workdir)
    return 0


COMMAND = Command("train", __doc__, define_flags, run, data_flag.find_config)
