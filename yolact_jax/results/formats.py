"""Instances in other formats: COCO, labelme, supervision."""

from typing import TYPE_CHECKING, Any

import numpy as np

from yolact_jax.data import rle
from yolact_jax.results import outlines

if TYPE_CHECKING:
    from yolact_jax.results.instances import Instances

_SEGMENTATIONS = ("rle", "polygons")


def coco_annotations(
    instances: "Instances", image_id: int, segmentation: str, first_id: int
) -> list[dict]:
    """Makes COCO annotations, see `Instances.to_coco`."""
    if segmentation not in _SEGMENTATIONS:
        allowed = " or ".join(map(repr, _SEGMENTATIONS))
        raise ValueError(f"`segmentation` is {segmentation!r}; it must be {allowed}.")
    ids = instances.category_ids
    entries: list[dict] = []
    for number, mask in enumerate(instances.packed):
        x1, y1, x2, y2 = instances.boxes_px[number].tolist()
        if x2 <= x1 or y2 <= y1 or not mask.any():
            continue
        label = int(instances.labels[number])
        entry = {
            "id": first_id + len(entries),
            "image_id": image_id,
            "category_id": int(ids[label]) if ids else label + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": int(mask.sum()),
            "segmentation": _segmentation(mask, segmentation),
            "iscrowd": 0,
            "score": float(instances.scores[number]),
        }
        if instances.track_ids is not None and instances.track_ids[number] >= 0:
            entry["track_id"] = int(instances.track_ids[number])
        entries.append(entry)
    return entries


def _segmentation(mask: np.ndarray, kind: str) -> Any:
    if kind == "rle":
        return rle.encode(mask)
    return [ring.ravel().tolist() for ring in outlines.rings(mask)]


def labelme_content(instances: "Instances", image_path: str) -> dict:
    """Makes the content of a labelme file, see `Instances.to_labelme`."""
    height, width = instances.packed.size
    objects = zip(instances.names, instances.polygons(), strict=True)
    return {
        "version": "5.0.0",
        "flags": {},
        "shapes": [
            {
                "label": name,
                "points": ring.tolist(),
                "group_id": number if len(rings) > 1 else None,
                "shape_type": "polygon",
                "flags": {},
            }
            for number, (name, rings) in enumerate(objects, start=1)
            for ring in rings
        ],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def supervision_detections(instances: "Instances") -> Any:
    """Makes a `supervision.Detections`, see `Instances.to_supervision`."""
    try:
        # Optional, so not always there when types are checked.
        import supervision  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "to_supervision() needs the supervision package: "
            'pip install "yolact_jax[supervision]".'
        ) from error
    return supervision.Detections(
        xyxy=instances.boxes_px,
        mask=instances.masks,
        confidence=instances.scores,
        class_id=instances.labels,
        tracker_id=instances.track_ids,
        data={"class_name": np.array(instances.names)},
    )
