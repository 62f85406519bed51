"""Every kind of non-maximum suppression by its name, behind one signature."""

import functools

import jax

from yolact_jax.ops.nms import rules, soft_rules
from yolact_jax.ops.nms.per_class import Kept, class_agnostic, per_class_nms
from yolact_jax.ops.nms.sequential import sequential_nms

DROPPING_RULES: dict[str, rules.Rule] = {
    "fast": rules.fast,
    "cluster": rules.cluster,
    "cluster_diou": rules.cluster_diou,
    "greedy_matrix": rules.greedy_matrix,
    "greedy_loop": rules.greedy_loop,
}
"""Rules that drop boxes and keep the scores of the others."""

RULES: dict[str, rules.Rule] = DROPPING_RULES | {
    "matrix": soft_rules.matrix,
    "matrix_linear": soft_rules.matrix_linear,
    "cluster_penalty": soft_rules.cluster_penalty,
    "soft": soft_rules.soft,
    "soft_linear": soft_rules.soft_linear,
}
"""All rules, for `per_class_nms`."""

NMS_VARIANTS = (*RULES, "cross_class", "sequential")
"""Names of all variants: rules, and two of the original with conventions of its own."""


def run_nms(
    name: str,
    boxes: jax.Array,
    scores: jax.Array,
    *,
    score_threshold: jax.Array | float,
    iou_threshold: jax.Array | float,
    top_k: int,
    max_detections: int,
    agnostic: bool = False,
    input_size: float,
) -> Kept:
    """Suppresses the boxes of one image with a named variant.

    The names of `RULES` are `per_class_nms` with that rule; "cross_class" is "fast"
    over all classes at once, which `top_k` alone limits, as in the original;
    "sequential" is `sequential_nms`, which has no ``top_k``.

    Args:
      name: one of `NMS_VARIANTS`; static.
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      score_threshold: scalar, may be traced.
      iou_threshold: scalar, may be traced.
      top_k: boxes per class that enter suppression, the best.
      max_detections: detections kept over all classes; "cross_class" keeps `top_k`.
      agnostic: whether boxes of different classes suppress each other, each anchor
        taking part under its best class only.
      input_size: side of the network input in pixels, in which "sequential" measures.

    Returns:
      The kept detections in order of decreasing score, `slots` of them.

    Raises:
      ValueError: if there is no variant of that name.
    """
    if name not in NMS_VARIANTS:
        raise ValueError(f"`name` is {name!r}; it must be one of {NMS_VARIANTS}.")
    if name == "sequential":
        nms = functools.partial(sequential_nms, input_size=input_size)
    else:
        rule = RULES["fast" if name == "cross_class" else name]
        nms = functools.partial(per_class_nms, rule=rule, top_k=top_k)
    if agnostic or name == "cross_class":
        nms = functools.partial(class_agnostic, nms)
    return nms(
        boxes,
        scores,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=slots(name, top_k, max_detections),
    )


def slots(name: str, top_k: int, max_detections: int) -> int:
    """Number of detections D that a variant returns."""
    return top_k if name == "cross_class" else max_detections
