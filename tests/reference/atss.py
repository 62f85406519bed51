"""Adaptive assignment by loops, with masks counted on a fine grid of points."""

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


def match(boxes, labels, anchors, level_counts, count, masks=None):
    """Class targets, and object indices (None for background), per anchor."""
    best = [(0.0, None)] * len(anchors)
    for i, box in enumerate(boxes):
        chosen = candidates(box, anchors, level_counts, count)
        mask = None if masks is None else masks[i]
        values = [overlap(box, ref.corners(anchors[j]), mask) for j in chosen]
        threshold = statistics.mean(values) + statistics.stdev(values)
        for j, value in zip(chosen, values, strict=True):
            cx, cy = anchors[j][:2]
            inside = box[0] < cx < box[2] and box[1] < cy < box[3]
            if inside and value >= threshold and value > best[j][0]:
                best[j] = (value, i)
    targets = [0 if i is None else labels[i] + 1 for _, i in best]
    return targets, [i for _, i in best]
