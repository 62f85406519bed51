"""Fast NMS by loops over sorted lists."""

from tests.reference import boxes as ref


def fast_nms(boxes, scores, *, score_threshold, iou_threshold, top_k, max_detections):
    """Returns [(score, label, anchor)], best first.

    boxes: corner boxes; scores[anchor][label], without background.
    """
    candidates = [i for i, row in enumerate(scores) if max(row) > score_threshold]
    kept = []
    for label in range(len(scores[0])):
        ranked = sorted(candidates, key=lambda i: -scores[i][label])[:top_k]
        for position, anchor in enumerate(ranked):
            # Not only those that were kept: also suppressed boxes suppress.
            better = ranked[:position]
            if all(ref.iou(boxes[i], boxes[anchor]) <= iou_threshold for i in better):
                kept.append((scores[anchor][label], label, anchor, position))
    kept.sort(key=lambda entry: (-entry[0], entry[1], entry[3]))
    return [entry[:3] for entry in kept[:max_detections]]
