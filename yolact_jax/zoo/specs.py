"""Configs by name: the published models, and others to start from.

Each lists what differs from the defaults of `yolact_jax.config`.
"""

import runpy
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from yolact_jax.config import Config, suggestion, to_config_dict
from yolact_jax.weights.hub import PUBLISHED

# Three anchor sizes per octave.
_PLUS_SCALES_PX = tuple(
    tuple(side * 2.0 ** (third / 3) for third in range(3))
    for side in (24, 48, 96, 192, 384)
)
_PLUS = {
    "model.deformable_interval": 3,
    "model.mask_iou": True,
    "anchors.scales_px": _PLUS_SCALES_PX,
    "anchors.square": False,
}
# A small network without pretrained weights can take 20 times the published rate, and
# in a few thousand steps learns more from easy pictures than from distorted ones.
_SMALL = {
    "augment.photometric": False,
    "augment.expand": False,
    "augment.crop": False,
    "augment.flip_vertical": True,
    "model.backbone": "resnet18",
    "model.backbone_width": 32,
    "model.features": 64,
    "optimizer.learning_rate": 0.02,
    "optimizer.warmup_rate": 1e-3,
    "optimizer.warmup_steps": 100,
    "optimizer.clip_norm": 10.0,
}

MODERN = {
    "anchors.aspect_ratios": (1.0,),
    "data.mask_target": "coverage",
    "loss.assignment": "atss",
    "loss.overlap": "mask_aware",
    # A box of a fraction of a cell would multiply its mask loss by as much as 100.
    "loss.min_mask_cells": 1.0,
    "optimizer.schedule": "cosine",
    "train.ema_decay": 0.999,
}
"""What `configs/modern.py` changes but for its anchors, for any backbone and data."""
# Four strides of each level, with which ATSS was published for YOLACT, at 400 pixels as
# at 550.
_FOUR_STRIDES_PX = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))


def _folder(name: str, train: str, validation: str) -> dict[str, str]:
    """Returns the paths of your own dataset in ``data/``."""
    return {
        "data.train_annotations": f"data/{name}/{train}.json",
        "data.train_images": f"data/{name}/train",
        "data.validation_annotations": f"data/{name}/{validation}.json",
        "data.validation_images": f"data/{name}/val",
    }


