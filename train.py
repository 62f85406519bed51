"""Trains a model: ``python train.py --config configs/shapes.py --workdir runs/shapes``.

Any field of the config can be set on the command line, for example
``--config.train.batch_size=16``.  A run that was stopped goes on where its newest
checkpoint left it.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from yolact_jax.console import parse_flags, start_logging
from yolact_jax.training.loop import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Which model and data.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def main(argv: list[str]) -> None:
    """Parses flags and trains."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    try:
        train(_CONFIG.value, _WORKDIR.value)
    except ValueError as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse_flags)
