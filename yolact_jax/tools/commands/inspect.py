"""Finds the images and objects that a trained model fits worst: label errors.

    yolact-jax inspect --workdir runs/shapes --split train

Computes, in whole images and their mirror images, the loss of every object, how surely
the model takes it for another class or for background, and where it sees an object that
nobody labeled.  Writes inspect/ into the folder: inspect.html with the 100 worst of
each kind, and CSV files of all objects and images.
"""

import logging
from pathlib import Path
from typing import Any

from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command
from yolact_jax.tools.commands import model_flags
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.tools.inspect.losses import ImageLosses, image_losses
from yolact_jax.tools.inspect.page import Names, write_pages
from yolact_jax.weights.classes import require_same
from yolact_jax.zoo.load import require_fit

_LOGGER = logging.getLogger(__name__)
INSPECT_FOLDER = "inspect"


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    flags.DEFINE_enum(
        "split", "train", ["validation", "train"], "Images.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_images", None, "How many images; 0: all.", flag_values=values
    )
    flags.DEFINE_string(
        "output",
        None,
        "Folder for inspect/; default: workdir, or out with --weights.",
        flag_values=values,
    )


def run(values: Any) -> None:
    """Writes the page and the tables, and prints where."""
    keep_compiled_programs()
    model, variables, _ = model_flags.load(values)
    require_fit(model, variables)
    dataset = build.make_dataset(model.config, splits=(values.split,))
    owner = values.weights or values.workdir
    require_same(model.class_names, dataset.class_names, owner, "the data")
    source = dataset.source(values.split)
    count = min(model.config.eval.max_images or len(source), len(source))
    losses = list(
        image_losses(
            (source[i] for i in range(count)),
            model.config,
            variables,
            len(dataset.class_names),
        )
    )
    if left_out := source.num_objects[:count].sum() - sum(map(_count, losses)):
        _LOGGER.warning(
            "%d objects are left out: they have no extent, or their center is outside "
            "the image.",
            left_out,
        )
    folder = Path(values.output or values.workdir or "out") / INSPECT_FOLDER
    names = Names(dataset.class_names, dataset.category_ids)
    print(write_pages(folder, losses, lambda place: source[place], names))


def _count(image: ImageLosses) -> int:
    return len(image.annotation)


COMMAND = Command("inspect", __doc__, define_flags, run, model_flags.find_config)
