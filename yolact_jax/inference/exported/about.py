"""What an exported file says of the model in it, whatever its format."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolact_jax.config import Config, from_config_dict
from yolact_jax.weights.classes import are_classes

KEY = "yolact_jax"
"""The entry of the metadata of an ONNX model."""

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class About:
    """What a program without the model's code needs to know.

    Attributes:
      config: the whole config.
      class_names: name of each label.
      category_ids: dataset category id of each label.
      versions: of the libraries that wrote the file.
      program: what else its format needs.
    """

    config: Config
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    versions: Mapping[str, str]
    program: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Returns a JSON object."""
        content = dataclasses.asdict(self) | {
            "format": _FORMAT,
            "input_size": self.config.data.input_size,
            "resize": self.config.data.resize,
        }
        return json.dumps(content, indent=1)


def require_file(path: str | Path) -> None:
    """Raises a ValueError unless there is such a file."""
    if not Path(path).is_file():
        raise ValueError(f"The exported file {path} does not exist.")


def parse_about(text: str | bytes, path: str | Path) -> About:
    """Reads what `About.to_json` returns.

    Args:
      text: the JSON object.
      path: of the file, for messages.

    Raises:
      ValueError: if it is damaged, or of a newer version.
    """
    try:
        content = json.loads(text)
        version = content["format"]
        names, ids = content["class_names"], content["category_ids"]
        versions = {str(k): str(v) for k, v in content["versions"].items()}
        config, program = content["config"], dict(content["program"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged: it does not say which model it holds."
        ) from error
    if version != _FORMAT:
        written = versions.get("yolact_jax", "another version")
        raise ValueError(
            f"{path} has format {version!r}, written by yolact_jax {written}; this "
            f"version reads format {_FORMAT}, so use that version or export again."
        )
    if not are_classes(names, ids):
        raise ValueError(
            f"{path} is damaged: `class_names` and `category_ids` must be lists of "
            f"different names and of as many different integers."
        )
    try:
        config = from_config_dict(config)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return About(config, tuple(names), tuple(ids), versions, program)
