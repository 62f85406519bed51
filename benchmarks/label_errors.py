"""How many planted label errors `yolact-jax inspect` finds.

    python benchmarks/label_errors.py --workdir runs/label_errors

Draws pictures of shapes, plants errors into their labels, trains on these labels as a
user would, and looks where `inspect` ranks what was planted.  A folder with a finished
run is not trained again.  The pictures have 96 pixels and at most three objects, none
of them small, so that minutes give a model that knows its classes.
"""

import argparse
import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolact_jax.cli import start_logging
from yolact_jax.config import Config
from yolact_jax.data import rle
from yolact_jax.data.sources.shapes import CLASS_NAMES, ShapesImage, draw_shapes
from yolact_jax.tools.commands.main import main as command
from yolact_jax.training.loop import train
from yolact_jax.zoo.specs import spec

RATES = {"class": 0.02, "outline": 0.01, "spurious": 0.01, "missing": 0.01}
"""Share of the objects that get each kind of error."""
_SIDE_PX, _MOST_OBJECTS, _LEAST_OBJECT_PX = 96, 3, 24
_SHIFT = 0.25  # of the sides
_TRIALS = 20
_LOOKED_AT = 0.05
# The first of each is what the page shows.
_RANKINGS = {
    "class": ("contradicted", "classification", "loss"),
    "outline": ("outline", "loss"),
    "spurious": ("background", "loss"),
    "missing": ("unlabeled",),
}


def main() -> None:
    """Prints which share of each kind is among the first of its ranking."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=4800)
    parser.add_argument("--clean", action="store_true", help="train on right labels")
    options = parser.parse_args()
    start_logging()
    data = options.workdir / "data"
    if not data.exists():
        write_data(data, options.images)
    config = make_config(options, data)
    train(config, options.workdir / "run")
    words = ["inspect", "--workdir", options.workdir / "run", "--max_images", 0]
    words += [f"--config.data.train_annotations={data / 'train.json'}"]
    if command(list(map(str, words))):
        raise SystemExit(1)
    report(data, options.workdir / "run" / "inspect")


def make_config(options: argparse.Namespace, data: Path) -> Config:
    """The shapes config at 96 pixels, on the folder of `write_data`."""
    labels = "clean" if options.clean else "train"
    return spec("shapes").replace(
        {
            "data.dataset": "coco",
            "data.records_dir": str(options.workdir / "records"),
            "data.train_annotations": str(data / f"{labels}.json"),
            "data.train_images": str(data / "images"),
            "data.validation_annotations": str(data / "validation.json"),
            "data.validation_images": str(data / "images"),
            "data.input_size": _SIDE_PX,
            "anchors.scales_px": ((18.0,), (30.0,), (48.0,), (72.0,), (96.0,)),
            "anchors.aspect_ratios": (1.0,),
            "loss.assignment": "atss",
            "optimizer.name": "adamw",
            "optimizer.learning_rate": 2e-3,
            "optimizer.warmup_rate": 1e-4,
            "optimizer.weight_decay": 0.05,
            "optimizer.schedule": "cosine",
            "train.num_steps": options.steps,
            "train.log_every_steps": 50,
            "train.checkpoint_every_steps": options.steps,
            "eval.report": False,
        }
    )


def write_data(folder: Path, count: int) -> None:
    """Writes pictures, right and wrong labels, and `planted.json`.

    Args:
      folder: created.
      count: how many pictures to train on; a tenth more are for validation.
    """
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    numbers = itertools.count(1)
    clean: dict[str, list] = {"images": [], "annotations": []}
    wrong, held_out = ({"images": [], "annotations": []} for _ in range(2))
    planted: dict[str, list] = {name: [] for name in RATES}
    pictures = itertools.islice(easy_pictures(), count + count // 10)
    for image_id, drawn in enumerate(pictures, start=1):
        image = {"id": image_id, "file_name": f"{image_id:05d}.png"}
        image |= {"height": _SIDE_PX, "width": _SIDE_PX}
        cv2.imwrite(str(folder / "images" / image["file_name"]), drawn.image[..., ::-1])
        truths = [
            annotation(image_id, next(numbers), int(label), mask)
            for label, mask in zip(drawn.labels, drawn.masks, strict=True)
        ]
        target = clean if image_id <= count else held_out
        target["images"].append(image)
        target["annotations"] += truths
        if image_id <= count:
            kept = plant(truths, drawn.masks, generator, planted, numbers)
            wrong["images"].append(image)
            wrong["annotations"] += kept
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, 1)]
    for name, content in (("clean", clean), ("train", wrong), ("validation", held_out)):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(content | {"categories": categories}))
    (folder / "planted.json").write_text(json.dumps(planted))


def easy_pictures() -> Iterator[ShapesImage]:
    """Yields the pictures of the series with few and large objects."""
    for index in itertools.count():
        drawn = draw_shapes(1, index, image_size=_SIDE_PX)
        sides = drawn.boxes_px[:, 2:] - drawn.boxes_px[:, :2]
        if len(sides) <= _MOST_OBJECTS and sides.min() >= _LEAST_OBJECT_PX:
            yield drawn


def annotation(image_id: int, number: int, label: int, mask: np.ndarray) -> dict:
    """A COCO annotation; the category id is the label + 1."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label + 1,
        "bbox": [x, y, width, height],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": rle.encode(mask),
    }


