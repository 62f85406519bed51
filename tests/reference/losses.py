"""The losses of one image by loops over anchors, pixels and classes."""

import math

import numpy as np

from tests.reference import boxes as ref_boxes
from tests.reference import masks as ref_masks


def smooth_l1(difference):
    size = abs(float(difference))
    return 0.5 * size * size if size < 1 else size - 0.5


def box_loss(deltas, targets, positive):
    return sum(
        smooth_l1(float(d) - float(t))
        for delta, target, is_positive in zip(deltas, targets, positive, strict=True)
        if is_positive
        for d, t in zip(delta, target, strict=True)
    )


def log_sum_exp(values):
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def hard_negatives(logits, class_target, ratio=3):
    """Background anchors among the highest ranks; others hold ranks of value 0."""
    hardness = []
    for row, target in zip(logits, class_target, strict=True):
        row = [float(value) for value in row]
        hardness.append(log_sum_exp(row) - row[0] if target == 0 else 0.0)
    num_positive = sum(target > 0 for target in class_target)
    count = min(ratio * num_positive, len(hardness) - 1)
    ranked = sorted(range(len(hardness)), key=lambda i: -hardness[i])
    return {i for i in ranked[:count] if class_target[i] == 0}


def class_loss(logits, class_target, ratio=3):
    chosen = hard_negatives(logits, class_target, ratio)
    total = 0.0
    for i, target in enumerate(class_target):
        if target > 0 or i in chosen:
            row = [float(value) for value in logits[i]]
            total += log_sum_exp(row) - row[target]
    return total


def pixel_cross_entropy(probability, target):
    """Every logarithm is at least -100."""

    def log(value):
        return max(math.log(value), -100.0) if value > 0 else -100.0

    return -(target * log(probability) + (1 - target) * log(1 - probability))


def mask_loss(prototypes, coefficients, object_index, chosen, factor, boxes, masks):
    """Sum over the chosen anchors of pixel costs per prototype pixel of box area."""
    height, width, _ = prototypes.shape
    total = 0.0
    for anchor in chosen:
        box, mask = boxes[object_index[anchor]], masks[object_index[anchor]]
        predicted = ref_masks.assemble(prototypes, coefficients[anchor : anchor + 1])
        predicted = ref_masks.crop(predicted, [box])[0]
        cost = sum(
            pixel_cross_entropy(predicted[pixel], float(mask[pixel]))
            for pixel in np.ndindex(height, width)
        )
        total += cost / (ref_boxes.area([float(v) for v in box]) * height * width)
    return total * factor


def semantic_target(masks, labels, is_object, num_classes):
    height, width = masks.shape[1:]
    target = np.zeros((height, width, num_classes))
    for mask, label, counts in zip(masks, labels, is_object, strict=True):
        if counts:
            target[..., label] = np.maximum(target[..., label], mask)
    return target


def semantic_loss(logits, target):
    """Cross entropy with logits: sum over classes, mean over pixels."""
    total = 0.0
    for value, is_set in zip(logits.ravel(), target.ravel(), strict=True):
        total += log_sum_exp([0.0, float(value)]) - float(value) * is_set
    return total / (logits.shape[0] * logits.shape[1])
