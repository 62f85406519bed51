"""Plain-loop average precision after the COCO protocol, as an oracle.

Written from the description of the protocol at https://cocodataset.org/#detection-eval;
uses neither pycocotools nor the package.
"""

import numpy as np

THRESHOLDS = [0.5 + 0.05 * i for i in range(10)]
AREAS = {
    "": (0, 1e10),
    "s": (0, 32**2),
    "m": (32**2, 96**2),
    "l": (96**2, 1e10),
}


def box_overlap(detection, truth, crowd):
    """IoU of two (x, y, w, h); for a crowd, the part of the detection inside it."""
    dx, dy, dw, dh = detection
    tx, ty, tw, th = truth
    width = min(dx + dw, tx + tw) - max(dx, tx)
    height = min(dy + dh, ty + th) - max(dy, ty)
    both = max(width, 0) * max(height, 0)
    return both / (dw * dh if crowd else dw * dh + tw * th - both)


def mask_overlap(detection, truth, crowd):
    """IoU of two bool arrays; for a crowd, the part of the detection inside it."""
    both = (detection & truth).sum()
    return both / (detection.sum() if crowd else (detection | truth).sum())


def match_image(detections, truths, overlap, threshold, area_range, max_detections):
    """Returns [(score, outcome)] and the number of countable ground truths.

    detections: [(score, shape, area)]; truths: [(shape, area, crowd)]; an outcome is
    "hit", "miss" or "ignored".
    """
    low, high = area_range
    ignored = [crowd or not low <= area <= high for _, area, crowd in truths]
    order = sorted(range(len(truths)), key=lambda i: ignored[i])
    best_first = sorted(detections, key=lambda d: -d[0])[:max_detections]
    taken, outcomes = set(), []
    for score, shape, area in best_first:
        best, best_overlap = None, threshold
        for i in order:
            if i in taken and not truths[i][2]:
                continue
            if best is not None and not ignored[best] and ignored[i]:
                break  # a real object is preferred to any ignored one
            value = overlap(shape, truths[i][0], truths[i][2])
            if value >= best_overlap:
                best, best_overlap = i, value
        if best is None:
            outcomes.append((score, "miss" if low <= area <= high else "ignored"))
        else:
            taken.add(best)
            outcomes.append((score, "ignored" if ignored[best] else "hit"))
    return outcomes, ignored.count(False)


def interpolated_ap(outcomes, num_truths):
    """Mean over recalls 0, 0.01 ... 1 of the best precision at that recall or more."""
    hits = misses = 0
    curve = []
    for _, outcome in sorted(outcomes, key=lambda o: -o[0]):
        hits += outcome == "hit"
        misses += outcome == "miss"
        if outcome != "ignored":
            curve.append((hits / num_truths, hits / (hits + misses)))
    total = 0.0
    for step in np.linspace(0, 1, 101):
        total += max((p for r, p in curve if r >= step), default=0.0)
    return total / 101


def average_precision(
    images, overlap, *, thresholds=THRESHOLDS, area="", max_detections=100
):
    """AP of one class over images [(detections, truths)]; None without any truth."""
    values = []
    for threshold in thresholds:
        outcomes, total = [], 0
        for detections, truths in images:
            more, count = match_image(
                detections, truths, overlap, threshold, AREAS[area], max_detections
            )
            outcomes += more
            total += count
        if not total:
            return None
        values.append(interpolated_ap(outcomes, total))
    return float(np.mean(values))
