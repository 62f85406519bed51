"""The record of one image: lossless, and cheap to read without the pixels."""

import io
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from yolact_jax.data import rle
from yolact_jax.data.example import Annotations, Example, Segmentations
from yolact_jax.data.pixels import RGB, Pixels

# Stored as raw bytes: a float64 of a plain feature would be rounded to float32.
_ARRAYS = {
    "annotation_id": (np.int64, ()),
    "label": (np.int32, ()),
    "bbox_xywh_px": (np.float64, (4,)),
    "area_px": (np.float64, ()),
    "is_crowd": (np.uint8, ()),
    "points_px": (np.float64, (2,)),
    "ring_sizes": (np.int64, ()),
    "ring_owner": (np.int64, ()),
    "rle_owner": (np.int64, ()),
    "rle_was_compressed": (np.uint8, ()),
}


def features() -> tfds.features.FeaturesDict:
    """Describes the record to TFDS."""
    raw = tfds.features.Encoding.BYTES
    arrays = {
        name: tfds.features.Tensor(shape=(None, *shape), dtype=dtype, encoding=raw)
        for name, (dtype, shape) in _ARRAYS.items()
    }
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": tfds.features.Scalar(np.int64),
            "file_name": tfds.features.Text(),
            "height": tfds.features.Scalar(np.int64),
            "width": tfds.features.Scalar(np.int64),
            "orientation": tfds.features.Scalar(np.int64),
            "orientation_told": tfds.features.Scalar(np.int64),
            # Strings of all run-length masks, one a line.
            "rle_counts": tfds.features.Text(),
            **arrays,
        }
    )


def encode_record(
    image_entry: dict[str, Any],
    annotations: list[dict[str, Any]],
    image_bytes: bytes,
    labels: dict[int, int],
    *,
    orientation: int = 1,
    orientation_told: bool = True,
) -> dict[str, Any]:
    """Makes the values for `features()` from entries of a COCO-format json file.

    Args:
      image_entry: with `id`, `file_name`, `height` and `width`.
      annotations: of the image, validated.
      image_bytes: the image file.
      labels: category id -> label.
      orientation: how to turn the pixels of the file, EXIF's 1..8.
      orientation_told: whether the dataset states the orientation; else it is a guess.
    """
    size = (image_entry["height"], image_entry["width"])
    values = {
        "annotation_id": [entry["id"] for entry in annotations],
        "label": [labels[entry["category_id"]] for entry in annotations],
        "bbox_xywh_px": [entry["bbox"] for entry in annotations],
        "area_px": [entry["area"] for entry in annotations],
        "is_crowd": [entry.get("iscrowd", 0) for entry in annotations],
        **_polygon_values(annotations),
        **_rle_values(annotations),
    }
    arrays = {
        name: np.array(values[name], dtype).reshape(-1, *shape)
        for name, (dtype, shape) in _ARRAYS.items()
    }
    return {
        "image": io.BytesIO(image_bytes),
        "image_id": image_entry["id"],
        "file_name": image_entry["file_name"],
        "height": size[0],
        "width": size[1],
        "orientation": orientation,
        "orientation_told": int(orientation_told),
        "rle_counts": _rle_lines(annotations, size),
        **arrays,
    }


def _polygon_values(annotations: list[dict[str, Any]]) -> dict[str, list]:
    """Lines up the rings of all polygon annotations."""
    rings = [
        (owner, ring)
        for owner, entry in enumerate(annotations)
        if isinstance(entry["segmentation"], list)
        for ring in entry["segmentation"]
    ]
    return {
        "points_px": [value for _, ring in rings for value in ring],
        "ring_sizes": [len(ring) // 2 for _, ring in rings],
        "ring_owner": [owner for owner, _ in rings],
    }


def _rle_values(annotations: list[dict[str, Any]]) -> dict[str, list]:
    """Lists the run-length annotations."""
    masks = [
        (owner, entry["segmentation"]["counts"])
        for owner, entry in enumerate(annotations)
        if isinstance(entry["segmentation"], dict)
    ]
    return {
        "rle_owner": [owner for owner, _ in masks],
        "rle_was_compressed": [isinstance(counts, str) for _, counts in masks],
    }


def _rle_lines(annotations: list[dict[str, Any]], size: tuple[int, int]) -> str:
    """Joins the strings of the run-length annotations."""
    counts = [
        entry["segmentation"]["counts"]
        for entry in annotations
        if isinstance(entry["segmentation"], dict)
    ]
    return "\n".join(
        item if isinstance(item, str) else rle.string_from_counts(item, size).decode()
        for item in counts
    )


def decode_record(record: bytes, pixels: Pixels = RGB) -> Example:
    """Reads one serialized record; the image stays encoded, to be read as `pixels`."""
    # Much faster than TFDS's own generic decoding, of the same bytes.  The module
    # makes its classes when it is imported.
    message = tf_example_pb2.Example()  # pyright: ignore[reportAttributeAccessIssue]
    message.ParseFromString(record)
    fields = message.features.feature
    values: dict[str, Any] = {
        name: np.frombuffer(_bytes(fields, name), dtype).reshape(-1, *shape)
        for name, (dtype, shape) in _ARRAYS.items()
    }
    values |= {name: _int(fields, name) for name in ("height", "width")}
    values["rle_counts"] = _bytes(fields, "rle_counts").decode()
    return Example(
        image_id=_int(fields, "image_id"),
        file_name=_bytes(fields, "file_name").decode(),
        height=values["height"],
        width=values["width"],
        orientation=_int(fields, "orientation"),
        orientation_told=bool(_int(fields, "orientation_told")),
        image_bytes=_bytes(fields, "image"),
        annotations=annotations_of(values),
        pixels=pixels,
    )


def annotations_of(record: dict[str, Any]) -> Annotations:
    """Collects the annotations in the values of a record, as from `encode_record`."""
    segmentations = Segmentations(
        size=(record["height"], record["width"]),
        points_px=record["points_px"],
        ring_sizes=record["ring_sizes"],
        ring_owner=record["ring_owner"],
        rle_owner=record["rle_owner"],
        rle_counts=tuple(record["rle_counts"].encode().split()),
        rle_was_compressed=record["rle_was_compressed"].astype(bool),
    )
    return Annotations(
        ids=record["annotation_id"],
        labels=record["label"],
        boxes_xywh_px=record["bbox_xywh_px"],
        areas_px=record["area_px"],
        crowd=record["is_crowd"].astype(bool),
        segmentations=segmentations,
    )


def _bytes(fields: Any, name: str) -> bytes:
    return fields[name].bytes_list.value[0]


def _int(fields: Any, name: str) -> int:
    return fields[name].int64_list.value[0]
