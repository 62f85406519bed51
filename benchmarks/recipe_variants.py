"""Which options the recipe benchmark compares, alone and together."""

from yolact_jax.zoo.specs import MODERN, spec


def without(fields: dict[str, object], others: dict[str, object]) -> dict[str, object]:
    """Returns the fields of a variant except those that `others` has."""
    return {field: fields[field] for field in fields if field not in others}


_ATSS = {"loss.assignment": "atss"}
_MASK_AWARE = _ATSS | {"loss.overlap": "mask_aware"}
_CIOU = {"loss.box": "ciou"}
_COVERAGE = {"data.mask_target": "coverage"}
_DIVISOR = {"loss.min_mask_cells": 1.0}
_ONE_ANCHOR = {"anchors.aspect_ratios": (1.0,)}
_FOUR_STRIDES = {"anchors.scales_px": spec("modern").anchors.scales_px}
_ADAMW = {
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 1e-3,
    "optimizer.warmup_rate": 1e-5,
    "optimizer.weight_decay": 0.05,
}
_AVERAGE = {"train.ema_decay": 0.999}
_LETTERBOX = {"data.resize": "letterbox"}
_MASK_IOU = {"model.mask_iou": True}
_MULTI_SCALE = {"train.multi_scale": (0.75, 1.0, 1.25)}  # Shares of the input size.
VARIANTS = {
    "faithful": {},
    "ciou": _CIOU,
    "diou": {"loss.box": "diou"},
    "one anchor": _ONE_ANCHOR,
    "atss": _ATSS,
    "atss, one anchor": _ATSS | _ONE_ANCHOR,
    "mask-aware atss": _MASK_AWARE,
    "mask-aware atss, one anchor": _MASK_AWARE | _ONE_ANCHOR,
    "cosine": {"optimizer.schedule": "cosine"},
    "adamw": _ADAMW,
    "average": _AVERAGE,
    "letterbox": _LETTERBOX,
    "large-scale jitter": _LETTERBOX | {"augment.large_scale_jitter": True},
    "divisor of 1 cell, large-scale jitter, objects of 64 px and more": (
        _DIVISOR
        | _LETTERBOX
        | {"augment.large_scale_jitter": True, "augment.min_object_px": 64.0}
    ),
    "multi-scale": _MULTI_SCALE,
    "divisor of 1 cell, multi-scale": _DIVISOR | _MULTI_SCALE,
    "mask iou": _MASK_IOU,
    "mask iou of any area": _MASK_IOU | {"loss.min_mask_area": 0},
    # Published: 25.
    "mask iou of weight 1": _MASK_IOU | {"loss.mask_iou_weight": 1.0},
    "center masks": {"data.mask_target": "center"},
    "coverage masks": _COVERAGE,
    "divisor of 1 cell": _DIVISOR,
    "coverage masks, divisor of 1 cell": _COVERAGE | _DIVISOR,
    "coverage masks, divisor of 1 cell, ciou": _COVERAGE | _DIVISOR | _CIOU,
    "coverage masks, divisor of 1 cell, mask-aware atss": (
        _COVERAGE | _DIVISOR | _MASK_AWARE
    ),
    "modern": MODERN,
    "modern, original masks": without(MODERN, _COVERAGE),
    "modern, anchors of 4 strides": MODERN | _FOUR_STRIDES,
    "modern, three anchors": without(MODERN, _ONE_ANCHOR),
    "modern, three anchors, 3 candidates": (
        without(MODERN, _ONE_ANCHOR) | {"loss.atss_candidates": 3}
    ),
    "modern, published assignment": without(MODERN, _ONE_ANCHOR | _MASK_AWARE),
    "modern, adamw": MODERN | _ADAMW,
    "modern, ciou": MODERN | _CIOU,
    "modern, steps": without(MODERN, {"optimizer.schedule": "cosine"}),
    "modern, no average": without(MODERN, _AVERAGE),
}
"""Name -> fields of the config that differ from the faithful one."""
VARIANTS |= {
    # 1.5 / 5: as CIoU weighed before it counted five times.
    f"{name}, ciou of weight 0.3": VARIANTS[name] | _CIOU | {"loss.box_weight": 0.3}
    for name in (
        "faithful",
        "modern",
        "modern, original masks",
        "modern, three anchors, 3 candidates",
        "modern, published assignment",
    )
}
NEED_LARGE_INPUT = tuple(name for name in VARIANTS if name.startswith("mask iou"))
"""Those that the input of shapes is too small for."""
DETECTIONS = {
    "cluster_diou": {"eval.nms": "cluster_diou"},
    "cluster_penalty": {"eval.nms": "cluster_penalty"},
    "weighted boxes": {"eval.weighted_boxes": True},
    "cluster_penalty, weighted boxes": {
        "eval.nms": "cluster_penalty",
        "eval.weighted_boxes": True,
    },
}
"""The same for other ways to detect, with the weights of the faithful recipe."""
