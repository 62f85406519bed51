"""Suppression in ONNX against loops over sorted lists."""

import functools

import numpy as np
import pytest

from tests.export.onnx.test_operators import run
from tests.reference import nms as reference
from yolact_jax.config import Eval
from yolact_jax.export.onnx import nms

IOU = 0.5
DECAY = {
    "matrix": lambda iou: np.exp(-2.0 * iou**2),
    "matrix_linear": lambda iou: 1 - iou,
}
ORACLES = {
    "fast": functools.partial(reference.fast, threshold=IOU),
    "cluster": functools.partial(reference.greedy, threshold=IOU),
    "cluster_diou": functools.partial(reference.greedy_diou, threshold=IOU),
    "cluster_penalty": functools.partial(reference.penalty, threshold=IOU),
    "greedy_matrix": functools.partial(reference.greedy, threshold=IOU),
    "greedy_loop": functools.partial(reference.greedy, threshold=IOU),
    **{
        name: functools.partial(reference.matrix, decay=decay)
        for name, decay in DECAY.items()
    },
}


def example(seed):
    """Two images of 40 crowded boxes, with ties, equal points, low scores and a nan."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.5, (2, 40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, 0.5, (2, 40, 2))], -1)
    boxes[:, 5:7] = boxes[:, 4:5]
    boxes[:, 8:10] = 0.25
    boxes[:, 11] = -np.inf, -np.inf, np.nan, np.nan
    scores = rng.choice(np.linspace(0, 1, 23), (2, 40, 3))
    scores[:, 11] = 0.25
    return boxes.astype(np.float32), scores.astype(np.float32)


def oracle(name, boxes, scores, top_k, count, agnostic, least=0.1):
    """(score, label, anchor) of each detection, best first."""
    lists = scores.max(-1, keepdims=True) if agnostic else scores
    found = []
    for label in range(lists.shape[1]):
        enter = [a for a in range(len(boxes)) if lists[a].max() > least]
        enter.sort(key=lambda a, c=label: -lists[a, c])
        enter = enter[:top_k]
        new = ORACLES[name](boxes[enter], lists[enter, label])
        found += [
            (score, label, a)
            for score, a in zip(new, enter, strict=True)
            if score is not None
        ]
    found.sort(key=lambda entry: -entry[0])  # Stable: equal ones stay by label.
    if agnostic:
        found = [(s, int(scores[a].argmax()), a) for s, _, a in found]
    return found[:count]


def in_onnx(boxes, scores, options):
    def write(boxes, scores, least, iou):
        return list(nms.suppress(boxes, scores, (40, 3), options, least, iou))

    numbers = (np.asarray(x, np.float32) for x in (0.1, IOU))
    return run(write, boxes, scores, *numbers)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("name", ORACLES)
def test_every_kind_keeps_what_the_loops_keep(name, agnostic):
    boxes, scores = example(seed=len(name))
    options = Eval(nms=name, class_agnostic=agnostic, top_k=25, max_detections=30)
    for image, (anchors, labels, found) in enumerate(
        zip(*in_onnx(boxes, scores, options), strict=True)
    ):
        wanted = oracle(name, boxes[image], scores[image], 25, 30, agnostic)
        count = int((found >= 0).sum())
        assert count == len(wanted) > 3
        np.testing.assert_allclose(found[:count], [w[0] for w in wanted], atol=1e-5)
        # Decayed scores may tie but for rounding.
        if name not in (*DECAY, "cluster_penalty"):
            assert labels[:count].tolist() == [w[1] for w in wanted]
            assert anchors[:count].tolist() == [w[2] for w in wanted]


def test_cross_class_has_as_many_slots_as_boxes_enter():
    boxes, scores = example(seed=1)
    options = Eval(nms="cross_class", top_k=20, max_detections=3)
    anchors, _, found = in_onnx(boxes, scores, options)
    wanted = oracle("fast", boxes[0], scores[0], 20, 20, agnostic=True)
    assert found.shape == (2, 20)
    assert anchors[0][: len(wanted)].tolist() == [w[2] for w in wanted]


def test_more_slots_than_boxes_are_padded():
    boxes, scores = example(seed=2)
    options = Eval(nms="fast", top_k=1000, max_detections=500)
    _, _, found = in_onnx(boxes, scores, options)
    assert found.shape == (2, 500)
    wanted = oracle("fast", boxes[0], scores[0], 40, 500, agnostic=False)
    assert (found[0] >= 0).sum() == len(wanted)


def test_kinds_that_pick_one_box_after_the_other_are_refused():
    with pytest.raises(ValueError, match=r"'soft', .* choose one of fast"):
        in_onnx(*example(seed=0), Eval(nms="soft"))


def test_means_of_boxes_are_refused():
    with pytest.raises(ValueError, match=r"eval\.weighted_boxes is True, .* False\."):
        in_onnx(*example(seed=0), Eval(weighted_boxes=True))
