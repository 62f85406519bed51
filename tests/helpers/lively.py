"""Small models whose random weights find many objects, and pictures for them."""

import jax
import numpy as np

from yolact_jax.run.folder import Run
from yolact_jax.zoo.pretrained import abstract_variables
from yolact_jax.zoo.specs import spec

NAMES, IDS = ("cat", "dog", "cow"), (3, 5, 9)
_SMALL = {
    "data.input_size": 64,
    "model.backbone_width": 8,
    "model.features": 16,
    "model.num_prototypes": 4,
    "eval.top_k": 30,
    "eval.max_detections": 20,
    "eval.batch_size": 2,
}
_PLUS = {
    "data.input_size": 249,  # The least that the mask scoring network allows.
    "model.backbone": "resnet50",
    "model.deformable_interval": 2,
    "model.mask_iou": True,
}
FAMILIES = {
    "resnet": {},
    "darknet": {"model.backbone": "darknet53"},
    "plus": _PLUS,
    "cluster": {"eval.nms": "cluster"},
    "cross_class": {"eval.nms": "cross_class"},
    "letterbox": {
        "data.input_size": (64, 96),
        "data.resize": "letterbox",
        "eval.nms": "cluster_diou",
    },
}


def run_of(family: str = "resnet", **changes) -> Run:
    config = spec("shapes").replace({**_SMALL, **FAMILIES[family], **changes})
    return Run(config, NAMES, IDS)


def variables_of(run: Run, seed: int = 0) -> dict:
    """Weights that keep the size of features, with all kinds of scores and boxes."""
    rng = np.random.default_rng(seed)

    def array(place, shape):
        name = jax.tree_util.keystr(place, simple=True, separator="/")
        if name.endswith("kernel"):
            fan_in = np.prod(shape.shape[:-1])
            size = (
                0.3 if "conv_offset_mask" in name else 1.0 if "class" in name else 1.4
            )
            return rng.normal(0, size / np.sqrt(fan_in), shape.shape).astype(np.float32)
        if name.endswith("scale") and "layer" in name:
            # Or else features would double with each residual block.
            return rng.uniform(0.2, 0.4, shape.shape).astype(np.float32)
        if name.endswith(("scale", "var")):
            return rng.uniform(0.5, 1.0, shape.shape).astype(np.float32)
        return rng.normal(0, 0.2, shape.shape).astype(np.float32)

    shapes = abstract_variables(run.config, len(run.class_names))
    return jax.tree.map_with_path(array, shapes)


def pictures(*sizes, seed: int = 0) -> list[np.ndarray]:
    """Smooth color fields, [height, width, 3] uint8."""
    rng = np.random.default_rng(seed)
    found = []
    for height, width in sizes:
        y, x = np.mgrid[:height, :width] / 20
        waves = [
            np.sin(rng.normal() * x + rng.normal() * y + rng.uniform(0, 6))
            for _ in range(3)
        ]
        found.append((127.5 + 127 * np.stack(waves, -1)).astype(np.uint8))
    return found


def assert_same_objects(found, expected, *, atol=1e-4) -> None:
    """Compares `Instances`: the same objects in order, boxes in fractions to `atol`.

    Masks of random weights are flat: pixels exactly at the threshold may fall on either
    side, but few of all.
    """
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=atol)
    longest = max(expected.packed.size)
    np.testing.assert_allclose(
        found.boxes_px / longest, expected.boxes_px / longest, atol=atol
    )
    union = found.masks | expected.masks
    differ = found.masks ^ expected.masks
    assert differ.sum() <= 1e-3 * union.sum()
    assert (differ.sum((1, 2)) <= np.maximum(8, 0.01 * union.sum((1, 2)))).all()
