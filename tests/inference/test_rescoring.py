"""Mask scores of YOLACT++ from the network to the results."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers.transforms import assert_trees_close
from yolact_jax.inference.detect import rescore_masks
from yolact_jax.ops import masks as mask_ops
from yolact_jax.results.coco_entries import coco_results
from yolact_jax.results.instances import Instances
from yolact_jax.structures import Detections


def test_score_of_a_mask_is_box_score_times_predicted_iou():
    rng = np.random.default_rng(0)
    prototypes = jnp.asarray(rng.normal(size=(8, 8, 3)), jnp.float32)
    detections = Detections(
        boxes=jnp.array([[0.0, 0.0, 0.5, 0.5], [0.2, 0.2, 1.0, 1.0]]),
        scores=jnp.array([0.8, 0.5]),
        labels=jnp.array([1, 0]),
        coefficients=jnp.asarray(rng.normal(size=(2, 3)), jnp.float32),
        anchor_index=jnp.array([3, 4]),
        valid=jnp.array([True, True]),
    )
    seen = []

    def mask_iou_fn(masks):
        seen.append(masks)
        return jnp.array([[0.1, 0.25], [0.5, 0.9]])

    rescored = rescore_masks(detections, prototypes, mask_iou_fn)
    np.testing.assert_allclose(rescored.mask_scores, [0.2, 0.25])
    np.testing.assert_array_equal(rescored.scores, detections.scores)
    soft = mask_ops.assemble_masks(prototypes, detections.coefficients)
    cropped = mask_ops.crop_masks(soft, detections.boxes)
    np.testing.assert_allclose(seen[0], cropped, rtol=1e-6)
    assert float(cropped[0, 7, 7]) == 0
    jitted = jax.jit(lambda d, p: rescore_masks(d, p, mask_iou_fn))
    assert_trees_close(jitted(detections, prototypes), rescored)


def test_empty_slots_and_boxes_without_area_are_scored_finitely():
    empty = Detections(
        boxes=jnp.zeros((2, 4)),
        scores=jnp.zeros(2),
        labels=jnp.zeros(2, jnp.int32),
        coefficients=jnp.zeros((2, 3)),
        anchor_index=jnp.zeros(2, jnp.int32),
        valid=jnp.zeros(2, bool),
    )
    seen = []

    def mask_iou_fn(masks):
        seen.append(masks)
        return jnp.ones((2, 5))

    rescored = rescore_masks(empty, jnp.ones((8, 8, 3)), mask_iou_fn)
    np.testing.assert_array_equal(rescored.mask_scores, 0)
    assert np.isfinite(seen[0]).all()


def make_instances(mask_scores):
    return Instances(
        boxes_px=np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32),
        scores=np.array([0.9, 0.8], np.float32),
        labels=np.array([0, 1]),
        masks=np.ones((2, 4, 4), bool),
        mask_scores=mask_scores,
    )


def test_results_have_the_scores_of_boxes_and_masks_apart():
    instances = make_instances(np.array([0.3, 0.7], np.float32))
    boxes, masks = coco_results(instances, image_id=1, category_ids=(5, 6))
    np.testing.assert_allclose([b["score"] for b in boxes], [0.9, 0.8])
    np.testing.assert_allclose([m["score"] for m in masks], [0.3, 0.7])


def test_pictures_rank_by_the_scores_of_the_masks():
    ranked = make_instances(np.array([0.3, 0.7], np.float32)).ranked_by_mask()
    np.testing.assert_allclose(ranked.scores, [0.7, 0.3])
    assert ranked.labels.tolist() == [1, 0]
    plain = make_instances(None)
    assert plain.ranked_by_mask() is plain
    assert plain[np.array([False, True])].labels.tolist() == [1]
    assert plain[np.array([False, True])].mask_scores is None
