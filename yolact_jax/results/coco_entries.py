"""Detected instances as entries of the COCO result format, and as files.

Format: https://cocodataset.org/#format-results.
"""

import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from yolact_jax.files import json_list, read_json
from yolact_jax.results.instances import Instances


def coco_results(
    instances: Instances,
    *,
    image_id: int,
    category_ids: Sequence[int],
    mask_scores: np.ndarray | None = None,
) -> tuple[list[dict], list[dict]]:
    """Converts the instances of one image to COCO result entries.

    Instances with a box without area are left out of both lists, so that the lists stay
    aligned.

    Args:
      instances: Detected objects of the image.
      image_id: Id of the image in the annotation file.
      category_ids: Dataset category id of every label; ``category_ids[label]``.
      mask_scores: [n] float, scores of the masks where they differ from those of the
        boxes; None takes those of the instances, if they have any (YOLACT++).

    Returns:
      Box entries, with ``bbox`` as (x, y, width, height) in pixels, and mask entries,
      with ``segmentation`` as a compressed run-length code with ``counts`` as str.

    Raises:
      ValueError: If a label has no entry in ``category_ids``.
    """
    _check_labels(instances.labels, len(category_ids), image_id)
    if mask_scores is None:
        mask_scores = instances.mask_scores
    if mask_scores is None:
        mask_scores = instances.scores
    boxes, masks = [], []
    pairs = zip(instances.boxes_px, instances.rles(), strict=True)
    for i, (box, segmentation) in enumerate(pairs):
        x1, y1, x2, y2 = (float(v) for v in box)
        if x2 <= x1 or y2 <= y1:
            continue
        category_id = int(category_ids[int(instances.labels[i])])
        entry = {"image_id": int(image_id), "category_id": category_id}
        bbox = [x1, y1, x2 - x1, y2 - y1]
        boxes.append(entry | {"bbox": bbox, "score": float(instances.scores[i])})
        masks.append(
            entry | {"segmentation": segmentation, "score": float(mask_scores[i])}
        )
    return boxes, masks


def collect_results(
    predictions: Iterable[tuple[int, Instances]], *, category_ids: Sequence[int]
) -> tuple[list[dict], list[dict]]:
    """Converts the instances of many images to COCO result entries.

    Args:
      predictions: Pairs of image id and detected objects; consumed once, so that only
        one image's masks need to be in memory.
      category_ids: Dataset category id of every label.

    Returns:
      All box entries and all mask entries, as in `coco_results`.
    """
    boxes, masks = [], []
    for more_boxes, more_masks in _each(predictions, category_ids):
        boxes += more_boxes
        masks += more_masks
    return boxes, masks


def _each(
    predictions: Iterable[tuple[int, Instances]], category_ids: Sequence[int]
) -> Iterator[tuple[list[dict], list[dict]]]:
    for image_id, instances in predictions:
        yield coco_results(instances, image_id=image_id, category_ids=category_ids)


def write_results(
    directory: str | os.PathLike,
    box_results: Sequence[dict],
    mask_results: Sequence[dict],
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes ``bbox_detections.json`` and ``mask_detections.json`` into a folder.

    Each file appears complete or not at all; the folder is created if missing.  The
    names are those of the original, and the COCO server accepts the files.

    Returns:
      The paths of the box file and of the mask file.
    """
    return _write(directory, [(box_results, mask_results)])


def stream_results(
    directory: str | os.PathLike,
    predictions: Iterable[tuple[int, Instances]],
    *,
    category_ids: Sequence[int],
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes what `collect_results` and `write_results` would, one image in memory.

    Args:
      directory: As for `write_results`.
      predictions: As for `collect_results`.
      category_ids: Dataset category id of every label.

    Returns:
      The paths of the box file and of the mask file.
    """
    return _write(directory, _each(predictions, category_ids))


def _write(
    directory: str | os.PathLike,
    parts: Iterable[tuple[Sequence[dict], Sequence[dict]]],
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes pairs of box entries and mask entries as they come."""
    paths = _paths(directory)
    with json_list(paths[0]) as add_boxes, json_list(paths[1]) as add_masks:
        for boxes, masks in parts:
            add_boxes(boxes)
            add_masks(masks)
    return paths


def read_results(directory: str | os.PathLike) -> dict[Literal["box", "mask"], list]:
    """Reads what `write_results` wrote: the entries of boxes and of masks.

    Raises:
      ValueError: if a file is missing or damaged.
    """
    for path in _paths(directory):
        if not path.is_file():
            raise ValueError(f"{path} is missing; run yolact-jax evaluate first.")
    box, mask = (read_json(path, list) for path in _paths(directory))
    return {"box": box, "mask": mask}


def _paths(directory: str | os.PathLike) -> tuple[pathlib.Path, pathlib.Path]:
    directory = pathlib.Path(directory)
    return directory / "bbox_detections.json", directory / "mask_detections.json"


def _check_labels(labels: np.ndarray, num_classes: int, image_id: int) -> None:
    bad = [int(label) for label in labels if not 0 <= label < num_classes]
    if bad:
        raise ValueError(
            f"label {bad[0]} of image {image_id} is not in category_ids, which has "
            f"labels 0 to {num_classes - 1}."
        )
