"""What the doctor reports, and the checks of the annotations themselves."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from yolact_jax.data import consistency
from yolact_jax.data.augment.rasterize import fill_rings
from yolact_jax.data.example import Annotations, Example, Segmentations
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.data.rle import counts_from_string

# Real COCO boxes overshoot by fractions of a pixel.
_OVERSHOOT_PX = 1.0
_RARE_FRACTION = 0.01
_MOST_NAMED = 20
_FINE = 64


@dataclasses.dataclass(frozen=True)
class Finding:
    """One observation.

    Attributes:
      level: "problem": training would stop or its result mislead; "warning": worth a
        look; "note": a fact.
      check: name of the check.
      text: one sentence with the ids.
    """

    level: str
    check: str
    text: str


def annotation_findings(split: str, examples: Iterable[Example]) -> Iterator[Finding]:
    """Checks outlines and boxes of every annotation of a split, and counts crowds."""
    tally = consistency.Tally()
    for example in examples:
        annotations = example.annotations
        tally.add(annotations)
        where = f"{split}: image {example.image_id} ({example.file_name}), annotation"
        for index in np.flatnonzero(~_have_area(annotations)):
            text = f"{where} {annotations.ids[index]} has an outline without any area."
            yield Finding("warning", "degenerate outline", text)
        for index in np.flatnonzero(_overshoot_px(example) > _OVERSHOOT_PX):
            box = annotations.boxes_xywh_px[index].tolist()
            text = f"{where} {annotations.ids[index]} has `bbox` {box}, which reaches"
            size = f"{example.height} x {example.width}"
            text = f"{text} out of the image of {size} (height x width)."
            yield Finding("warning", "box outside", text)
        for text in _contradictions(annotations):
            yield Finding("warning", "box contradicts outline", f"{where} {text}")
    if tally.crowds:
        level = "warning" if tally.mostly_crowds else "note"
        yield Finding(level, "crowds", f"{split}: {tally.about_crowds}")


def _contradictions(annotations: Annotations) -> Iterator[str]:
    """Describes each box that contradicts its outline."""
    is_wrong, is_corners = consistency.contradicted(annotations)
    outlines = consistency.outline_boxes_px(annotations).round(2)
    for index in np.flatnonzero(is_wrong):
        x1, y1, x2, y2 = outlines[index].tolist()
        text = f"{annotations.ids[index]} has `bbox` (x, y, width, height)"
        text = f"{text} {annotations.boxes_xywh_px[index].tolist()}, but its outline"
        text = f"{text} spans x from {x1} to {x2} and y from {y1} to {y2}"
        yield (
            f"{text}, as if two corners were given."
            if is_corners[index]
            else f"{text}."
        )


def _have_area(annotations: Annotations) -> np.ndarray:
    """Whether an image's outlines and masks have any area, [n] bool."""
    found = np.zeros(len(annotations), bool)
    segmentations: Segmentations = annotations.segmentations
    ends = np.cumsum(segmentations.ring_sizes)
    for owner, end, size in zip(
        segmentations.ring_owner, ends, segmentations.ring_sizes, strict=True
    ):
        found[owner] |= _encloses_any(segmentations.points_px[end - size : end])
    for owner, string in zip(
        segmentations.rle_owner, segmentations.rle_counts, strict=True
    ):
        found[owner] |= counts_from_string(string)[1::2].any()
    return found


def _encloses_any(ring: np.ndarray) -> bool:
    """Whether a ring [k, 2] has area inside, by the even-odd rule."""
    x, y = ring.T
    if np.dot(x, np.roll(y, 1)) != np.dot(y, np.roll(x, 1)):
        return True
    # The loops of an eight turn in opposite ways, so that their areas cancel.
    low, extent = ring.min(axis=0), np.ptp(ring, axis=0)
    if not extent.all():
        return False
    points, sizes = (ring - low) / extent * _FINE, np.array([len(ring)])
    return bool(fill_rings(points, sizes, _FINE, _FINE).any())


def _overshoot_px(example: Example) -> np.ndarray:
    """Returns [n] float64, how far each box reaches out of the image."""
    boxes = example.annotations.boxes_px
    beyond = boxes[:, 2:] - (example.width, example.height)
    return np.concatenate([-boxes[:, :2], beyond], axis=1).max(axis=1, initial=0.0)


def class_findings(split: str, source: RecordSource) -> Iterator[Finding]:
    """Counts the objects of every class of a split."""
    num_classes = len(source.class_names)
    counts = np.zeros(num_classes, np.int64)
    for example in source:
        labels = example.annotations.labels[~example.annotations.crowd]
        counts += np.bincount(labels, minlength=num_classes)
    named = dict(zip(source.class_names, counts.tolist(), strict=True))
    listed = ", ".join(f"{name} {count}" for name, count in named.items())
    yield Finding("note", "classes", f"{split}: objects of each class: {listed}.")
    for name, count in named.items():
        if count < _RARE_FRACTION * counts.max():
            text = f"{split}: class {name!r} has {count} objects, while the most common"
            text = f"{text} one has {counts.max()}."
            yield Finding("warning", "class imbalance", text)


def negative_findings(split: str, source: RecordSource) -> Iterator[Finding]:
    """Counts and lists images that have no object to train on."""
    empty = np.flatnonzero(source.num_objects == 0)
    if len(empty):
        named = ", ".join(source[int(i)].file_name for i in empty[:_MOST_NAMED])
        more = (
            f" and {len(empty) - _MOST_NAMED} more" if len(empty) > _MOST_NAMED else ""
        )
        text = f"{split}: {len(empty)} of {len(source)} images have no object to train"
        text = f"{text} on, which data.negatives drops or keeps: {named}{more}."
        yield Finding("note", "images without objects", text)


def id_findings(split: str, source: RecordSource) -> Iterator[Finding]:
    """Reports gaps in the ids of a split."""
    ids = {
        "image": [example.image_id for example in source],
        "annotation": [i for example in source for i in example.annotations.ids],
        "category": list(source.category_ids),
    }
    for kind, values in ids.items():
        if not values:
            continue
        missing = max(values) - min(values) + 1 - len(values)
        if missing:
            text = f"{split}: {kind} ids from {min(values)} to {max(values)} leave out"
            yield Finding("note", "id gaps", f"{text} {missing} numbers.")


def duplicate_findings(sources: Mapping[str, RecordSource]) -> Iterator[Finding]:
    """Finds image files of equal content in the splits: name -> examples."""
    copies = collections.defaultdict(list)
    for split, source in sources.items():
        for example in source:
            digest = hashlib.sha256(example.image_bytes).digest()
            copies[digest].append((split, example.image_id, example.file_name))
    for images in copies.values():
        if len(images) > 1:
            across = len({split for split, _, _ in images}) > 1
            level = "problem" if across else "warning"
            listed = ", ".join(f"{split} {i} ({name})" for split, i, name in images)
            text = f"The same image is in the data {len(images)} times: {listed}."
            yield Finding(level, "duplicate image", text)
