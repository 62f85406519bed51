"""Measures how well anchors fit a dataset, and proposes better ones.

    yolact-jax anchors --data my_pictures
    yolact-jax anchors --config configs/nuclei.py --config.data.input_size=512

Prints which share of the objects of the train split some anchor can match, by object
size and level, for the anchors of the config and for better ones, if there are; then
the flags that train with those.  For ATSS it is the share that holds the center of an
anchor.  With another input size, the anchors of the config grow in proportion.
Pretrained heads expect the anchors that they were trained with.
"""

import math
from typing import Any

from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command
from yolact_jax.config import Anchors, Data
from yolact_jax.data.errors import DatasetError
from yolact_jax.tools import anchor_fit
from yolact_jax.tools.commands import data_flag


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    data_flag.define(values)


def run(values: Any) -> None:
    """Prints both fits, and the flags."""
    config = data_flag.config_of(values)
    source = build.make_dataset(config, ("train",)).source("train")
    frame, loss = config.data.frame, config.loss
    boxes = anchor_fit.object_boxes(source, frame)
    if not len(boxes):
        raise DatasetError(f"{source!r} has no objects to fit anchors to.")
    positive_iou = None if loss.assignment == "atss" else loss.positive_iou
    proposed = anchor_fit.propose(boxes, config.anchors, frame, positive_iou)
    print(f"{len(boxes)} objects at {frame.height} x {frame.width} pixels")
    extents = anchor_fit.extents_of(boxes)
    between = anchor_fit.share_between_centers(extents, frame)
    print(
        f"{between:.1%} of them, placed at random, hold no center of an anchor of P3; "
        "ATSS leaves most of these out"
    )
    what = (
        "hold the center of an anchor, as ATSS needs"
        if positive_iou is None
        else f"overlap at least {positive_iou} with an anchor"
    )
    print(f"recall: share of the objects that {what}")
    is_new = proposed != config.anchors
    titles = {"config": config.anchors} | ({"proposed": proposed} if is_new else {})
    for title, anchors in titles.items():
        fit = anchor_fit.measure(boxes, anchors, frame, positive_iou)
        print(_table(title, anchors, fit))
    if is_new:
        print(
            f"\nTo train with the proposed anchors:\n  {_flags(proposed, config.data)}"
        )
    else:
        print("\nNo better anchors were found.")


def _table(title: str, anchors: Anchors, fit: anchor_fit.Fit) -> str:
    shape = "square" if anchors.square else f"ratios {anchors.aspect_ratios}"
    rows = [("all", None, fit.recall)]
    rows += [(n, *row) for n, row in (fit.by_size | fit.by_level).items()]
    lines = [
        f"  {name:<8}{'' if count is None else count:>8}{_percent(recall):>9}"
        for name, count, recall in rows
    ]
    head = f"\n{title}: sides {anchors.scales_px}, {shape}"
    mean = f"  mean overlap with the best anchor {fit.mean_overlap:.3f}"
    return "\n".join([head, mean, "             objects   recall", *lines])


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def _flags(anchors: Anchors, data: Data) -> str:
    is_square = isinstance(data.input_size, int)
    size = data.input_size if is_square else f'"{data.frame.size}"'
    resize = " --config.data.resize=letterbox" if data.frame.letterbox else ""
    return (
        f"--config.data.input_size={size}{resize}"
        f' --config.anchors.scales_px="{anchors.scales_px}"'
        f' --config.anchors.aspect_ratios="{anchors.aspect_ratios}"'
        f" --config.anchors.square={anchors.square}"
    )


COMMAND = Command("anchors", __doc__, define_flags, run, data_flag.find_config)
