"""Random and hand-made scenes of several classes, as COCO dictionaries."""

import numpy as np

from tests.helpers.coco_scenes import (
    SIDE,
    make_annotation,
    make_truth,
    random_scene,
    rectangle_mask,
)
from yolact_jax.data import rle

CATEGORIES = ((3, "dog"), (7, "cat"), (9, "cow"))


def result(box, score, *, image_id=1, category_id=7):
    """A box entry and a mask entry of a rectangle."""
    x1, y1, x2, y2 = box
    common = {"image_id": image_id, "category_id": category_id, "score": score}
    bbox = [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]
    return (
        common | {"bbox": bbox},
        common | {"segmentation": rle.encode(rectangle_mask(box))},
    )


def random_dataset(seed, *, num_images=12):
    """Ground truth, box entries and mask entries; no two scores are equal."""
    generator = np.random.default_rng(seed)
    annotations, results = [], []
    ids = [i for i, _ in CATEGORIES]
    for image_id in range(1, num_images + 1):
        truths, found = random_scene(generator)
        for box, crowd in truths:
            category = int(generator.choice(ids))
            annotations.append(
                make_annotation(
                    box, image_id=image_id, category_id=category, crowd=crowd
                )
            )
            for near, score in found:
                if abs(np.subtract(near, box)).max() < 20 and generator.random() < 0.7:
                    wrong = generator.random() < 0.2
                    label = int(generator.choice(ids)) if wrong else category
                    results.append(
                        result(near, score, image_id=image_id, category_id=label)
                    )
        x, y = generator.integers(0, SIDE - 30, 2)
        box = (int(x), int(y), int(x + 25), int(y + 20))
        results.append(result(box, generator.random(), image_id=image_id))
    truth = make_truth(annotations, num_images=num_images, categories=CATEGORIES)
    noisy = [
        [entry | {"score": entry["score"] + 1e-9 * i} for entry in pair]
        for i, pair in enumerate(results)
    ]
    boxes, masks = map(list, zip(*noisy, strict=True))
    return truth, boxes, masks
