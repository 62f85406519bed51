"""Times and memory of an evaluation after the network: codes, files, AP, report.

    python -m benchmarks.evaluation --images 1000
    python -m benchmarks.evaluation --images 5000 --memory

Made-up objects and detections of 80 classes in images of 640 x 480 pixels, with masks
as COCO's: ellipses of all sizes.  With --memory, the stages run one after the other, as
in an evaluation, and the largest memory of the process so far is printed after each.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolact_jax.data import rle
from yolact_jax.results.coco_ap import evaluate_coco
from yolact_jax.results.coco_entries import (
    collect_results,
    stream_results,
    write_results,
)
from yolact_jax.results.instances import Instances
from yolact_jax.results.report.numbers import Evaluated, measure
from yolact_jax.structures import PackedMasks

HEIGHT, WIDTH, CLASSES, OBJECTS = 480, 640, 80, 7


def main() -> None:
    """Prints seconds, or megabytes, of each stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--memory", action="store_true", help="one of each stage only")
    parser.add_argument("--evaluator", default="pycocotools")
    options = parser.parse_args()
    pool = ellipses(np.random.default_rng(0), 400)
    print(f"{'start':<28}{peak_mb():8.0f} MB")
    if not options.memory:
        stage("codes, unpacked (before)", unpacked_codes, pool, options)
    category_ids = list(range(1, CLASSES + 1))
    with tempfile.TemporaryDirectory() as folder:
        stage(
            "entries, written at once",
            lambda: stream_results(
                folder, found(pool, options), category_ids=category_ids
            ),
        )
    boxes, masks = stage(
        "codes and entries",
        lambda: collect_results(found(pool, options), category_ids=category_ids),
    )
    truth = stage("ground truth", ground_truth, pool, options)
    with tempfile.TemporaryDirectory() as folder:
        stage("files", write_results, folder, boxes, masks)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"{'':<28}{size / 1e6:8.0f} MB of files")
    evaluators = [options.evaluator] if options.memory else ["pycocotools", "faster"]
    for name in evaluators:
        metrics = stage(
            f"AP, {name}",
            lambda name=name: evaluate_coco(truth, boxes, masks, evaluator=name),
        )
        print(f"{'':<28}{metrics['mask_AP']:11.6f} mask AP")
    ids = [image["id"] for image in truth["images"]]
    evaluated = Evaluated(truth, {"box": boxes, "mask": masks}, ids, 100)
    stage("numbers of the report", measure, evaluated)


def stage(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a stage, and prints its time and the largest memory so far."""
    start = time.perf_counter()
    result = function(*arguments)
    seconds = time.perf_counter() - start
    print(f"{name:<28}{seconds:8.1f} s {peak_mb():8.0f} MB", flush=True)
    return result


def peak_mb() -> float:
    """Largest memory of the process so far, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ellipses(generator: np.random.Generator, count: int) -> PackedMasks:
    """Draws masks with sides from 8 to 400 pixels, as many small as large ones."""
    parts = []
    for _ in range(count):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        side = np.exp(generator.uniform(np.log(4), np.log(200), 2)).astype(int)
        center = generator.integers((WIDTH, HEIGHT)).tolist()
        angle = int(generator.integers(180))
        cv2.ellipse(mask, center, side.tolist(), angle, 0, 360, 1, -1)
        if mask.any():
            parts.append(np.packbits(mask, axis=-1))
    return PackedMasks.of_rows(np.array(parts), WIDTH)


def chosen(pool: PackedMasks, number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The masks of an image, by place in the pool, and their classes."""
    generator = np.random.default_rng(number)
    places = generator.integers(len(pool), size=count)
    # The first are near its objects.
    places[:OBJECTS] = np.random.default_rng(10**6 + number).integers(
        len(pool), size=min(OBJECTS, count)
    )
    return places, places % CLASSES


def found(pool: PackedMasks, options: argparse.Namespace):
    """Yields the id and the detections of each image."""
    boxes = boxes_of(pool)
    for number in range(options.images):
        places, labels = chosen(pool, number, options.detections)
        scores = np.random.default_rng(number).random(len(places), np.float32)
        yield number + 1, Instances(boxes[places], scores, labels, pool[places])


def boxes_of(pool: PackedMasks) -> np.ndarray:
    """[n, 4] float32, corners in pixels."""
    xywh = [cv2.boundingRect(mask.astype(np.uint8)) for mask in pool]
    boxes = np.array(xywh, np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def unpacked_codes(pool: PackedMasks, options: argparse.Namespace) -> None:
    """Codes all masks one by one at full size."""
    for _, instances in found(pool, options):
        for mask in instances.packed:
            rle.encode(mask)


def ground_truth(pool: PackedMasks, options: argparse.Namespace) -> dict:
    """A COCO annotation dictionary with some objects in each image."""
    boxes = boxes_of(pool)
    zeros = np.zeros(len(pool), np.float32)
    codes = Instances(boxes, zeros, zeros.astype(int), pool).rles()
    areas = [int(mask.sum()) for mask in pool]
    images, annotations = [], []
    for number in range(options.images):
        places, labels = chosen(pool, number, OBJECTS)
        images.append({"id": number + 1, "height": HEIGHT, "width": WIDTH})
        for place, label in zip(places.tolist(), labels.tolist(), strict=True):
            x1, y1, x2, y2 = boxes[place].tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": areas[place],
                    "iscrowd": 0,
                    "segmentation": codes[place],
                }
            )
    categories = [{"id": i + 1, "name": f"class {i + 1}"} for i in range(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


if __name__ == "__main__":
    main()
