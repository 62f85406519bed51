"""What of a dataset reaches the network at a given input size."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from ml_collections import ConfigDict

from yolact_jax.data.augment import sample, targets, view, views
from yolact_jax.data.example import Example
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.tools.doctor.findings import Finding

_LISTED = 10
_MANY_FRACTION = 0.05


@dataclasses.dataclass(frozen=True)
class NetworkSizes:
    """What the network sees.

    Attributes:
      input_size: height and width of the input, pixels.
      max_objects: slots for annotations.
      scales_px: anchor sides, one tuple per level P3 to P7.
      aspect_ratios: width over height of the anchors.
      square: whether anchors are square whatever their ratio.
      least_iou: overlap that an anchor needs to be positive.
    """

    input_size: int = 550
    max_objects: int = 100
    scales_px: tuple = ((24.0,), (48.0,), (96.0,), (192.0,), (384.0,))
    aspect_ratios: tuple = (1.0, 0.5, 2.0)
    square: bool = True
    least_iou: float = 0.5

    @property
    def mask_size(self) -> int:
        """Height and width of the prototype masks, pixels."""
        return 2 * anchor_ops.level_sizes(self.input_size)[0]

    @property
    def anchor_shapes(self) -> np.ndarray:
        """[s, 2] float64, width and height of the different anchors, of the input."""
        ones = (1,) * len(self.scales_px)
        anchors = anchor_ops.make_anchors(
            ones, self.scales_px, self.aspect_ratios, self.input_size, self.square
        )
        return np.unique(anchors[:, 2:].astype(np.float64), axis=0)


def make_network_sizes(config: ConfigDict) -> NetworkSizes:
    """What the doctor needs to know of the network of a config."""
    return NetworkSizes(
        input_size=config.data.input_size,
        max_objects=config.data.max_objects,
        scales_px=config.anchors.scales_px,
        aspect_ratios=config.anchors.aspect_ratios,
        square=config.anchors.square,
        least_iou=config.loss.positive_iou,
    )


def best_overlaps(extents: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The overlap that each box would have with an anchor at the best place.

    Args:
      extents: [n, 2] float64, width and height of the boxes.
      shapes: [s, 2] float64, width and height of the anchors, in the same unit.

    Returns:
      [n] float64, the largest IoU over the anchors.
    """
    shared = np.minimum(extents[:, None], shapes[None]).prod(axis=2)
    areas = extents.prod(axis=1)[:, None] + shapes.prod(axis=1)[None]
    return (shared / (areas - shared)).max(axis=1)


def network_findings(
    split: str, examples: Iterable[Example], sizes: NetworkSizes
) -> Iterator[Finding]:
    """Counts the objects that get lost on the way to the network, unaugmented.

    Args:
      split: name of the split.
      examples: of the split.
      sizes: of the network.
    """
    lost: dict[str, list[str]] = {"dropped": [], "invisible": [], "unmatched": []}
    num_objects, most = 0, (0, None)
    for example in examples:
        num_objects += int((~example.annotations.crowd).sum())
        most = max(most, (len(example.annotations), example.image_id))
        for kind, ids in _lost_ids(example, sizes).items():
            lost[kind] += [f"{i} of image {example.image_id}" for i in ids]
        yield from _too_many(split, example, sizes.max_objects)
    yield Finding(
        "note",
        "objects per image",
        f"{split}: {num_objects} objects; image {most[1]} has most annotations,"
        f" {most[0]}, with {sizes.max_objects} slots.",
    )
    for kind, ids in lost.items():
        if ids:
            level = "warning" if len(ids) > _MANY_FRACTION * num_objects else "note"
            yield Finding(level, kind, _lost_text(split, kind, ids, sizes))


def _lost_ids(example: Example, sizes: NetworkSizes) -> dict[str, np.ndarray]:
    """Kind of loss -> ids of the annotations of an image."""
    annotations = example.annotations
    whole = view.whole(example.height, example.width)
    kept = views.keep(annotations, whole, sizes.input_size)
    kept = kept[~annotations.crowd[kept]]
    dropped = np.setdiff1d(np.flatnonzero(~annotations.crowd), kept)
    sides = (sizes.input_size, (sizes.mask_size,))
    (masks,) = targets.original_masks(annotations.segmentations, kept, whole, *sides)
    boxes = whole.boxes(annotations.boxes_px[kept])
    overlaps = best_overlaps(boxes[:, 2:] - boxes[:, :2], sizes.anchor_shapes)
    return {
        "dropped": annotations.ids[dropped],
        "invisible": annotations.ids[kept[~masks.any(axis=(1, 2))]],
        "unmatched": annotations.ids[kept[overlaps < sizes.least_iou]],
    }


def _too_many(split: str, example: Example, max_objects: int) -> Iterator[Finding]:
    """Tells when an image has more annotations than slots."""
    whole = view.whole(example.height, example.width)
    everything = np.arange(len(example.annotations))
    slots = sample.select(example.annotations, whole, everything, max_objects)
    left_out = len(everything) - len(slots)
    if left_out:
        text = f"{split}: image {example.image_id} ({example.file_name}) has"
        text = f"{text} {len(everything)} annotations, of which {left_out} find none"
        yield Finding("warning", "too many objects", f"{text} of {max_objects} slots.")


def _lost_text(split: str, kind: str, ids: list[str], sizes: NetworkSizes) -> str:
    """Describes annotations that are lost."""
    side = sizes.mask_size
    reason = {
        "dropped": "have no box with area in the image and are not trained on",
        "invisible": f"cover no pixel of the {side} x {side} mask",
        "unmatched": f"overlap less than {sizes.least_iou} with any anchor, wherever"
        f" it may be, at {sizes.input_size} pixels",
    }[kind]
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    listed = ", ".join(ids[:_LISTED])
    return f"{split}: {len(ids)} objects {reason}: annotations {listed}{more}."
