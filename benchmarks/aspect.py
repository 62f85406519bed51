"""Stretched against letterboxed: mask AP on generated pictures of 2:1 and 1:2.

    python benchmarks/aspect.py --seeds 0,1,2 --steps 1000

Two pictures of `configs/shapes.py` side by side, or one above the other, are one
picture here.  Each variant trains on both kinds from the same seeds; a row of mask AP
on each kind goes to a file in `--results` as a run ends, and rows that are there are
not run again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import recipe
from benchmarks.divergence import append
from benchmarks.timing import device_name
from yolact_jax import build
from yolact_jax.cli import start_logging
from yolact_jax.config import Config
from yolact_jax.data.sources.shapes import CLASS_NAMES, draw_shapes
from yolact_jax.training.session import make_session
from yolact_jax.zoo.specs import spec

SIDE = 96
KINDS = {"2:1": 1, "1:2": 0}
"""Width to height, and the axis along which two pictures are joined."""
VARIANTS = {
    "stretch": {},
    "letterbox": {"data.resize": "letterbox"},
    # As many pixels of the network input show the picture as when it is stretched.
    "letterbox, 180": {"data.resize": "letterbox", "data.input_size": 180},
}
_SPLITS = {"train": (0, tuple(KINDS)), **{k: (1, (k,)) for k in KINDS}}


def joined(
    seed: int, index: int, axis: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins two pictures: image [h, w, 3] uint8, labels [n], masks [n, h, w] bool."""
    halves = [draw_shapes(seed, 2 * index + n, image_size=SIDE) for n in range(2)]
    masks = []
    for place, half in enumerate(halves):
        both = [np.zeros_like(half.masks)] * 2
        both[place] = half.masks
        masks.append(np.concatenate(both, axis=axis + 1))
    return (
        np.concatenate([half.image for half in halves], axis=axis),
        np.concatenate([half.labels for half in halves]),
        np.concatenate(masks),
    )


def write_pictures(
    folder: Path, name: str, seed: int, kinds: Sequence[str], count: int
) -> None:
    """Writes pictures of some kinds in turn, and ``NAME.json`` in COCO format."""
    images, annotations = [], []
    for index in range(count):
        image, labels, masks = joined(seed, index, KINDS[kinds[index % len(kinds)]])
        file_name = f"{name.replace(':', '-')}-{index}.png"
        cv2.imwrite(str(folder / file_name), image[..., ::-1])
        height, width = image.shape[:2]
        images.append(
            {"id": index, "file_name": file_name, "height": height, "width": width}
        )
        for label, mask in zip(labels.tolist(), masks, strict=True):
            run = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": label + 1,
                    "segmentation": {**run, "counts": run["counts"].decode()},
                    "bbox": coco_mask.toBbox(run).tolist(),
                    "area": float(coco_mask.area(run)),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(content))


def make_config(folder: Path, variant: str, seed: int, steps: int) -> Config:
    """Makes the config of one run; anchors fit the objects in either size."""
    return spec("shapes").replace(
        {
            "data.dataset": "coco",
            "data.records_dir": str(folder / "records"),
            "data.train_annotations": str(folder / "train.json"),
            "data.train_images": str(folder),
            "data.validation_annotations": str(folder / "2:1.json"),
            "data.validation_images": str(folder),
            "data.max_objects": 16,
            "anchors.scales_px": ((12.0,), (20.0,), (32.0,), (48.0,), (64.0,)),
            "optimizer.decay_steps": (round(0.7 * steps), round(0.9 * steps)),
            "train.num_steps": steps,
            "train.seed": seed,
            **VARIANTS[variant],
        }
    )


def run(folder: Path, variant: str, seed: int, steps: int) -> dict[str, object]:
    """Trains once; returns mask AP on each kind, in percent."""
    config = make_config(folder, variant, seed, steps)
    state, _ = recipe.train(make_session(config, Path()))
    row: dict[str, object] = {}
    for kind in KINDS:
        path = str(folder / f"{kind}.json")
        of_kind = config.replace({"data.validation_annotations": path})
        dataset = build.make_dataset(of_kind, ("validation",))
        row[f"ap_{kind}"] = recipe.evaluate(of_kind, dataset, state)["ap"]
    return row


def main() -> None:
    """Runs what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="0", help="Separated by commas.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=1000, help="To train on.")
    parser.add_argument("--variants", default=";".join(VARIANTS))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    start_logging()
    file = options.results / f"aspect-{device_name()}.csv"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, (seed, kinds) in _SPLITS.items():
            count = options.pictures if name == "train" else options.pictures // 10
            write_pictures(folder, name, seed, kinds, count)
        for seed in map(int, options.seeds.split(",")):
            for variant in options.variants.split(";"):
                key = {"variant": variant, "seed": seed, "steps": options.steps}
                if tuple(map(str, key.values())) not in recipe.done(file):
                    append(file, key | run(folder, variant, seed, options.steps))
    print(file.read_text())


if __name__ == "__main__":
    main()
