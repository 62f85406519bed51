"""Operations against outputs recorded from the original implementation."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parity.detections import whole_pixels
from tests.helpers.published import MATCHING
from yolact_jax.losses import yolact
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops import matching
from yolact_jax.ops.nms import per_class
from yolact_jax.ops.resize import resize_bilinear

_PATH = pathlib.Path(__file__).parent.parent / "golden" / "ops.npz"

jitted_match = jax.jit(functools.partial(matching.match_anchors, **MATCHING))
jitted_nms = jax.jit(per_class.fast_nms, static_argnames=("top_k", "max_detections"))
jitted_crop = jax.jit(mask_ops.crop_masks)
jitted_resize = jax.jit(resize_bilinear, static_argnames="size")


@pytest.fixture(scope="module")
def golden():
    with np.load(_PATH) as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("function", "inputs", "output"),
    [
        (box_ops.encode, ("codec/gt", "codec/priors"), "codec/encode"),
        (box_ops.decode, ("codec/loc", "codec/priors"), "codec/decode"),
        (box_ops.cxcywh_to_xyxy, ("codec/priors",), "form/point_form"),
        (box_ops.xyxy_to_cxcywh, ("codec/gt",), "form/center_size"),
        (box_ops.pairwise_iou, ("jaccard/a", "jaccard/b"), "jaccard/iou"),
    ],
)
def test_boxes(golden, function, inputs, output):
    actual = jax.jit(function)(*(golden[name] for name in inputs))
    np.testing.assert_allclose(actual, golden[output], rtol=2e-5, atol=2e-6)


def test_coverage(golden):
    # The original divides by the area of `a`.
    covered = box_ops.pairwise_coverage(golden["jaccard/b"], golden["jaccard/a"]).T
    np.testing.assert_allclose(covered, golden["jaccard/iou_crowd"], 2e-5, 1e-6)


def test_encoding_of_boxes_without_extent(golden):
    boxes = golden["codec/degenerate_gt"]
    anchors = golden["codec/priors"][: len(boxes)]
    np.testing.assert_allclose(
        box_ops.encode(boxes, anchors), golden["codec/degenerate_encode"], rtol=1e-4
    )


@pytest.mark.parametrize("size", [37, 138, 550])
def test_pixel_coordinates(golden, size):
    x1, x2 = golden["sanitize/x1"], golden["sanitize/x2"]
    boxes = np.stack([x1, x2, x2, x1], -1)
    pixels = whole_pixels(boxes, size, size).T
    expected = golden[f"sanitize/size{size}_pad0_cast1"]
    np.testing.assert_array_equal(pixels[[0, 2]], expected)
    np.testing.assert_array_equal(pixels[[1, 3]], expected)


@pytest.mark.parametrize("size", [37, 138, 550])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_crop_limits(golden, size, padding):
    x1, x2 = golden["sanitize/x1"], golden["sanitize/x2"]
    boxes = np.stack([x1, 0 * x1, x2, 0 * x1 + 1], -1)
    kept = jitted_crop(jnp.ones((len(x1), 1, size)), boxes, padding)[:, 0]
    low, high = golden[f"sanitize/size{size}_pad{padding}_cast0"]
    index = np.arange(size)
    expected = (index >= low[:, None]) & (index < high[:, None])
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_crop(golden, padding):
    expected = np.moveaxis(golden[f"crop/keep{padding}"], -1, 0)
    kept = jitted_crop(jnp.ones(expected.shape), golden["crop/boxes"], padding)
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize(
    ("size", "stride"),
    [((12, 9), 1), ((66, 100), 1), ((47, 50), 1), ((8, 8), 1), ((33, 51), 1)]
    + [((138, 138), 5)],
)
def test_resize(golden, size, stride):
    name = f"interp/{size[0]}x{size[1]}" + ("_stride5" if stride > 1 else "")
    resized = jitted_resize(golden["interp/x"], size)[:, ::stride, ::stride]
    np.testing.assert_allclose(resized, golden[name], rtol=1e-6, atol=1e-6)


def test_binary_cross_entropy(golden):
    probability, target = golden["prim/bce_p"], golden["prim/bce_t"]
    compute = jax.jit(jax.vmap(jax.value_and_grad(yolact.binary_cross_entropy)))
    cost, gradient = compute(probability, target)
    np.testing.assert_allclose(cost, golden["prim/bce"], rtol=1e-5)
    # At 0 and 1 the original's gradient is -1e12 or 1e12, behind a sigmoid of slope 0.
    inner = (probability > 1e-7) & (probability < 1 - 1e-7)
    assert inner.sum() > 20
    np.testing.assert_allclose(
        gradient[inner], golden["prim/bce_grad"][inner], rtol=1e-4
    )


def test_smooth_l1(golden):
    errors = golden["prim/smooth_l1_x"]

    def loss(error):
        row = jnp.zeros((1, 4)).at[0, 0].set(error)
        return yolact.box_loss(row, jnp.zeros((1, 4)), jnp.array([True]))

    cost, gradient = jax.jit(jax.vmap(jax.value_and_grad(loss)))(errors)
    np.testing.assert_allclose(cost, golden["prim/smooth_l1"], rtol=1e-5)
    np.testing.assert_allclose(gradient, golden["prim/smooth_l1_grad"], rtol=1e-5)


@pytest.mark.parametrize("case", ["match0", "match1", "match2"])
def test_matching(golden, case):
    anchors, objects = golden[f"{case}/priors"], golden[f"{case}/gt"]
    crowds = golden.get(f"{case}/crowd", np.zeros((0, 4), np.float32))
    boxes = np.zeros((16, 4), np.float32)
    boxes[: len(objects)] = objects
    boxes[12 : 12 + len(crowds)] = crowds
    is_object = np.arange(16) < len(objects)
    is_crowd = (np.arange(16) >= 12) & (np.arange(16) < 12 + len(crowds))
    labels = np.zeros(16, np.int32)
    labels[: len(objects)] = golden[f"{case}/labels"]
    matches = jitted_match(boxes, labels, is_object, is_crowd, anchors)
    np.testing.assert_array_equal(matches.class_target, golden[f"{case}/conf_t"])
    positive = np.asarray(matches.class_target) > 0
    indices = np.asarray(matches.object_index)[positive]
    np.testing.assert_array_equal(indices, golden[f"{case}/idx_t"][positive])
    deltas = box_ops.encode(boxes[indices], anchors[positive])
    expected = golden[f"{case}/loc_t"][positive]
    np.testing.assert_allclose(deltas, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("case", "boxes", "top_k"),
    [
        ("fast_top200", "boxes", 200),
        ("fast_top30", "boxes", 30),
        ("degenerate_fast", "degenerate_boxes", 200),
    ],
)
def test_fast_nms(golden, case, boxes, top_k):
    kept = jitted_nms(
        golden[f"nms/{boxes}"],
        golden["nms/scores"].T,
        score_threshold=0.0,
        iou_threshold=0.5,
        top_k=top_k,
        max_detections=100,
    )
    assert kept.valid.all()
    np.testing.assert_array_equal(kept.anchor_index, golden[f"nms/{case}_idx"])
    np.testing.assert_array_equal(kept.labels, golden[f"nms/{case}_class"])
    np.testing.assert_allclose(kept.scores, golden[f"nms/{case}_score"], rtol=1e-6)