_CHANGES: dict[str, dict[str, Any]] = {
    "coco": {},
    "shapes": {
        **_SMALL,
        "data.dataset": "shapes",
        "data.input_size": 128,
        "data.max_objects": 8,
        "model.num_prototypes": 16,
        "anchors.scales_px": ((24.0,), (40.0,), (64.0,), (96.0,), (128.0,)),
        "optimizer.decay_steps": (1700, 2250),
        "train.num_steps": 2400,
        "train.log_every_steps": 100,
        "train.checkpoint_every_steps": 600,
        "eval.batch_size": 16,
    },
    "nuclei": {
        **_SMALL,
        **_folder("nuclei", "annotations/instances_train", "annotations/instances_val"),
        "data.input_size": 256,
        "data.max_objects": 400,
        "anchors.scales_px": ((14.0,), (28.0,), (56.0,), (112.0,), (224.0,)),
        "optimizer.decay_steps": (750, 950),
        "train.num_steps": 1000,
        "train.checkpoint_every_steps": 250,
        "eval.max_detections": 200,
    },
    "custom": {
        **_folder("custom", "train", "val"),
        "data.mask_target": "coverage",
        "model.backbone": "resnet50",
        "optimizer.warmup_steps": 200,
        "optimizer.decay_steps": (),
        "optimizer.decay_fractions": (0.7, 0.9),
        "loss.min_mask_cells": 1.0,
        # The first steps of a new model may be wild.
        "optimizer.clip_norm": 10.0,
        "train.num_steps": 0,
        "train.checkpoint_every_steps": 500,
        "train.eval_every_steps": 500,
    },
    "yolact_base": {},
    "modern": {
        **MODERN,
        "model.backbone": "resnet50",
        "anchors.scales_px": _FOUR_STRIDES_PX,
    },
    "modern_small": {
        **MODERN,
        "data.input_size": 384,
        "model.backbone": "mobilenetv4_small",
        "model.features": 128,
        "anchors.scales_px": _FOUR_STRIDES_PX,
    },
    "yolact_darknet53": {"model.backbone": "darknet53"},
    # The base scales times 400 / 550 and 700 / 550, cut to whole pixels as in the
    # original.
    "yolact_im400": {
        "data.input_size": 400,
        "anchors.scales_px": ((17.0,), (34.0,), (69.0,), (139.0,), (279.0,)),
    },
    "yolact_im700": {
        "data.input_size": 700,
        "anchors.scales_px": ((30.0,), (61.0,), (122.0,), (244.0,), (488.0,)),
        "loss.max_masks": 300,
    },
    "yolact_plus_base": _PLUS,
    "yolact_plus_resnet50": {
        **_PLUS,
        "model.backbone": "resnet50",
        "model.deformable_interval": 1,
    },
    "yolact_resnet50": {"model.backbone": "resnet50"},
    "yolact_resnet50_pascal": {
        "data.dataset": "sbd",
        "data.source_dir": "data/sbd/benchmark_RELEASE",
        "model.backbone": "resnet50",
        "anchors.scales_px": ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,)),
        "anchors.square": False,
        "optimizer.decay_steps": (60_000, 100_000),
        "train.num_steps": 120_000,
    },
}
SPEC_NAMES = tuple(_CHANGES)
"""Names that `spec` knows."""


def spec(name: str) -> Config:
    """Returns the config of a name.

        >>> spec("yolact_resnet50").model.backbone
        'resnet50'

    Args:
      name: one of `SPEC_NAMES`.

    Raises:
      ValueError: if there is no such name.
    """
    if name not in _CHANGES:
        raise ValueError(f"No config is named {name!r}: {suggestion(name, SPEC_NAMES)}")
    return Config().replace(_CHANGES[name])


def spec_of_weights(name_or_path: str | Path) -> Config | None:
    """Returns the config of a published model, by its name or that of its file.

    None for other files, which do not say which model they are for.
    """
    names = {PUBLISHED[name].file: name for name in SPEC_NAMES if name in PUBLISHED}
    name = names.get(Path(name_or_path).name, str(name_or_path))
    return spec(name) if name in SPEC_NAMES else None


def load_config(name_or_path: str) -> ConfigDict:
    """Loads what ``--config`` names, so that fields can be changed.

    Args:
      name_or_path: one of `SPEC_NAMES`, or a Python file with a function
        ``get_config()`` that returns a `ConfigDict`.

    Raises:
      ValueError: if there is neither, or the file fails.
    """
    if name_or_path in SPEC_NAMES:
        return to_config_dict(spec(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        if path.suffix == ".py":
            raise ValueError(f"The config file {path} does not exist.")
        spec(name_or_path)
    return _run_file(path)


def _run_file(path: Path) -> ConfigDict:
    get_config = _telling_where(path, lambda: runpy.run_path(str(path)))
    get_config = get_config.get("get_config")
    if not callable(get_config):
        raise ValueError(f"The config file {path} has no function get_config().")
    config = _telling_where(path, get_config)
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"get_config() of the config file {path} returns a "
            f"{type(config).__name__}; it must return a ConfigDict."
        )
    return config


def _telling_where(path: Path, run: Callable[[], Any]) -> Any:
    """Runs code of a config file; any error becomes a sentence with its line."""
    try:
        return run()
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path)
        ]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        where = f"fails in line {line}" if line else "cannot be run"
        raise ValueError(
            f"The config file {path} {where}: {type(error).__name__}: {error}."
        ) from error
