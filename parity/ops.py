"""Single operations against the record."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

from parity.records import Row, has
from yolact_jax.losses import yolact
from yolact_jax.models.deform_conv import DeformConv, deform_conv
from yolact_jax.models.layers import Conv
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops import matching
from yolact_jax.ops.nms.sequential import sequential_nms
from yolact_jax.ops.nms.variants import run_nms
from yolact_jax.ops.resize import resize_bilinear

_BOX_OPS = (
    ("encode", box_ops.encode, ("codec/gt", "codec/priors"), "codec/encode"),
    ("decode", box_ops.decode, ("codec/loc", "codec/priors"), "codec/decode"),
    ("corners", box_ops.cxcywh_to_xyxy, ("codec/priors",), "form/point_form"),
    ("centres", box_ops.xyxy_to_cxcywh, ("codec/gt",), "form/center_size"),
    ("IoU", box_ops.pairwise_iou, ("jaccard/a", "jaccard/b"), "jaccard/iou"),
)


def check_ops(golden: dict) -> list[Row]:
    """Compares every operation that the package has.

    Args:
      golden: inputs and outputs side by side.

    Returns:
      The rows.
    """
    rows = [
        _close(name, jax.jit(function)(*(golden[i] for i in inputs)), golden[output])
        for name, function, inputs, output in _BOX_OPS
        if has(golden, *inputs, output)
    ]
    if has(golden, "jaccard/a", "jaccard/b", "jaccard/iou_crowd"):
        covered = box_ops.pairwise_coverage(golden["jaccard/b"], golden["jaccard/a"]).T
        rows.append(_close("coverage", covered, golden["jaccard/iou_crowd"]))
    rows += _check_loss_parts(golden)
    rows += [_check_crop(golden, int(n)) for n in _numbers(golden, r"crop/pad(\d+)")]
    rows += _check_resize(golden)
    for number in _numbers(golden, r"match(\d+)/conf_t"):
        rows.append(_check_matching(golden, f"match{number}"))
    rows += _check_nms(golden)
    for stride in _numbers(golden, r"dcn_s(\d+)/y"):
        rows += _check_deform_conv(golden, f"dcn_s{stride}", int(stride))
    return rows


def _numbers(golden, pattern) -> list[str]:
    """What the pattern finds in the names of the arrays."""
    return [match[1] for key in golden if (match := re.fullmatch(pattern, key))]


def _close(stage, actual, expected, tolerance=1e-6) -> Row:
    """Relative to the value or 1; infinities and nans must be where they are."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True):
        return Row(stage, np.inf, tolerance, "rel")
    scale = np.maximum(np.abs(expected[finite]), 1)
    error = np.max(np.abs(actual[finite] - expected[finite]) / scale, initial=0)
    return Row(stage, float(error), tolerance, "rel")


def _check_loss_parts(golden) -> list[Row]:
    def box_loss(error):
        deltas = jnp.zeros((1, 4)).at[0, 0].set(error)
        return yolact.box_loss(deltas, jnp.zeros((1, 4)), jnp.array([True]))

    rows = []
    for title, function, inputs, output in (
        (
            "cross entropy",
            yolact.binary_cross_entropy,
            ("prim/bce_p", "prim/bce_t"),
            "prim/bce",
        ),
        ("smooth L1", box_loss, ("prim/smooth_l1_x",), "prim/smooth_l1"),
    ):
        if has(golden, *inputs, output, f"{output}_grad"):
            compute = jax.vmap(jax.value_and_grad(function))
            cost, gradient = compute(*(golden[name] for name in inputs))
            rows.append(_close(title, cost, golden[output]))
            rows.append(_close(f"{title} gradient", gradient, golden[f"{output}_grad"]))
    return rows


def _check_crop(golden, padding) -> Row:
    masks = jnp.moveaxis(jnp.asarray(golden["crop/masks"]), -1, 0)
    cropped = mask_ops.crop_masks(masks, golden["crop/boxes"], padding)
    expected = np.moveaxis(golden[f"crop/pad{padding}"], -1, 0)
    return _close("crop", cropped, expected)


def _check_resize(golden) -> list[Row]:
    rows = []
    for key in golden:
        group, _, name = key.partition("/")
        if group == "interp" and name != "x":
            size = golden[key].shape[-2:]
            resized = resize_bilinear(jnp.asarray(golden["interp/x"]), size)
            rows.append(_close("resize", resized, golden[key]))
    return rows


_MATCHING = {"positive_iou": 0.5, "negative_iou": 0.4, "crowd_iou": 0.7}


