"""Trains a model: ``python train.py --config configs/shapes.py --workdir runs/shapes``.

Any field of the config can be set on the command line, for example
``--config.train.batch_size=16``.  A run that was stopped goes on where its newest
checkpoint left it.  SIGTERM and Ctrl-C end it after the running step, saved.

Exit status: 0 when the run is complete, 128 plus the number of the signal (143, 130)
when one stopped it, 1 for anything else.  See docs/training.md.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from yolact_jax.compile_cache import keep_compiled_programs
from yolact_jax.console import parse_flags, start_logging
from yolact_jax.training.bad_batches import DivergedError
from yolact_jax.training.interruption import Interrupted
from yolact_jax.training.loop import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Which model and data.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def main(argv: list[str]) -> None:
    """Parses flags and trains."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    keep_compiled_programs()
    try:
        train(_CONFIG.value, _WORKDIR.value)
    except (ValueError, DivergedError, OSError) as error:
        sys.exit(f"train.py: {error}")
    except Interrupted as interrupted:
        print(f"train.py: {interrupted}", file=sys.stderr)
        sys.exit(interrupted.exit_status)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse_flags)
