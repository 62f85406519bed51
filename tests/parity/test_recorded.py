"""Losses and detections of a whole yolact_base, recorded from the original.

The network outputs are made up, so that no weights are needed; see
`tests/golden/README.md` for the origin of the numbers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parity.detections import whole_pixels
from tests.helpers.published import MATCHING
from tests.helpers.scenes import random_priority
from tests.reference import recorded
from yolact_jax.config import Loss
from yolact_jax.losses import yolact
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops import matching
from yolact_jax.ops.nms import per_class
from yolact_jax.ops.resize import resize_bilinear
from yolact_jax.structures import Batch, Predictions

OBJECTS = (
    (
        ((0.10, 0.15, 0.45, 0.60), 0),
        ((0.50, 0.20, 0.90, 0.85), 17),
        ((0.30, 0.65, 0.38, 0.75), 56),
    ),
    (
        ((0.20, 0.20, 0.80, 0.80), 2),
        ((0.02, 0.02, 0.07, 0.10), 79),
    ),
)
CROWD = (0.05, 0.70, 0.30, 0.98)
SLOTS = 5


@functools.cache
def make_anchors():
    scales = ((24,), (48,), (96,), (192,), (384,))
    sizes = anchor_ops.level_sizes(550)
    return anchor_ops.make_anchors(sizes, scales, (1, 1 / 2, 2), 550, True)


@functools.cache
def make_batch(side):
    """Masks are rasterised at 550 pixels, then made smaller as in the original."""
    batch = Batch(
        images=np.zeros((2, 1, 1, 3), np.uint8),
        boxes=np.zeros((2, SLOTS, 4), np.float32),
        labels=np.zeros((2, SLOTS), np.int32),
        masks=np.zeros((2, SLOTS, side, side), np.uint8),
        valid=np.zeros((2, SLOTS), bool),
        crowd=np.zeros((2, SLOTS), bool),
    )
    for i, objects in enumerate(OBJECTS):
        for slot, (box, label) in enumerate(objects):
            batch.boxes[i, slot], batch.labels[i, slot] = box, label
            large = recorded.ellipse(box, 550).astype(np.float32)
            batch.masks[i, slot] = resize_bilinear(large, (side, side)) > 0.5
            batch.valid[i, slot] = True
    batch.boxes[0, 4], batch.valid[0, 4], batch.crowd[0, 4] = CROWD, True, True
    return batch


@functools.cache
def make_predictions():
    def values(stream, *shape):
        return recorded.signed(stream, 2, *shape)

    count = len(make_anchors())
    outputs = (
        0.5 * values(200001, count, 4),
        2 * values(200002, count, 81),
        np.tanh(values(200003, count, 32)),
        np.maximum(2 * values(200004, 138, 138, 32), 0),
        np.moveaxis(values(200005, 80, 69, 69), 1, -1),
    )
    return Predictions(*(jnp.asarray(output, jnp.float32) for output in outputs))


def test_hash_of_the_made_up_values():
    expected = [0.01093083736, 0.2137381376, 0.03440473718, 0.04343861761]
    np.testing.assert_allclose(recorded.uniform(0, 4), expected, rtol=1e-9)
    expected = [0.5140255967, 0.3768549475, 0.4894738991]
    np.testing.assert_allclose(recorded.uniform(5, 3), expected, rtol=1e-9)


@functools.cache
def batch_matches():
    batch = make_batch(138)
    match = jax.jit(
        jax.vmap(
            functools.partial(matching.match_anchors, **MATCHING),
            in_axes=(0, 0, 0, 0, None),
        )
    )
    return match(
        batch.boxes, batch.labels, batch.is_object, batch.crowd, make_anchors()
    )


def test_matches():
    matches = batch_matches()
    targets = np.asarray(matches.class_target)
    positives = [np.flatnonzero(row > 0) for row in targets]
    assert [len(row) for row in positives] == [19, 13]
    assert (targets == -1).sum(1).tolist() == [1119, 16]
    assert positives[0][:6].tolist() == [16836, 16838, 16839, 16841, 18625, 18990]
    assert positives[1][:6].tolist() == [629, 632, 836, 839, 14392, 14497]
    assert [row[-1] for row in positives] == [19213, 19210]
    index = np.asarray(matches.object_index)
    counts = [np.bincount(index[i][p]).tolist() for i, p in enumerate(positives)]
    assert counts == [[7, 7, 5], [7, 6]]
    first = [
        box_ops.encode(make_batch(138).boxes[i, index[i][p[0]]], make_anchors()[p[0]])
        for i, p in enumerate(positives)
    ]
    expected = [
        [1.309523, 0, -0.435058, 0.680662],
        [1.420833, 1.503029, -1.052207, 1.297811],
    ]
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=2e-6)


def total_loss(predictions, batch):
    terms = yolact.yolact_losses(
        predictions,
        batch,
        jnp.asarray(make_anchors()),
        priority=random_priority(predictions),
        options=Loss(),
    )
    return terms.total, terms


@functools.cache
def losses_and_gradients():
    gradients = jax.jit(jax.grad(total_loss, has_aux=True))
    return gradients(make_predictions(), make_batch(138))[::-1]


def test_losses():
    terms, _ = losses_and_gradients()
    assert float(terms.box) == pytest.approx(3.881556, rel=1e-5)
    assert float(terms.mask) == pytest.approx(7.782277, rel=1e-5)
    assert float(terms.classification) == pytest.approx(26.24378, rel=1e-5)


def test_semantic_loss():
    # The original makes the small masks from those of 550 pixels, we from those of
    # 138; this uses the former, and the next line bounds what the difference costs.
    batch, logits = make_batch(69), make_predictions().semantic_logits
    targets = jax.vmap(yolact.semantic_target, in_axes=(0, 0, 0, None))(
        batch.masks, batch.labels, batch.is_object, 80
    )
    value = float(jnp.mean(jax.vmap(yolact.semantic_loss)(logits, targets)))
    assert value == pytest.approx(58.73766, rel=1e-6)
    terms, _ = losses_and_gradients()
    assert float(terms.semantic) == pytest.approx(58.73766, rel=2e-4)


def test_gradients():
    _, gradients = losses_and_gradients()
    sums = jax.tree.map(lambda g: float(jnp.abs(g).sum()), gradients)
    assert sums.box_deltas == pytest.approx(4.375518, rel=1e-5)
    assert sums.class_logits == pytest.approx(7.965866, rel=1e-5)
    assert sums.coefficients == pytest.approx(23.44072, rel=1e-4)
    assert sums.prototypes == pytest.approx(21.30381, rel=1e-4)
    assert sums.semantic_logits == pytest.approx(40.0122, rel=2e-4)


@functools.cache
def detections():
    """Fast NMS of made-up outputs with 60 confident anchors; boxes, coefficients."""
    anchors = make_anchors()
    count = len(anchors)
    logits = recorded.signed(400002, count, 81)
    logits[:, 0] += 6
    hot = np.arange(60)
    anchor = (4761 + 350) * 3 + hot
    logits[anchor, 1 + hot % 3] += 8 + 0.02 * (7 * hot % 60)
    scores = jax.nn.softmax(jnp.asarray(logits, jnp.float32))[:, 1:]
    deltas = (0.2 * recorded.signed(400001, count, 4)).astype(np.float32)
    boxes = box_ops.decode(deltas, anchors)
    kept = jax.jit(per_class.fast_nms, static_argnames=("top_k", "max_detections"))(
        boxes,
        scores,
        score_threshold=0.05,
        iou_threshold=0.5,
        top_k=200,
        max_detections=100,
    )
    coefficients = np.tanh(recorded.signed(400003, count, 32)).astype(np.float32)
    return kept, boxes[kept.anchor_index], coefficients[kept.anchor_index]


def test_detections():
    kept, boxes, coefficients = detections()
    assert int(kept.valid.sum()) == 100
    assert float(kept.scores.sum()) == pytest.approx(38.715317, rel=1e-5)
    assert int((kept.scores > 0.05).sum()) == 43
    assert float(kept.scores[-1]) == pytest.approx(0.0010512, rel=1e-4)
    # Scores near 0.001 almost tie, so the weakest detections may differ.
    assert int(kept.labels.sum()) == pytest.approx(2528, abs=80)
    assert kept.labels[:5].tolist() == [2, 0, 2, 2, 0]
    scores = [0.9846918, 0.9831116, 0.9793382, 0.9782885, 0.9683434]
    np.testing.assert_allclose(kept.scores[:5], scores, rtol=1e-5)
    expected = [
        (0.324822, 0.240420, 0.444302, 0.364226),
        (0.367745, 0.256658, 0.457508, 0.341351),
        (0.068186, 0.237406, 0.193496, 0.364388),
        (0.008316, 0.237328, 0.135053, 0.357958),
        (0.513636, 0.255107, 0.603825, 0.344995),
    ]
    np.testing.assert_allclose(boxes[:5], expected, atol=1e-6)
    expected = [-0.694147, -0.069333, 0.370926, 0.329102, 0.495775]
    np.testing.assert_allclose(coefficients[:5, 0], expected, atol=1e-6)


def test_masks_and_pixels_of_detections():
    _, boxes, coefficients = detections()
    boxes, coefficients = boxes[:5], coefficients[:5]
    pixels = whole_pixels(boxes, 480, 640)
    assert pixels.astype(int).tolist() == [
        [207, 115, 284, 174],
        [235, 123, 292, 163],
        [43, 113, 123, 174],
        [5, 113, 86, 171],
        [328, 122, 386, 165],
    ]
    prototypes = np.maximum(2 * recorded.signed(400004, 138, 138, 32) - 0.5, 0)
    soft = mask_ops.assemble_masks(prototypes.astype(np.float32), coefficients)
    soft = mask_ops.crop_masks(soft, boxes)
    areas = (resize_bilinear(soft, (480, 640)) > 0.5).sum((1, 2))
    # A pixel at the threshold may fall on either side.
    np.testing.assert_allclose(areas, [3760, 1378, 1165, 5077, 2967], atol=2)
