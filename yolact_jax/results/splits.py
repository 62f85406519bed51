"""Average precision of a model on the images of a split.

The two halves can run in different processes: `detect_images` works on parts of a
split, `evaluate_detected` scores them together.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.results.coco_ap import evaluate_coco
from yolact_jax.results.coco_entries import collect_results
from yolact_jax.results.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class Detected:
    """The detections in some images.

    Attributes:
      image_ids: of the images, also of those without a detection.
      boxes: Box entries, as in `coco_results`.
      masks: Mask entries.
    """

    image_ids: list[int]
    boxes: list[dict]
    masks: list[dict]


def detect_images(
    predictor: Predictor, source: RecordSource, indices: Iterable[int]
) -> Detected:
    """Detects in the images of a source with some indices, in no particular order."""
    image_ids = []

    def images() -> Iterator[np.ndarray]:
        for index in indices:
            example = source[index]
            image_ids.append(example.image_id)
            yield example.image

    boxes, masks = collect_results(
        (
            (image_ids[number], instances)
            for number, instances in predictor.detect_unordered(images())
        ),
        category_ids=source.category_ids,
    )
    return Detected(image_ids, boxes, masks)


def evaluate_detected(
    truth: dict,
    parts: Sequence[Detected],
    *,
    max_detections: int = 100,
    evaluator: str,
) -> tuple[dict[str, float], list[dict], list[dict]]:
    """Measures the average precision of what was found in some images of a split.

    Args:
      truth: Annotations of the split, from `coco_ground_truth`.
      parts: From `detect_images`; each image is in one of them.
      max_detections: How many detections per image and class are counted.
      evaluator: As for `evaluate_coco`.

    Returns:
      The metrics of `evaluate_coco`, the box entries and the mask entries, in the order
      of its images however the images were divided.
    """
    place = {image["id"]: index for index, image in enumerate(truth["images"])}

    def in_order(entries: Iterable[dict]) -> list[dict]:
        return sorted(entries, key=lambda entry: place[entry["image_id"]])

    boxes = in_order(entry for part in parts for entry in part.boxes)
    masks = in_order(entry for part in parts for entry in part.masks)
    metrics = evaluate_coco(
        truth,
        boxes,
        masks,
        max_detections=max_detections,
        evaluator=evaluator,
        image_ids=[image_id for part in parts for image_id in part.image_ids],
    )
    return metrics, boxes, masks