def plant(
    truths: list[dict],
    masks: np.ndarray,
    generator: np.random.Generator,
    planted: dict[str, list],
    numbers: Iterator[int],
) -> list[dict]:
    """Returns the annotations of an image with errors, and lists them in `planted`."""
    kept = []
    for truth, mask in zip(truths, masks, strict=True):
        kinds, rates = list(RATES), list(RATES.values())
        kind = generator.choice([*kinds, "none"], p=[*rates, 1 - sum(rates)])
        entry: dict[str, Any] | None = dict(truth)
        if kind == "class":
            other = int(generator.integers(1, len(CLASS_NAMES)))
            entry["category_id"] = (truth["category_id"] - 1 + other) % 5 + 1
        elif kind == "outline":
            moved = _moved(mask, generator)
            again = annotation(truth["image_id"], 0, 0, moved)
            entry |= {key: again[key] for key in ("bbox", "area", "segmentation")}
        elif kind == "spurious":
            more = _elsewhere(mask, masks, generator)
            if more is not None:
                label = int(generator.integers(len(CLASS_NAMES)))
                kept.append(annotation(truth["image_id"], next(numbers), label, more))
                planted[kind].append(kept[-1]["id"])
        elif kind == "missing":
            entry = None
            planted[kind].append(truth["image_id"])
        if kind in ("class", "outline"):
            planted[kind].append(truth["id"])
        kept += [entry] if entry else []
    return kept


def _moved(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A mask moved by `_SHIFT` of its sides along both axes, most of it still there."""
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    corners = generator.permutation(list(itertools.product((-1, 1), repeat=2)))
    moved = [_shifted(mask, *(_SHIFT * signs * (width, height))) for signs in corners]
    return max(moved, key=lambda m: min(m.sum(), 0.8 * mask.sum()))


def _shifted(mask: np.ndarray, right: float, down: float) -> np.ndarray:
    shift = np.float32([[1, 0, round(right)], [0, 1, round(down)]])
    return cv2.warpAffine(mask.astype(np.uint8), shift, mask.shape[::-1]) > 0


def _elsewhere(mask, masks, generator: np.random.Generator) -> np.ndarray | None:
    """A mask where no object is, or None if there is no room."""
    for _ in range(_TRIALS):
        moved = _shifted(mask, *generator.integers(-_SIDE_PX, _SIDE_PX, 2))
        if moved.sum() > 0.8 * mask.sum() and not (moved & masks.any(axis=0)).any():
            return moved
    return None


def report(data: Path, inspected: Path) -> None:
    """Prints how much of what was planted is found."""
    planted = json.loads((data / "planted.json").read_text())
    objects = list(csv.DictReader((inspected / "losses_objects.csv").open()))
    images = list(csv.DictReader((inspected / "losses_images.csv").open()))
    # No anchor belongs to the others.
    objects = [row for row in objects if row["loss"]]
    for row in objects:
        row["outline"] = float(row["box"]) + float(row["mask"])
    for kind, columns in _RANKINGS.items():
        key = "image_id" if kind == "missing" else "annotation_id"
        rows = images if kind == "missing" else objects
        wanted = set(planted[kind]) & {int(row[key]) for row in rows}
        for column in columns:
            ranked = sorted(rows, key=lambda row, column=column: -float(row[column]))
            first = ranked[: round(_LOOKED_AT * len(ranked))]
            found = wanted & {int(row[key]) for row in first}
            print(f"{kind:<10}{column:<16}{len(found):>4} of {len(wanted):<4}")


if __name__ == "__main__":
    main()
