"""Serves a page in which one finds objects in pictures, clips and by camera.

    yolact-jax demo --workdir runs/shapes
    yolact-jax demo --weights yolact_base --port 8000

The page is at http://127.0.0.1:7860, for this machine alone unless --host says
otherwise, and needs no network.  One chooses a file, the least score and the classes,
sees the masks, and downloads detections.json.  It needs the extra demo.
"""

from typing import Any

from absl import flags

from yolact_jax.cli import Command
from yolact_jax.inference.options import PredictOptions
from yolact_jax.results.predictor import Predictor
from yolact_jax.tools.commands import model_flags
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.tools.demo.page import serve


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    model_flags.define_nms(values)
    flags.DEFINE_string(
        "host",
        "127.0.0.1",
        "Address to listen at; 0.0.0.0 lets other machines in.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "port",
        7860,
        "Port to listen at.",
        lower_bound=1,
        upper_bound=65535,
        flag_values=values,
    )


def run(values: Any) -> None:
    """Serves the page until it is interrupted."""
    keep_compiled_programs()
    serve(lambda: _load(values), host=values.host, port=values.port)


def _load(values: Any) -> Predictor:
    predictor = model_flags.load_predictor(values)
    predictor.choices(PredictOptions())  # Wrong weights show now, and not in the page.
    return predictor


COMMAND = Command("demo", __doc__, define_flags, run, model_flags.find_config)
