"""Prints what a training needs: parameters, GFLOPs, memory, the largest batch.

    yolact-jax plan --config yolact_base --config.train.batch_size=16

Compiles the training step for the devices at hand; reads no data.
"""

from typing import Any

from absl import flags
from ml_collections import ConfigDict

from yolact_jax.cli import Command, require_device
from yolact_jax.config import Config, from_config_dict
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.tools.plan import format_plan, make_plan
from yolact_jax.zoo.specs import load_config


def find_config(given: dict[str, str]) -> ConfigDict | None:
    """Returns the config of ``--config``, a name or a file."""
    return load_config(given["config"]) if "config" in given else None


def define_flags(values: flags.FlagValues) -> None:
    """Defines no flag; ``--config`` is enough."""


def run(values: Any) -> None:
    """Prints the plan."""
    if values.config is None:
        raise ValueError("--config is missing: a name such as yolact_base, or a file.")
    show(from_config_dict(values.config))


def show(config: Config) -> None:
    """Prints the plan of a config."""
    keep_compiled_programs()
    require_device()
    print(format_plan(make_plan(config)))


COMMAND = Command("plan", __doc__, define_flags, run, find_config)
