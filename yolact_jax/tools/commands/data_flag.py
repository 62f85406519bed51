"""The flag ``--data``, the folder of one's own pictures, and the config it implies."""

from typing import Any

from absl import flags
from ml_collections import ConfigDict

from yolact_jax.config import Config, from_config_dict
from yolact_jax.zoo.specs import load_config

_CONFIG = "custom"


def define(values: flags.FlagValues) -> None:
    """Defines the flag."""
    flags.DEFINE_string(
        "data",
        None,
        "Folder of labeled pictures: COCO, Roboflow, YOLO, labelme or masks; the "
        f"config is then {_CONFIG}, unless --config names another.",
        flag_values=values,
    )


def find_config(given: dict[str, str]) -> ConfigDict | None:
    """Returns the config of ``--config``, a name or a file, or that for ``--data``."""
    if "config" not in given and "data" not in given:
        return None
    return load_config(given.get("config", _CONFIG))


def config_of(values: Any) -> Config:
    """Returns the config, with the folder of ``--data`` in it.

    Raises:
      ValueError: if there is none, or the config names another folder.
    """
    if values.config is None:
        raise ValueError(
            "--config is missing: a name such as shapes, or a file; or --data, the "
            "folder of your pictures."
        )
    config = from_config_dict(values.config)
    if values.data is None:
        return config
    if config.data.dir not in ("", values.data):
        raise ValueError(
            f"--data {values.data} contradicts config.data.dir {config.data.dir}; "
            f"give one of them."
        )
    return config.replace({"data.dir": values.data})
