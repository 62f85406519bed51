"""Which objects of a dataset reach the network at a given input size."""

import collections
from collections.abc import Iterable, Iterator

import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.augment import sample, view, views
from yolact_jax.data.example import Example
from yolact_jax.tools import anchor_fit
from yolact_jax.tools.doctor.findings import Finding

_LISTED = 10
_MANY_FRACTION = 0.05


def network_findings(
    split: str, examples: Iterable[Example], config: Config
) -> Iterator[Finding]:
    """Counts objects of a split that do not reach the network, without augmentation."""
    lost: dict[str, list[str]] = collections.defaultdict(list)
    num_objects, most = 0, (-1, 0)
    for example in examples:
        num_objects += int((~example.annotations.crowd).sum())
        most = max(most, (len(example.annotations), example.image_id))
        for kind, ids in _lost_ids(example, config).items():
            lost[kind] += [f"{i} of image {example.image_id}" for i in ids]
        yield from _too_many(split, example, config.data.max_objects)
    yield Finding(
        "note",
        "objects per image",
        f"{split}: {num_objects} objects; image {most[1]} has most annotations,"
        f" {most[0]}, with {config.data.max_objects} slots.",
    )
    for kind, ids in lost.items():
        if ids:
            level = "warning" if len(ids) > _MANY_FRACTION * num_objects else "note"
            yield Finding(level, kind, _lost_text(split, kind, ids, config))


def _lost_ids(example: Example, config: Config) -> dict[str, np.ndarray]:
    """Finds the annotations of an image that get lost: kind of loss -> ids."""
    annotations, frame = example.annotations, config.data.frame
    whole = view.whole(example.height, example.width, frame)
    boxes, crowd = whole.boxes(annotations.boxes_px), annotations.crowd
    has_area = views.large_enough(boxes, crowd, frame.size)
    least = config.augment.min_object_px
    large = has_area & views.large_enough(boxes, crowd, frame.size, least)
    centered = whole.contains(annotations.centers_px)
    kept = np.flatnonzero(~crowd & large & centered)
    masks = sample.ground_truth(
        example,
        whole,
        kept,
        input_size=frame.size,
        mask_size=build.prototype_size(config),
        mask_target=config.data.mask_target,
    )["masks"]
    boxes_px = boxes[kept] * np.tile(frame.size[::-1], 2)
    return {
        "dropped": annotations.ids[~crowd & ~has_area],
        "too small": annotations.ids[~crowd & has_area & ~large],
        "off center": annotations.ids[~crowd & large & ~centered],
        "invisible": annotations.ids[kept[~masks.any(axis=(1, 2))]],
        "unmatched": annotations.ids[kept[~_can_match(boxes_px, config)]],
    }


def _can_match(boxes: np.ndarray, config: Config) -> np.ndarray:
    """Whether [n, 4] boxes in pixels of the network input can have an anchor, [n]."""
    if config.loss.assignment == "atss":
        return anchor_fit.hold_center(boxes, config.data.frame)
    shapes = anchor_fit.anchor_shapes(config.anchors)[0]
    overlaps = anchor_fit.overlaps(anchor_fit.extents_of(boxes), shapes)
    return overlaps.max(axis=1) >= config.loss.positive_iou


def _too_many(split: str, example: Example, max_objects: int) -> Iterator[Finding]:
    """Reports an image that has more annotations than slots."""
    whole = view.whole(example.height, example.width)
    everything = np.arange(len(example.annotations))
    slots = sample.select(example.annotations, whole, everything, max_objects)
    left_out = len(everything) - len(slots)
    if left_out:
        text = f"{split}: image {example.image_id} ({example.file_name}) has"
        text = f"{text} {len(everything)} annotations, of which {left_out} find none"
        yield Finding("warning", "too many objects", f"{text} of {max_objects} slots.")


def _lost_text(split: str, kind: str, ids: list[str], config: Config) -> str:
    """Describes annotations that are lost."""
    size, masks = config.data.frame.size, build.prototype_size(config)
    area = config.augment.min_object_px
    reached = "and are not trained on"
    if config.augment.expand or config.augment.large_scale_jitter:
        reached = "and are only trained on in views that reach there"
    least, is_atss = config.loss.positive_iou, config.loss.assignment == "atss"
    unmatched = f"overlap less than {least} with any anchor, wherever it may be,"
    if is_atss:
        unmatched = "hold no center of an anchor, without which ATSS leaves them out,"
    reason = {
        "dropped": "have no box with area in the image and are not trained on",
        "too small": f"have less than the {area:g} square pixels of config.augment."
        "min_object_px",
        "off center": f"have the center of their box outside of the image, {reached}",
        "invisible": f"cover nothing of the {masks[0]} x {masks[1]} mask",
        "unmatched": f"{unmatched} at {size[0]} x {size[1]} pixels",
    }[kind]
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    listed = ", ".join(ids[:_LISTED])
    return f"{split}: {len(ids)} objects {reason}: annotations {listed}{more}."
