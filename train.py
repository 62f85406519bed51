"""Trains a model: ``python train.py --config configs/shapes.py --workdir runs/shapes``.

Any field of the config can be set on the command line, for example
``--config.train.batch_size=16``.  A run that was stopped goes on where its newest
checkpoint left it.  SIGTERM and Ctrl-C end it after the running step, saved.
``--plan`` only says what the training will need.

On several hosts the same command runs in one process on each, with ``--distributed``
on a TPU pod or under Slurm, and else with the address of process 0.

Exit status: 0 when the run is complete, 128 plus the number of the signal (143, 130)
when one stopped it, 1 for anything else.  See docs/training.md.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from yolact_jax.cli import keep_compiled_programs, parse_flags, start_logging
from yolact_jax.config import from_config_dict
from yolact_jax.tools.plan import format_plan, make_plan
from yolact_jax.training.interruption import Interrupted
from yolact_jax.training.loop import train
from yolact_jax.training.monitor.bad_batches import DivergedError
from yolact_jax.training.multihost import processes
from yolact_jax.training.multihost.processes import OtherProcessError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Which model and data.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_PLAN = flags.DEFINE_bool("plan", False, "Print cost and memory; do not train.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Find the other processes.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address", None, "host:port of process 0, without --distributed."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Processes of the run.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")


def main(argv: list[str]) -> None:
    """Parses flags and trains."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    keep_compiled_programs()
    try:
        run()
    except (ValueError, DivergedError, OSError) as error:
        sys.exit(f"train.py: {error}")
    except (Interrupted, OtherProcessError) as ended:
        print(f"train.py: {ended}", file=sys.stderr)
        sys.exit(ended.exit_status)


def run() -> None:
    """Plans or trains, alone or with other processes."""
    processes.initialize(
        auto=_DISTRIBUTED.value,
        coordinator_address=_COORDINATOR.value,
        num_processes=_NUM_PROCESSES.value,
        process_id=_PROCESS_ID.value,
    )
    if not processes.is_first_process():
        start_logging(quiet=True)
    config = from_config_dict(_CONFIG.value)
    if _PLAN.value:
        print(format_plan(make_plan(config)))
    else:
        train(config, _WORKDIR.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    flags.register_multi_flags_validator(
        ["workdir", "plan"],
        lambda values: values["plan"] or values["workdir"],
        message="Flag --workdir must be given, unless --plan is.",
    )
    app.run(main, flags_parser=parse_flags)
