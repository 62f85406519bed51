"""Made-up ground truth and detections, for the tests of evaluation."""

import numpy as np

from yolact_jax.results.instances import Instances

SIDE = 160
BOXES = [(0, 0, 20, 20), (30, 30, 90, 90), (20, 20, 150, 150)]


def rectangle_mask(box):
    x1, y1, x2, y2 = box
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def make_instances(boxes, scores, labels=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), np.int32) if labels is None else np.array(labels)
    masks = [rectangle_mask(box.astype(int)) for box in boxes]
    masks = np.array(masks, bool).reshape(-1, SIDE, SIDE)
    return Instances(boxes, np.array(scores, np.float32), labels, masks)


def make_annotation(box, *, image_id=1, category_id=7, crowd=0, number=0):
    x1, y1, x2, y2 = (float(v) for v in box)
    polygon = [x1, y1, x2, y1, x2, y2, x1, y2]
    segmentation = [polygon]
    if crowd:  # an uncompressed run-length code, as COCO stores crowds
        column_major = np.asfortranarray(rectangle_mask([int(v) for v in box]))
        flat = column_major.ravel(order="F").astype(int)
        edges = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff([0, *edges, flat.size]).tolist()
        counts = runs if flat[0] == 0 else [0, *runs]
        segmentation = {"size": [SIDE, SIDE], "counts": counts}
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": crowd,
        "segmentation": segmentation,
    }


def make_truth(annotations, *, num_images=1, categories=((7, "cat"),)):
    return {
        "images": [
            {"id": i + 1, "width": SIDE, "height": SIDE} for i in range(num_images)
        ],
        "categories": [{"id": i, "name": name} for i, name in categories],
        "annotations": [a | {"id": i} for i, a in enumerate(annotations)],
    }


def shifted(box, generator, reach):
    box = np.array(box) + generator.integers(-reach, reach + 1, 4)
    x1, y1, x2, y2 = np.clip(box, 0, SIDE)
    return int(x1), int(y1), int(max(x2, x1 + 2)), int(max(y2, y1 + 2))


def random_scene(generator):
    """Ground truth boxes with crowd flags, and detections near them and elsewhere."""
    truths, detections = [], []
    for _ in range(generator.integers(1, 7)):
        side = int(generator.choice([12, 40, 110]))
        x, y = generator.integers(0, SIDE - side - 8, 2)
        box = (int(x), int(y), int(x + side), int(y + side + 7))
        truths.append((box, int(generator.random() < 0.2)))
        for _ in range(generator.integers(0, 4)):
            near = shifted(box, generator, max(1, side // 12))
            detections.append((near, generator.random()))
    x, y, side = (int(v) for v in generator.integers(10, 80, 3))
    detections.append(((x, y, x + side, y + side), generator.random()))
    return truths, detections
