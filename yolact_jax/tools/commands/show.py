"""Draws what the network sees of a training picture in some epoch.

    yolact-jax show --workdir runs/shapes --index 123 --epoch 4
    yolact-jax show --data my_pictures --image_id 7 --output seen.png

Writes a PNG file: on the left the pixels after augmentation, on the right the same with
boxes and masks.  They are exactly those of the run, or of a run that the config would
start: the same seed, the same draws.  Prints the step and the row of its batch.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from yolact_jax import build
from yolact_jax.cli import Command
from yolact_jax.config import to_config_dict
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.results.draw import write_picture
from yolact_jax.run.changes import SAMPLE_FIELDS, require_unchanged
from yolact_jax.run.folder import check_same_run, load_run
from yolact_jax.tools.commands import data_flag
from yolact_jax.tools.show import picture_of, seen


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    data_flag.define(values)
    for name, text, default in (
        ("index", "Place of the picture in the train split, from 0.", None),
        ("image_id", "Its id in the json file, instead of --index.", None),
        ("epoch", "Which time it is seen, from 1.", 1),
    ):
        flags.DEFINE_integer(name, default, text, flag_values=values)
    flags.DEFINE_string(
        "output", None, "PNG file to write. [seen_INDEX_EPOCH.png]", flag_values=values
    )


def find_config(given: dict[str, str]) -> ConfigDict | None:
    """Returns the config of the run, of ``--config`` or for ``--data``.

    Raises:
      ValueError: if the flags name two.
    """
    if "workdir" not in given:
        return data_flag.find_config(given)
    for name in ("config", "data"):
        if name in given:
            raise ValueError(f"--workdir and --{name} both name a config; give one.")
    return to_config_dict(load_run(given["workdir"]).config)


def run(values: Any) -> None:
    """Draws the picture, and prints where it is in the run."""
    config = data_flag.config_of(values)
    dataset = build.make_dataset(config, ("train",))
    if values.workdir is not None:
        check_same_run(values.workdir, config, dataset)
    source = dataset.source("train")
    index = _index(values, source)
    path = Path(values.output or f"seen_{index}_{values.epoch}.png")
    if path.exists():
        raise ValueError(f"--output {path} exists; give the path of a new file.")
    found = seen(config, source, index, values.epoch)
    if values.workdir is not None:
        require_unchanged(values.workdir, found.step, SAMPLE_FIELDS)
    write_picture(path, picture_of(found.sample, source.class_names))
    example = source[index]
    where = f"step {found.step}, row {found.row}" if found.step else "-"
    print(f"image {example.image_id} ({example.file_name}): {where}; {path}")


def _index(values: Any, source: RecordSource) -> int:
    if (values.index is None) == (values.image_id is None):
        raise ValueError("give either --index or --image_id, to say which picture.")
    if values.index is not None:
        return values.index
    ids = np.fromiter((example.image_id for example in source), np.int64, len(source))
    found = np.flatnonzero(ids == values.image_id)
    if not len(found):
        raise ValueError(f"--image_id {values.image_id} is not in {source!r}.")
    return int(found[0])


COMMAND = Command("show", __doc__, define_flags, run, find_config)
