"""Non-maximum suppression by loops over boxes sorted by decreasing score."""

from tests.reference import boxes as ref


def is_over(a, b, iou_threshold):
    """Whether box ``a`` overlaps box ``b`` too much; an undefined overlap counts."""
    return not ref.iou(a, b) <= iou_threshold


def fast(boxes, iou_threshold):
    """Dropped if any better box, dropped or not, is over it."""
    return [
        any(is_over(boxes[i], box, iou_threshold) for i in range(j))
        for j, box in enumerate(boxes)
    ]


def greedy(boxes, iou_threshold):
    """Dropped if any better box that was kept is over it."""
    kept = []
    dropped = []
    for box in boxes:
        hit = any(is_over(other, box, iou_threshold) for other in kept)
        dropped.append(hit)
        if not hit:
            kept.append(box)
    return dropped


def matrix_decay(boxes, decay):
    """Matrix NMS factors for a decay function of the overlap."""

    def overlap(i, j):
        value = ref.iou(boxes[i], boxes[j])
        return 1.0 if value != value else value

    factors = []
    for j in range(len(boxes)):
        factor = 1.0
        for i in range(j):
            worst = max((overlap(k, i) for k in range(i)), default=0.0)
            factor = min(factor, decay(overlap(i, j)) / max(decay(worst), 1e-6))
        factors.append(factor)
    return factors
