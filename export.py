"""Exports a run: ``python export.py --workdir runs/x --output x.safetensors``.

The file has the keys and layouts of the original YOLACT's state dict; ``--weights`` of
evaluate.py and predict.py reads it too.
"""

import sys

from absl import app, flags

from yolact_jax.cli import start_logging
from yolact_jax.training.session import load_state
from yolact_jax.zoo.pretrained import export_weights

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_STEP = flags.DEFINE_string("step", None, "A step, latest or best. [latest]")
_OUTPUT = flags.DEFINE_string("output", None, "File to write, .safetensors.")


def main(argv: list[str]) -> None:
    """Parses flags and exports."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    try:
        run, state = load_state(_WORKDIR.value, _STEP.value)
        export_weights(run, state.inference_variables, _OUTPUT.value)
    except ValueError as error:
        sys.exit(f"export.py: {error}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir", "output"])
    app.run(main)