def _check_matching(golden, case) -> Row:
    objects = golden[f"{case}/gt"]
    crowds = golden.get(f"{case}/crowd", np.zeros((0, 4), np.float32))
    boxes = np.concatenate([objects, crowds])
    is_object = np.arange(len(boxes)) < len(objects)
    labels = np.zeros(len(boxes), np.int32)
    labels[: len(objects)] = golden[f"{case}/labels"]
    matches = jax.jit(functools.partial(matching.match_anchors, **_MATCHING))(
        boxes, labels, is_object, ~is_object, golden[f"{case}/priors"]
    )
    wrong = np.asarray(matches.class_target) != golden[f"{case}/conf_t"]
    positive = np.asarray(matches.positive)
    index = np.asarray(matches.object_index) != golden[f"{case}/idx_t"]
    return Row("matching", float(np.sum(wrong | (index & positive))), 0.0, "anchors")


def _check_nms(golden) -> list[Row]:
    rows = []
    for key in golden:
        pattern = r"nms/((?:degenerate_)?)(fast|cross|trad)((?:_top\d+)?)_class"
        match = re.fullmatch(pattern, key)
        if not match:
            continue
        prefix, rule, limit = match.groups()
        boxes, scores = golden[f"nms/{prefix}boxes"], golden["nms/scores"].T
        if rule == "trad":
            kept = sequential_nms(
                boxes,
                scores,
                score_threshold=0.05,
                iou_threshold=0.5,
                input_size=550,
                max_detections=100,
            )
        else:
            top_k = int(limit.removeprefix("_top") or 200)
            kept = run_nms(
                {"fast": "fast", "cross": "cross_class"}[rule],
                boxes,
                scores,
                score_threshold=0.0,
                iou_threshold=0.5,
                top_k=top_k,
                max_detections=100,
                input_size=550,
            )
        name = "sequential" if rule == "trad" else rule
        key = key.removesuffix("_class")
        rows.append(_same_detections(f"{name} NMS", kept, golden, key))
    return rows


def _same_detections(stage, kept, golden, key) -> Row:
    valid = np.asarray(kept.valid)
    ours = zip(kept.labels[valid], kept.anchor_index[valid], strict=True)
    recorded = zip(golden[f"{key}_class"], golden[f"{key}_idx"], strict=True)
    different = {(int(c), int(i)) for c, i in ours} ^ {
        (int(c), int(i)) for c, i in recorded
    }
    return Row(stage, float(len(different)), 0.0, "boxes")


def _check_deform_conv(golden, case, stride) -> list[Row]:
    def params_of(prefix: str) -> dict:
        def kernel(key):
            return golden[f"{case}/{prefix}{key}"].transpose(2, 3, 1, 0)

        steering = {
            "kernel": kernel("conv_offset_mask.weight"),
            "bias": golden[f"{case}/{prefix}conv_offset_mask.bias"],
        }
        bias = golden[f"{case}/{prefix}bias"]
        return {"kernel": kernel("weight"), "bias": bias, "conv_offset_mask": steering}

    def nhwc(key):
        return jnp.asarray(golden[f"{case}/{key}"].transpose(0, 2, 3, 1))

    def operation(params, x):
        """With the recorded offsets: theirs and ours differ in the last digit."""
        steering = nhwc("offset_mask")
        offsets = steering[..., :18].reshape(*steering.shape[:3], 9, 2)
        modulation = jax.nn.sigmoid(steering[..., 18:])
        y = deform_conv(x, offsets, modulation, params["kernel"], stride=stride)
        return y + params["bias"]

    params, x = params_of(""), nhwc("x")
    steering = params["conv_offset_mask"]
    offsets = Conv(27, 3, stride).apply({"params": steering}, x)
    module = DeformConv(nhwc("y").shape[-1], stride=stride)
    y, vjp = jax.vjp(lambda p, x: module.apply({"params": p}, x), params, x)
    gradients = jax.tree.leaves(vjp(nhwc("cotangent")))
    expected = jax.tree.leaves((params_of("grad_"), nhwc("grad_x")))
    return [
        _close("deformable offsets", offsets, nhwc("offset_mask")),
        _close("deformable convolution", operation(params, x), nhwc("y")),
        # Samples move with the rounding of the offsets; the record is 1.4e-6 away
        # from a computation in float64, this one 1.2e-6.
        _close("deformable layer", y, nhwc("y"), 5e-6),
    ] + [
        _close("deformable gradient", a, b, 1e-4)
        for a, b in zip(gradients, expected, strict=True)
    ]
