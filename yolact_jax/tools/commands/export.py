"""Writes a trained model as a .safetensors file that PyTorch's YOLACT can load.

    yolact-jax export --workdir runs/shapes --output shapes.safetensors

The file has the keys and layouts of the original's state dict, and the class names;
evaluate and predict read it with --weights.
"""

from typing import Any

from absl import flags

from yolact_jax.cli import Command
from yolact_jax.tools.commands import model_flags
from yolact_jax.zoo.load import require_fit
from yolact_jax.zoo.pretrained import export_weights


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    flags.DEFINE_string(
        "output", None, "File to write, .safetensors.", flag_values=values
    )


def run(values: Any) -> None:
    """Writes the file."""
    if values.output is None:
        raise ValueError("--output is missing: the .safetensors file to write.")
    model, variables, _ = model_flags.load(values)
    require_fit(model, variables)
    export_weights(model, variables, values.output)


COMMAND = Command("export", __doc__, define_flags, run, model_flags.find_config)
