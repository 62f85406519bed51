"""Box arithmetic one box at a time, in Python floats."""

import math


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def ratio(numerator, denominator):
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf
    return numerator / denominator


def iou(a, b):
    both = intersection(a, b)
    return ratio(both, area(a) + area(b) - both)


def coverage(a, b):
    """The part of b that lies inside a."""
    return ratio(intersection(a, b), area(b))


def corners(cxcywh):
    cx, cy, width, height = cxcywh
    return (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)


def center_form(box):
    x1, y1, x2, y2 = box
    return ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def encode(box, anchor):
    """Offsets with variances 0.1 for the centre and 0.2 for the size."""
    cx, cy, width, height = center_form(box)
    ax, ay, anchor_width, anchor_height = anchor
    return (
        (cx - ax) / (0.1 * anchor_width),
        (cy - ay) / (0.1 * anchor_height),
        math.log(width / anchor_width) / 0.2,
        math.log(height / anchor_height) / 0.2,
    )


def decode(delta, anchor):
    ax, ay, anchor_width, anchor_height = anchor
    return corners(
        (
            ax + delta[0] * 0.1 * anchor_width,
            ay + delta[1] * 0.1 * anchor_height,
            anchor_width * math.exp(0.2 * delta[2]),
            anchor_height * math.exp(0.2 * delta[3]),
        )
    )


def to_pixels(box, height, width):
    """Ordered corners; low ends at least 0, high ends at most the size; truncated."""
    x1, x2 = sorted((box[0] * width, box[2] * width))
    y1, y2 = sorted((box[1] * height, box[3] * height))
    return (
        int(max(x1, 0)),
        int(max(y1, 0)),
        int(min(x2, width)),
        int(min(y2, height)),
    )
