"""Prints every field of a config: value, type, range, meaning.

yolact-jax config yolact_base
yolact-jax config configs/custom.py --config.train.batch_size=16
"""

from typing import Any

from yolact_jax.cli import Command
from yolact_jax.config import describe, from_config_dict
from yolact_jax.tools.commands import plan
from yolact_jax.zoo.specs import SPEC_NAMES


def run(values: Any) -> None:
    """Prints the fields."""
    if values.config is None:
        raise ValueError(f"name a config: a file, or one of {', '.join(SPEC_NAMES)}.")
    print(describe(from_config_dict(values.config)))


COMMAND = Command(
    "config", __doc__, plan.define_flags, run, plan.find_config, argument="config"
)
