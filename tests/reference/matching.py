"""Assignment of objects to anchors, by loops."""

import math

from tests.reference import boxes as ref


def overlaps(objects, anchors):
    table = [
        [ref.iou(box, ref.corners(anchor)) for anchor in anchors] for box in objects
    ]
    # A pair without any area overlaps nothing.
    return [[0.0 if math.isnan(value) else value for value in row] for row in table]


def first_argmax(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def forced_anchors(table):
    """One distinct anchor for every object: the largest overlap anywhere goes first."""
    table = [list(row) for row in table]
    claims = {}
    for _ in range(len(table)):
        favorites = [first_argmax(row) for row in table]
        best = first_argmax([row[i] for row, i in zip(table, favorites, strict=True)])
        anchor = favorites[best]
        claims[anchor] = best
        for row in table:
            row[anchor] = -1.0
        table[best] = [-1.0] * len(table[best])
    return claims


def match(
    objects, labels, crowds, anchors, positive_iou=0.5, negative_iou=0.4, crowd_iou=0.7
):
    """Returns class targets and object indices (None without objects), per anchor.

    objects and crowds are lists of corner boxes; labels go with the objects.
    """
    table = overlaps(objects, anchors)
    claims = forced_anchors(table)
    targets, indices = [], []
    for i, anchor in enumerate(anchors):
        column = [row[i] for row in table]
        index = first_argmax(column) if column else None
        overlap = column[index] if column else 0.0
        if i in claims:
            index, overlap = claims[i], 2.0
        target = labels[index] + 1 if column else 0
        if overlap < positive_iou:
            target = -1
        if overlap < negative_iou:
            target = 0
        inside = [ref.coverage(crowd, ref.corners(anchor)) for crowd in crowds]
        if target <= 0 and any(part > crowd_iou for part in inside):
            target = -1
        targets.append(target)
        indices.append(index)
    return targets, indices
