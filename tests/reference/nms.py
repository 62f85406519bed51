"""Non-maximum suppression by loops over sorted lists, one oracle for each variant.

All arithmetic is in the type of the boxes given, so that with float32 exact
thresholds and ties agree.
"""

import math

import numpy as np


def overlap(a, b):
    """IoU, nan of two boxes without area."""
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        both = np.prod(np.maximum(high - low, np.float32(0)))
        areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
        return both / (areas[0] + areas[1] - both)


def fast(boxes, scores, threshold):
    """Dropped (None) if any better box, dropped or not, is over it."""
    return [
        None if any(not overlap(a, box) <= threshold for a in boxes[:j]) else score
        for j, (box, score) in enumerate(zip(boxes, scores, strict=True))
    ]


def greedy(boxes, scores, threshold, measure=overlap):
    """Dropped (None) if any better box that was kept is over it."""
    kept, result = [], []
    for box, score in zip(boxes, scores, strict=True):
        hit = any(not measure(other, box) <= threshold for other in kept)
        result.append(None if hit else score)
        kept += [] if hit else [box]
    return result


def defined_overlap(a, b):
    value = float(overlap(a, b))
    return 1.0 if math.isnan(value) else value


def matrix(boxes, scores, decay):
    """Matrix NMS: the least of f(overlap) / f(what the other overlaps at most)."""
    result = []
    for j, score in enumerate(scores):
        factor = 1.0
        for i in range(j):
            worst = max(
                (defined_overlap(boxes[k], boxes[i]) for k in range(i)), default=0.0
            )
            ratio = decay(defined_overlap(boxes[i], boxes[j])) / max(decay(worst), 1e-6)
            factor = min(factor, ratio)
        result.append(float(score) * min(max(factor, 0.0), 1.0))
    return result


def soft(boxes, scores, factor):
    """Soft-NMS: pick the best left, lower the others by a factor of the overlap."""
    scores = [float(score) for score in scores]
    left = list(range(len(scores)))
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        left.remove(best)
        for i in left:
            scores[i] *= factor(defined_overlap(boxes[best], boxes[i]))
    return scores


def distance(a, b):
    """Squared distance of the centers, as a share of the squared diagonal of both."""
    apart = [(a[k] + a[k + 2] - b[k] - b[k + 2]) / 2 for k in (0, 1)]
    around = [max(a[k + 2], b[k + 2]) - min(a[k], b[k]) for k in (0, 1)]
    diagonal = sum(side**2 for side in around)
    return sum(x**2 for x in apart) / diagonal if diagonal else 0


def diou(a, b):
    return overlap(a, b) - distance(a, b)


def greedy_diou(boxes, scores, threshold):
    """`greedy` with DIoU."""
    return greedy(boxes, scores, threshold, measure=diou)


def penalty(boxes, scores, threshold):
    """Scores lowered by better boxes that greedy NMS keeps, less by those apart."""
    kept = [score is not None for score in greedy(boxes, scores, threshold)]
    result = []
    for j, score in enumerate(scores):
        score = float(score)
        for i in range(j):
            iou = float(overlap(boxes[i], boxes[j]))
            iou = 1.0 if math.isnan(iou) else iou
            spared = float(distance(boxes[i], boxes[j])) ** 0.6
            spared = 0.0 if math.isnan(spared) else spared
            if kept[i]:
                score *= min(math.exp(-(iou**2) / 0.2) + spared, 1)
        result.append(score)
    return result


RESCORE = {
    "fast": fast,
    "cluster": greedy,
    "cluster_diou": greedy_diou,
    "cluster_penalty": penalty,
    "greedy_matrix": greedy,
    "greedy_loop": greedy,
    "matrix": lambda b, s, _: matrix(b, s, lambda x: math.exp(-2 * x**2)),
    "matrix_linear": lambda b, s, _: matrix(b, s, lambda x: 1 - x),
    "soft": lambda b, s, _: soft(b, s, lambda x: math.exp(-(x**2) / 0.5)),
    "soft_linear": lambda b, s, t: soft(b, s, lambda x: 1 - x if x >= t else 1.0),
}
"""Each rule: sorted boxes and scores, threshold -> new scores, None if dropped."""


def entries(scores, score_threshold, *, agnostic=False):
    """{label: anchors that take part, best first}, and their scores."""
    present = np.where(np.isnan(scores), -1, scores)
    if agnostic:
        best = present.argmax(axis=1)
        only_best = np.arange(present.shape[1]) == best[:, None]
        present = np.where(only_best, present, -1)
    candidates = [a for a, row in enumerate(present) if max(row) > score_threshold]
    lists = {}
    for label in range(present.shape[1]):
        mine = [a for a in candidates if present[a, label] >= 0]
        lists[label] = sorted(mine, key=lambda a: -present[a, label])
    return lists, present


def nms(name, boxes, scores, *, score_threshold, iou_threshold, top_k, agnostic=False):
    """{(label, anchor): new score} of everything that a rule keeps, and all ranks."""
    lists, present = entries(scores, score_threshold, agnostic=agnostic)
    if agnostic:
        pairs = [(present[a, c], c, a) for c, anchors in lists.items() for a in anchors]
        lists = {None: sorted(pairs, key=lambda p: (-p[0], p[2]))}
    else:
        lists = {
            c: [(present[a, c], c, a) for a in anchors] for c, anchors in lists.items()
        }
    kept = {}
    for entered in lists.values():
        entered = entered[:top_k]
        new = RESCORE[name](
            [boxes[a] for _, _, a in entered],
            [s for s, _, _ in entered],
            iou_threshold,
        )
        kept |= {
            (c, a): float(s)
            for s, (_, c, a) in zip(new, entered, strict=True)
            if s is not None
        }
    return kept


def best_first(kept, max_detections):
    """[(score, label, anchor)] of the best, equal scores by label and anchor."""
    ranked = sorted((-score, label, anchor) for (label, anchor), score in kept.items())
    return [(-score, label, anchor) for score, label, anchor in ranked[:max_detections]]


def pixel_overlap(a, b):
    """IoU of boxes in whole pixels, both ends included."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    both = max(width, 0) * max(height, 0)
    areas = [(x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2 in (a, b)]
    return both / (sum(areas) - both)


def sequential(boxes_px, scores, *, score_threshold, iou_threshold, agnostic=False):
    """{(label, anchor): score} that the original's sequential NMS keeps."""
    lists, present = entries(scores, score_threshold, agnostic=agnostic)
    pairs = [(present[a, c], c, a) for c, anchors in lists.items() for a in anchors]
    kept = []
    # Equal scores go by class and then by anchor; across classes by anchor only.
    pairs.sort(key=lambda p: (-p[0], 0 if agnostic else p[1], p[2]))
    for score, label, anchor in pairs:
        rivals = [a for _, c, a in kept if agnostic or c == label]
        if score > score_threshold and all(
            pixel_overlap(boxes_px[anchor], boxes_px[a]) < iou_threshold for a in rivals
        ):
            kept.append((score, label, anchor))
    return {(label, anchor): float(score) for score, label, anchor in kept}


def fast_nms(boxes, scores, *, max_detections, **options):
    """[(score, label, anchor)] that Fast NMS returns, best first."""
    return best_first(nms("fast", boxes, scores, **options), max_detections)
