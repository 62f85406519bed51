"""Cross-class Fast NMS and sequential NMS against loops and the original's record."""

import functools
import pathlib

import jax
import numpy as np
import pytest

from tests.helpers.published import NMS, THRESHOLDS
from tests.reference import nms as ref
from yolact_jax.ops.nms import sequential
from yolact_jax.ops.nms.variants import run_nms

_GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "family_ops.npz"

cross_class_nms = functools.partial(run_nms, "cross_class", **NMS, input_size=550)
sequential_nms = functools.partial(
    sequential.sequential_nms, **THRESHOLDS, input_size=550, max_detections=100
)


@pytest.fixture(scope="module")
def golden():
    with np.load(_GOLDEN) as archive:
        return dict(archive)


def check(kept, golden, name):
    count = len(golden[f"nms/{name}_idx"])
    assert int(kept.valid.sum()) == count
    np.testing.assert_array_equal(kept.anchor_index[:count], golden[f"nms/{name}_idx"])
    np.testing.assert_array_equal(kept.labels[:count], golden[f"nms/{name}_class"])
    np.testing.assert_array_equal(kept.scores[:count], golden[f"nms/{name}_score"])
    assert not kept.valid[count:].any()
    assert (kept.scores[count:] == 0).all()


@pytest.mark.parametrize(
    ("name", "boxes", "top_k"),
    [
        ("cross_top200", "boxes", 200),
        ("cross_top30", "boxes", 30),
        ("degenerate_cross", "degenerate_boxes", 200),
    ],
)
def test_cross_class_nms_agrees_with_the_record(golden, name, boxes, top_k):
    kept = jax.jit(cross_class_nms, static_argnames="top_k")(
        golden[f"nms/{boxes}"], golden["nms/scores"].T, score_threshold=0.0, top_k=top_k
    )
    check(kept, golden, name)


def test_sequential_nms_agrees_with_the_record(golden):
    kept = jax.jit(sequential_nms)(golden["nms/boxes"], golden["nms/scores"].T)
    check(kept, golden, "trad")


def random_case(seed, num_boxes=60, num_classes=4):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.7, (num_boxes, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 0.3, (num_boxes, 2))], 1)
    scores = rng.uniform(0, 0.4, (num_boxes, num_classes)) ** 2
    return boxes.astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("iou_threshold", [0.3, 0.7])
def test_sequential_nms_agrees_with_loops(seed, iou_threshold):
    boxes, scores = random_case(seed)
    thresholds = {"score_threshold": 0.02, "iou_threshold": iou_threshold}
    expected = ref.best_first(ref.sequential(boxes * 550.0, scores, **thresholds), 240)
    kept = jax.jit(sequential_nms, static_argnames="max_detections")(
        boxes, scores, **thresholds, max_detections=240
    )
    count = int(kept.valid.sum())
    triples = zip(kept.scores, kept.labels, kept.anchor_index, strict=True)
    actual = [(float(s), int(c), int(a)) for s, c, a in list(triples)[:count]]
    assert actual == expected


@pytest.mark.parametrize("nms", [cross_class_nms, sequential_nms])
def test_nothing_above_the_threshold_gives_nothing(nms):
    boxes, scores = random_case(0)
    kept = jax.jit(nms)(boxes, scores, score_threshold=0.9)
    assert not kept.valid.any()
    assert (kept.scores == 0).all()


@pytest.mark.parametrize("nms", [cross_class_nms, sequential_nms])
def test_batches_equal_single_images_without_recompiling(nms):
    cases = [random_case(seed) for seed in range(3)]
    boxes, scores = (np.stack(parts) for parts in zip(*cases, strict=True))
    traces = []

    def run(boxes, scores, threshold):
        traces.append(None)
        return nms(boxes, scores, score_threshold=0.01, iou_threshold=threshold)

    batched = jax.jit(jax.vmap(run, (0, 0, None)))
    for threshold in (0.2, 0.6):
        together = batched(boxes, scores, threshold)
        for index, case in enumerate(cases):
            alone = nms(*case, score_threshold=0.01, iou_threshold=threshold)
            one = jax.tree.map(lambda x, i=index: x[i], together)
            jax.tree.map(np.testing.assert_array_equal, one, alone)
    assert len(traces) == 1


def test_classes_suppress_each_other_only_across_classes():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.49]], np.float32)
    scores = np.array([[0.9, 0.0], [0.0, 0.8]], np.float32)
    assert int(cross_class_nms(boxes, scores).valid.sum()) == 1
    assert int(sequential_nms(boxes, scores).valid.sum()) == 2
