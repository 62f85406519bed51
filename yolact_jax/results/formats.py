"""Instances in other formats: COCO, labelme, supervision."""

from typing import TYPE_CHECKING, Any

import numpy as np

from yolact_jax.data import rle
from yolact_jax.results import outlines

if TYPE_CHECKING:
    from yolact_jax.results.instances import Instances

SEGMENTATIONS = ("rle", "polygons")


def check_segmentation(kind: str) -> None:
    """Refuses a kind of segmentation that there is not, with a ValueError."""
    if kind not in SEGMENTATIONS:
        allowed = " or ".join(map(repr, SEGMENTATIONS))
        raise ValueError(f"`segmentation` is {kind!r}; it must be {allowed}.")


def usable(instances: "Instances") -> np.ndarray:
    """[n] bool, whether an object has a box with an area, and a mask with a pixel.

    Readers of COCO files refuse others.
    """
    x1, y1, x2, y2 = instances.boxes_px.T
    has_pixels = [bool(window.rows.any()) for window in instances.packed.windows]
    return np.array((x2 > x1) & (y2 > y1), bool) & np.array(has_pixels, bool)


def coco_annotations(
    instances: "Instances",
    image_id: int,
    segmentation: str,
    first_id: int,
    tolerance_px: float,
) -> list[dict]:
    """Makes COCO annotations, see `Instances.to_coco`."""
    check_segmentation(segmentation)
    outlines.check_tolerance(tolerance_px)
    ids = instances.category_ids
    entries: list[dict] = []
    shown = instances[usable(instances)]
    for one, mask in zip(shown, shown.packed, strict=True):
        x1, y1, x2, y2 = one.boxes_px[0].tolist()
        label = int(one.labels[0])
        outline, area = _segmentation(mask, segmentation, tolerance_px)
        entry = {
            "id": first_id + len(entries),
            "image_id": image_id,
            "category_id": int(ids[label]) if ids else label + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": area,
            "segmentation": outline,
            "iscrowd": 0,
            "score": float(one.scores[0]),
        }
        if one.track_ids is not None and one.track_ids[0] >= 0:
            entry["track_id"] = int(one.track_ids[0])
        entries.append(entry)
    return entries


def _segmentation(
    mask: np.ndarray, kind: str, tolerance_px: float
) -> tuple[Any, int | float]:
    """Encodes a mask; also gives the area of that, which has no holes if polygons."""
    if kind == "rle":
        return rle.encode(mask), int(mask.sum())
    rings = outlines.rings(mask, tolerance_px)
    return [ring.ravel().tolist() for ring in rings], outlines.area(rings)


def id_map(instances: "Instances") -> np.ndarray:
    """Numbers the pixels by object, see `Instances.to_id_map`."""
    if len(instances) > np.iinfo(np.uint16).max:
        raise ValueError(f"{len(instances)} objects are too many to number in 16 bits.")
    ids = np.zeros(instances.packed.size, np.uint16)
    parts = [*enumerate(instances.packed.parts(), start=1)]
    for number, (top, left, part) in reversed(parts):  # the best on top
        ids[top : top + part.shape[0], left : left + part.shape[1]][part] = number
    return ids


def labelme_content(
    instances: "Instances", image_path: str, tolerance_px: float
) -> dict:
    """Makes the content of a labelme file, see `Instances.to_labelme`."""
    height, width = instances.packed.size
    objects = zip(instances.names, instances.polygons(tolerance_px), strict=True)
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
