"""From raw predictions to detections, all on the device."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from yolact_jax.config import Eval, Size, sides_of
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops.nms import candidates
from yolact_jax.ops.nms.pairs import best_pairs_nms
from yolact_jax.ops.nms.per_class import Kept
from yolact_jax.ops.nms.variants import DROPPING_RULES, run_nms
from yolact_jax.ops.nms.weighted import weighted_boxes
from yolact_jax.structures import Array, Detections, Predictions


@dataclasses.dataclass(frozen=True)
class Shortcuts:
    """Faster ways to the same detections.

    Attributes:
      capacities: increasing numbers of candidates, the anchors that may pass the score
        threshold.  Only they are scored and sorted, padded to the first number that is
        enough for all images of the batch; without one, as with (), all anchors are.
      pairs: (anchor, class) pairs of the candidates on which `best_pairs_nms` is
        tried first; 0 never tries.
      least_scores: fewer scores, anchors times classes, are all sorted at once: that
        takes less than a millisecond, and a third of the time to compile.
    """

    capacities: tuple[int, ...] = (64, 384, 1024)
    pairs: int = 1024
    least_scores: int = 8192

    def tiers(self, num_anchors: int, num_classes: int) -> list[int]:
        """Returns the capacities worth having."""
        if num_anchors * num_classes < self.least_scores:
            return []
        return [each for each in self.capacities if each < num_anchors]


@dataclasses.dataclass(frozen=True)
class _Rules:
    """What all ways to the detections share; thresholds may be traced."""

    options: Eval
    input_size: tuple[int, int]
    thresholds: dict[str, Array | float]
    pairs: int


def detect(
    predictions: Predictions,
    anchors_cxcywh: Array,
    *,
    score_threshold: Array | float,
    iou_threshold: Array | float,
    options: Eval,
    input_size: Size,
    shortcuts: Shortcuts = Shortcuts(),
) -> Detections:
    """Decodes the predictions of a batch and suppresses duplicates.

    The result always equals that of the plain way, which scores and sorts all anchors
    under all classes; means of boxes do but for rounding.  The conditions that choose
    a shorter way are on the whole batch: `jax.lax.cond` under `jax.vmap` would compute
    both branches for every image.

    Args:
      predictions: network outputs.
      anchors_cxcywh: [A, 4] float32.
      score_threshold: least score an anchor needs in its best class; may be traced.
      iou_threshold: overlap above which the lower score goes; may be traced.
      options: which NMS, and its sizes; its thresholds are not used.
      input_size: of the network, pixels, in which "sequential" measures.
      shortcuts: change the time it takes, not the result.

    Returns:
      Detections [B, D], boxes of the network input; all 0 in slots that are not valid.
    """
    # Decoded here for all ways below, which then see the same boxes to the last bit.
    boxes = box_ops.decode(predictions.box_deltas, anchors_cxcywh[None])
    images = (boxes, predictions.class_logits, predictions.coefficients)
    thresholds = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}
    rules = _Rules(options, sides_of(input_size), thresholds, shortcuts.pairs)

    def among_all() -> Detections:
        return _detect_among(images, rules)

    num_anchors, num_logits = predictions.class_logits.shape[1:]
    capacities = shortcuts.tiers(num_anchors, num_logits - 1)
    if not capacities:
        return among_all()
    mask = candidates.may_score_above(predictions.class_logits, score_threshold)

    def among_candidates(capacity: int) -> Detections:
        index, valid = jax.vmap(lambda m: candidates.compact(m, capacity))(mask)
        compact = jax.tree.map(jax.vmap(lambda x, i: x[i]), images, (index,) * 3)
        found = _detect_among(compact, rules, valid)
        anchor_index = jnp.take_along_axis(index, found.anchor_index, axis=1)
        anchor_index = jnp.where(found.valid, anchor_index, 0)
        return dataclasses.replace(found, anchor_index=anchor_index)

    most = jnp.max(jnp.sum(mask, axis=-1, dtype=jnp.int32))
    tier = jnp.sum(most > jnp.array(capacities), dtype=jnp.int32)
    ways = [functools.partial(among_candidates, c) for c in capacities]
    return jax.lax.switch(tier, [*ways, among_all])


def _detect_among(images, rules: _Rules, valid=None) -> Detections:
    """Detections [B, D] among all anchors given, or [B, A] valid ones."""
    boxes, logits, coefficients = images
    scores = jax.nn.softmax(logits)[..., 1:]
    in_squares = box_ops.in_squares(boxes, rules.input_size)
    if valid is None:
        kept = _suppress(in_squares, scores, rules)
    else:
        scores = jnp.where(valid[..., None], scores, -1.0)
        kept = _suppress_candidates(in_squares, scores, rules)

    def pick(values):
        picked = jnp.take_along_axis(values, kept.anchor_index[..., None], axis=1)
        return jnp.where(kept.valid[..., None], picked, 0.0)

    if rules.options.weighted_boxes:
        threshold = rules.thresholds["score_threshold"]
        weigh = jax.vmap(weighted_boxes, (0, 0, 0, None))
        means = weigh(kept, boxes, scores, threshold)
        means = jnp.where(kept.valid[..., None], means, 0.0)
    else:
        means = pick(boxes)
    return Detections(
        boxes=means,
        scores=kept.scores,
        labels=kept.labels,
        coefficients=pick(coefficients),
        anchor_index=kept.anchor_index,
        valid=kept.valid,
    )


def _suppress(boxes, scores, rules: _Rules) -> Kept:
    """The plain way: every anchor under every class.  All arrays have a B axis."""
    options = rules.options
    one_image = functools.partial(
        run_nms,
        options.nms,
        **rules.thresholds,
        top_k=options.top_k,
        max_detections=options.max_detections,
        agnostic=options.class_agnostic,
        input_size=max(rules.input_size),
    )
    return jax.vmap(one_image)(boxes, scores)


def _suppress_candidates(boxes, scores, rules: _Rules) -> Kept:
    """The same, by the best pairs if that is less work and they suffice."""

    def plain() -> Kept:
        return _suppress(boxes, scores, rules)

    options = rules.options
    rule = DROPPING_RULES.get(options.nms)
    _, num_anchors, num_classes = scores.shape
    overlaps = num_classes * min(options.top_k, num_anchors) ** 2
    worth_it = 0 < rules.pairs**2 < overlaps
    if rule is None or options.class_agnostic or not worth_it:
        return plain()
    one_image = functools.partial(
        best_pairs_nms,
        rule=rule,
        **rules.thresholds,
        top_k=options.top_k,
        max_detections=options.max_detections,
        pairs=rules.pairs,
    )
    kept, exact = jax.vmap(one_image)(boxes, scores)
    return jax.lax.cond(jnp.all(exact), lambda: kept, plain)


def rescore_masks(
    detections: Detections,
    prototypes: jax.Array,
    mask_iou_fn: Callable[[jax.Array], jax.Array],
) -> Detections:
    """Adds the scores of the masks: box score times predicted IoU (YOLACT++).

    Args:
      detections: of one image, without the B axis.
      prototypes: [Hp, Wp, K] float32.
      mask_iou_fn: maps [D, Hp, Wp] soft masks to the predicted IoU [D, C].
    """
    soft = mask_ops.assemble_masks(prototypes, detections.coefficients)
    ious = mask_iou_fn(mask_ops.crop_masks(soft, detections.boxes))
    ious = jnp.take_along_axis(ious, detections.labels[:, None], axis=1)[:, 0]
    return dataclasses.replace(detections, mask_scores=detections.scores * ious)


def keep_chosen(detections: Detections, score_thresholds: Array) -> Detections:
    """Keeps the objects that score enough for their class, and moves them to the front.

    Args:
      detections: of one image, without the B axis.
      score_thresholds: [C] float32, least score of each class; that of the mask counts
        if there is one.

    Returns:
      [D] detections in the same order; everything is 0 in slots that are not valid.
    """
    scores = detections.mask_scores
    scores = detections.scores if scores is None else scores
    enough = scores >= jnp.asarray(score_thresholds)[detections.labels]
    keep = detections.valid & (detections.scores > 0) & enough
    order = jnp.argsort(~keep, stable=True)
    valid = keep[order]

    def moved(x: jax.Array) -> jax.Array:
        used = valid.reshape(-1, *[1] * (x.ndim - 1))
        return jnp.where(used, x[order], jnp.zeros_like(x))

    return jax.tree.map(moved, detections)
