r"""Examines a dataset: every fault with its ids, and what the network sees.

    yolact-jax doctor --data my_pictures --sheet sheet.png
    yolact-jax doctor --config configs/custom.py --sheet sheet.png
    yolact-jax doctor --annotations train.json --images train --sheet sheet.png \
        --validation_annotations val.json --validation_images val

A config gives the data, the input size, the anchors and the augmentation of the sheet;
without one, the flags give the data and everything else is as in coco.
The exit status is 1 if there are problems, with --strict also for warnings, else 0.
"""

import tempfile
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from yolact_jax.cli import Command
from yolact_jax.config import Data, grown_scales
from yolact_jax.tools.commands import data_flag
from yolact_jax.tools.doctor.examine import diagnose, report
from yolact_jax.zoo.specs import load_config

# Flag -> field of the config.
_FIELDS = {
    "annotations": "data.train_annotations",
    "images": "data.train_images",
    "validation_annotations": "data.validation_annotations",
    "validation_images": "data.validation_images",
    "input_size": "data.input_size",
    "max_objects": "data.max_objects",
    "records_dir": "data.records_dir",
}


def find_config(given: dict[str, str]) -> ConfigDict:
    """Returns the config of ``--config`` or for ``--data``, coco by default."""
    return data_flag.find_config(given) or load_config("coco")


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    for name, text in (
        ("annotations", "Json file of the train split."),
        ("images", "Folder of its images."),
        ("validation_annotations", "Json file of the validation split."),
        ("validation_images", "Folder of its images. [that of --images]"),
        ("sheet", "PNG file to draw augmented samples in."),
        ("records_dir", "Keep the records there. [a temporary folder]"),
    ):
        flags.DEFINE_string(name, None, text, flag_values=values)
    for name, text, default, least in (
        ("input_size", "Side of the network input, pixels.", None, 32),
        ("max_objects", "Slots for annotations per image.", None, 1),
        ("samples", "Samples to draw.", 16, 1),
        ("most", "Findings of a kind to print.", 20, 1),
    ):
        flags.DEFINE_integer(name, default, text, lower_bound=least, flag_values=values)
    data_flag.define(values)
    flags.DEFINE_bool("strict", False, "Whether warnings fail.", flag_values=values)


def run(values: Any) -> int:
    """Examines, prints the report, and returns its status."""
    if values.sheet is not None and Path(values.sheet).exists():
        raise ValueError(f"--sheet {values.sheet} exists; give the path of a new file.")
    changes = {
        field: values[flag].value
        for flag, field in _FIELDS.items()
        if values[flag].value is not None
    }
    if values.annotations is not None:
        if values.data is not None:
            raise ValueError("--data and --annotations both name data; give one.")
        changes = _only_given_data(values) | changes
    config = data_flag.config_of(values)
    if values.input_size is not None and "config.anchors.scales_px" not in values:
        sizes = config.data.frame.size, (values.input_size, values.input_size)
        grown = grown_scales(config.anchors.scales_px, *sizes)
        changes["anchors.scales_px"] = grown  # As with --config.data.input_size.
    with tempfile.TemporaryDirectory() as temporary:
        if config.data.records_dir == Data().records_dir:  # It leaves nothing behind.
            config = config.replace({"data.records_dir": temporary})
        changes = {"data.skip_bad": True} | changes
        found = diagnose(
            config.replace(changes), sheet=values.sheet, samples=values.samples
        )
    print(report(found, values.most))
    failing = {"problem", "warning"} if values.strict else {"problem"}
    return int(any(finding.level in failing for finding in found))


def _only_given_data(values: Any) -> dict[str, Any]:
    """Returns fields that replace data of the config by those of the flags."""
    if values.images is None:
        raise ValueError("--images is missing: the folder of images of --annotations.")
    if values.validation_images is not None and values.validation_annotations is None:
        raise ValueError("--validation_images needs --validation_annotations too.")
    validation = values.images if values.validation_annotations else ""
    return {
        "data.dataset": "coco",
        "data.dir": "",
        "data.validation_annotations": "",
        "data.validation_images": validation,
    }


COMMAND = Command("doctor", __doc__, define_flags, run, find_config)
