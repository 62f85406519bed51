"""How good masks can be that learn their targets perfectly.

    python benchmarks/mask_targets.py --configs=shapes
    python benchmarks/mask_targets.py --configs=nuclei --data=data/nuclei

Draws the objects of the validation split as each kind of `data.mask_target` does, at
the size of the prototypes, enlarges that to the image as inference does, and compares
with the objects.  No network is part of it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measurement
from benchmarks.recipe import places
from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.augment.sample import ground_truth
from yolact_jax.data.augment.view import whole
from yolact_jax.data.example import Example
from yolact_jax.zoo.specs import spec

_CONFIGS = flags.DEFINE_list("configs", ["shapes"], "Names of configs.")
_DATA = flags.DEFINE_string("data", None, "Folder of the data of the config, if any.")
_RECORDS = flags.DEFINE_string("records", "data/records", "Folder of records.")
_IMAGES = flags.DEFINE_integer("images", 100, "Images of the validation split.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")
TARGETS = ("original", "center", "coverage")
_THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def restored(targets: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Enlarges [n, h, w] targets to images and yields what is more than half inside."""
    for target in targets:
        soft = cv2.resize(target.astype(np.float32), size[::-1])
        yield soft > 0.5


def compare(example: Example, config: Config, target: str) -> list[tuple[float, float]]:
    """IoU with the object, and area over its area, of each annotation of an image."""
    size = example.height, example.width
    chosen = np.flatnonzero(~example.annotations.crowd)
    view = whole(*size)

    def drawn(kind: str, mask_size: tuple[int, int]) -> np.ndarray:
        truth = ground_truth(
            example,
            view,
            chosen,
            input_size=config.data.frame.size,
            mask_size=mask_size,
            mask_target=kind,
        )
        return truth["masks"]

    objects = drawn("center", size) > 0
    masks = restored(drawn(target, build.prototype_size(config)), size)
    return [
        ((mask & truth).sum() / (mask | truth).sum(), mask.sum() / truth.sum())
        for mask, truth in zip(masks, objects, strict=True)
        if truth.any()
    ]


def measure(name: str) -> Iterator[dict]:
    """Yields a row for each kind of target."""
    config = spec(name).replace({"data.records_dir": _RECORDS.value})
    if _DATA.value:
        config = config.replace(places(Path(_DATA.value)))
    source = build.make_dataset(config).source("validation")
    examples = [source[i] for i in range(min(len(source), _IMAGES.value))]
    for target in TARGETS:
        rows = [row for each in examples for row in compare(each, config, target)]
        ious, areas = np.array(rows).T
        yield measurement.print_row(
            {
                "config": name,
                "target": target,
                "objects": len(ious),
                "mean_iou": round(float(ious.mean()), 3),
                "recall": round(float((ious[:, None] > _THRESHOLDS).mean()), 3),
                "median_area": round(float(np.median(areas)), 3),
            }
        )


def main(_) -> None:
    """Measures all configs and writes the rows."""
    rows = [row for name in _CONFIGS.value for row in measure(name)]
    file = Path(_RESULTS.value) / f"mask_targets-{'-'.join(_CONFIGS.value)}.csv"
    measurement.write_csv(file, rows)


if __name__ == "__main__":
    app.run(main)
