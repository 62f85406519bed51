"""What a folder of records says of the weights and images behind them."""

import dataclasses
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from parity.images import read_image, synthetic_image
from parity.models import NUM_CLASSES, GoldenModel
from parity.records import Row
from parity.weights import RULE


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The ``manifest.json`` of a folder.

    Attributes:
      folder: where the records are; their photographs are in ``images`` there.
      content: `seed` of the weights, `image_seed` of the generated image, and
        `configs`: for each its `rule`, and where they differ from the published
        model `num_classes` (with background) and `max_size` (side of the input).
        Optional and compared: `image_crc32`; by config `sum_squares` and `tensors`.
    """

    folder: Path
    content: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The recorded configs."""
        return tuple(self.content["configs"])

    def model(self, name: str, freeze_bn: str = "yes") -> GoldenModel:
        """Returns the model of a config, as it was recorded."""
        entry = self.content["configs"][name]
        return GoldenModel(
            name,
            freeze_bn,
            num_classes=entry.get("num_classes", NUM_CLASSES[name] + 1) - 1,
            input_size=entry.get("max_size"),
            seed=self.content["seed"],
            rule=tuple(sorted(entry.get("rule", {}).items())),
        )

    def image(self, name: str) -> np.ndarray:
        """Loads an image by the name under which it was recorded.

        Args:
          name: a file name; "synthetic", the generated image of the folder, or
            "synthetic_image(height, width, seed=n)".

        Returns:
          [h, w, 3] uint8 RGB.

        Raises:
          ValueError: if there is no such image.
        """
        if name == "synthetic":
            height, width = self.content.get("image_shape", (480, 640))[:2]
            return synthetic_image(height, width, self.content.get("image_seed", 0))
        if name.startswith("synthetic"):
            return synthetic_image(*(int(n) for n in re.findall(r"\d+", name)))
        return read_image(self.folder / "images" / name)

    def check_weights(self, name: str) -> list[Row]:
        """Compares the generated weights and image with their recorded checksums."""
        entry = self.content["configs"][name]
        model = self.model(name)
        rows = []
        if "tensors" in entry:
            theirs = {k: tuple(s) for k, s in entry["tensors"] if not _counts(k)}
            different = theirs.items() ^ model.torch_shapes.items()
            rows.append(Row("weights: keys and shapes", len(different), 0.0, "keys"))
        if "sum_squares" in entry:
            tensors = model.tensors().values()
            total = sum(float(np.sum(a.astype(np.float64) ** 2)) for a in tensors)
            error = abs(total - entry["sum_squares"]) / entry["sum_squares"]
            rows.append(Row("weights: sum of squares", error, 1e-9, "rel"))
        if "image_crc32" in self.content:
            found = zlib.crc32(self.image("synthetic").tobytes())
            differs = float(found != self.content["image_crc32"])
            rows.append(Row("generated image", differs, 0.0, "differs"))
        return rows


def _counts(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks the manifest of a folder.

    Raises:
      ValueError: if there is none, or it names an unknown config or rule.
    """
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError:
        raise ValueError(
            f"`--golden` {folder} has no readable manifest.json, which gives the seed "
            f"and the rules of the recorded weights."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None
    _check(path, content)
    return Manifest(folder, content)


def _check(path: Path, content: Any) -> None:
    configs = content.get("configs") if isinstance(content, dict) else None
    if not isinstance(configs, dict) or not configs:
        raise ValueError(f"{path} has no `configs`, a dict by name of the config.")
    for field in ("seed", "image_seed"):
        value = content.get(field, 0 if field == "image_seed" else None)
        if type(value) is not int or value < 0:
            raise ValueError(f"{path}: `{field}` is {value!r}; it must be an integer.")
    for name, entry in configs.items():
        if name not in NUM_CLASSES:
            raise ValueError(
                f"{path} has the unknown config {name}; known are "
                f"{', '.join(NUM_CLASSES)}."
            )
        unknown = sorted(set(entry.get("rule", {})) - set(RULE))
        if unknown:
            raise ValueError(
                f"{path}: `rule` of {name} has {unknown[0]}; known are "
                f"{', '.join(RULE)}."
            )
