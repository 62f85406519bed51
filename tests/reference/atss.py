"""Adaptive assignment by loops, with masks counted on a fine grid of points."""

import math
import statistics

from tests.reference import boxes as ref


def distance(box, anchor):
    cx, cy, _, _ = ref.center_form(box)
    return (cx - anchor[0]) ** 2 + (cy - anchor[1]) ** 2


def candidates(box, anchors, level_counts, count):
    chosen, start = [], 0
    for size in level_counts:
        level = range(start, start + size)
        ordered = sorted(level, key=lambda i: (distance(box, anchors[i]), i))
        chosen += ordered[:count]
        start += size
    return chosen


def pixel_share(mask, anchor):
    """The part of the set pixels, as little squares, that lies inside an anchor."""
    height, width = len(mask), len(mask[0])
    inside = total = 0.0
    for y, row in enumerate(mask):
        for x, value in enumerate(row):
            if value:
                pixel = (x / width, y / height, (x + 1) / width, (y + 1) / height)
                inside += ref.intersection(pixel, anchor) * height * width
                total += 1
    return inside / total if total else None


def overlap(box, anchor, mask=None):
    share = None if mask is None else pixel_share(mask, anchor)
    if share is None:
        return ref.iou(box, anchor)
    union = ref.area(box) + ref.area(anchor) - ref.intersection(box, anchor)
    return min(ref.area(box) * share / union, 1.0)


def closeness(box, anchor):
    """IoU at a common center, less by the distance of the centers."""
    cx, cy, _, _ = ref.center_form(box)
    moved = ref.corners((cx, cy, anchor[2], anchor[3]))
    x1, y1, x2, y2 = ref.corners(anchor)
    low = min(box[0], x1), min(box[1], y1)
    high = max(box[2], x2), max(box[3], y2)
    share = math.dist((cx, cy), anchor[:2]) / math.dist(low, high)
    return ref.iou(box, moved) * (1 - share**2)


def match(
    boxes, labels, anchors, level_counts, count, masks=None, *, every_object=False
):
    """Class targets, and object indices (None for background), per anchor."""
    best = [(0.0, None)] * len(anchors)
    pairs = []
    for i, box in enumerate(boxes):
        chosen = candidates(box, anchors, level_counts, count)
        mask = None if masks is None else masks[i]
        values = [overlap(box, ref.corners(anchors[j]), mask) for j in chosen]
        pairs += [(-closeness(box, anchors[j]), i, j) for j in chosen]
        threshold = statistics.mean(values) + statistics.stdev(values)
        for j, value in zip(chosen, values, strict=True):
            cx, cy = anchors[j][:2]
            inside = box[0] < cx < box[2] and box[1] < cy < box[3]
            if inside and value >= threshold and value > best[j][0]:
                best[j] = (value, i)
    if every_object:
        served = {i for _, i in best}
        for _, i, j in sorted(pairs):
            if i not in served and best[j][1] is None:
                best[j] = (0.0, i)
                served.add(i)
    targets = [0 if i is None else labels[i] + 1 for _, i in best]
    return targets, [i for _, i in best]
