"""Fits of anchors against loops and hand-made sets; the command on a small set."""

import dataclasses
import math

import numpy as np
import pytest

from yolact_jax.config import Anchors, InputFrame
from yolact_jax.ops.anchors import level_shapes, make_anchors
from yolact_jax.tools import anchor_fit
from yolact_jax.tools.commands.main import main

SQUARES = Anchors(aspect_ratios=(1.0,), square=False)
FRAME = InputFrame(256, 256)


def at(extents, frame=FRAME, seed=0):
    """Boxes of these extents at random places inside the input."""
    extents = np.asarray(extents, float)
    room = np.maximum([frame.width, frame.height] - extents, 0)
    start = np.random.default_rng(seed).uniform(0, 1, extents.shape) * room
    return np.concatenate([start, start + extents], axis=1)


def on_cells(sides):
    """Squares around the center of a cell of each level."""
    strides = 2.0 ** np.arange(3, 8)
    starts = strides / 2 - np.array(sides) / 2
    return np.stack([starts, starts, starts + sides, starts + sides], axis=1)


def every_anchor(anchors, frame):
    """All anchors of the grid in pixels, (x1, y1, x2, y2), and their levels."""
    shapes = level_shapes(frame.size)
    made = make_anchors(
        shapes, anchors.scales_px, anchors.aspect_ratios, frame.size, anchors.square
    ).astype(float)
    made *= (frame.width, frame.height) * 2
    per_cell = len(anchors.scales_px[0]) * len(anchors.aspect_ratios)
    levels = np.repeat(range(5), [r * c * per_cell for r, c in shapes])
    corners = np.concatenate(
        [made[:, :2] - made[:, 2:] / 2, made[:, :2] + made[:, 2:] / 2], axis=1
    )
    return corners, levels


def overlap(box, anchor):
    sides = [
        max(0.0, min(box[i + 2], anchor[i + 2]) - max(box[i], anchor[i]))
        for i in (0, 1)
    ]
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, anchor)]
    shared = sides[0] * sides[1]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("size", [(64, 64), (36, 90)])
@pytest.mark.parametrize("square", [True, False])
def test_recall_by_size_and_level_agrees_with_all_anchors_in_loops(size, square):
    frame = InputFrame(*size)
    anchors = Anchors(((9.0, 14.0), (20.0, 3.0), (33.0,) * 2, (50.0,) * 2, (70.0,) * 2))
    anchors = dataclasses.replace(anchors, square=square)
    rng = np.random.default_rng(0)
    boxes = at(rng.uniform(3, (size[1], size[0]), (40, 2)), frame)
    corners, levels = every_anchor(anchors, frame)
    sizes, by_level, total = {}, {}, 0.0
    for box in boxes.tolist():
        found = [overlap(box, anchor) for anchor in corners.tolist()]
        best = max(found)
        area = (box[2] - box[0]) * (box[3] - box[1])
        name = "small" if area < 32**2 else "medium" if area < 96**2 else "large"
        sizes.setdefault(name, []).append(best >= 0.5)
        # Anchors are float32, and several may overlap the same.
        level = min(levels[i] for i, x in enumerate(found) if x > best - 1e-6)
        by_level.setdefault(f"P{3 + level}", []).append(best >= 0.5)
        total += best
    found = anchor_fit.measure(boxes, anchors, frame, 0.5)
    for expected, part in ((sizes, found.by_size), (by_level, found.by_level)):
        for name, (count, recall) in part.items():
            hits = expected.get(name, [])
            assert count == len(hits)
            assert math.isnan(recall) if not hits else recall == np.mean(hits)
    assert found.mean_overlap == pytest.approx(total / 40, rel=1e-5)


def test_for_atss_recall_is_the_share_that_holds_a_center():
    frame = InputFrame(36, 90)
    extents = np.random.default_rng(0).uniform(1, 14, (300, 2))
    boxes = at(extents, frame)
    corners, _ = every_anchor(SQUARES, frame)
    centers = (corners[:, :2] + corners[:, 2:]) / 2
    holds = [
        any(x1 < x < x2 and y1 < y < y2 for x, y in centers) for x1, y1, x2, y2 in boxes
    ]
    found = anchor_fit.measure(boxes, SQUARES, frame, None)
    assert 0.1 < found.recall < 0.9
    assert found.recall == np.mean(holds)


def test_objects_of_five_sizes_get_these_as_scales():
    boxes = on_cells([10.0, 26.0, 50.0, 120.0, 300.0]).repeat(7, axis=0)
    found = anchor_fit.propose(boxes, SQUARES, FRAME, 0.5)
    assert found.scales_px == ((10.0,), (26.0,), (50.0,), (120.0,), (300.0,))
    assert found.aspect_ratios == (1.0,)
    fit = anchor_fit.measure(boxes, found, FRAME, 0.5)
    assert fit.mean_overlap == pytest.approx(1)


def test_long_objects_get_their_ratios():
    base = np.geomspace(20, 100, 30)
    wide, tall = np.sqrt([[4.0, 0.25], [0.25, 4.0]])
    boxes = at(np.concatenate([base[:, None] * wide, base[:, None] * tall]))
    anchors = Anchors(aspect_ratios=(1.0, 2.0))
    found = anchor_fit.propose(boxes, anchors, FRAME, 0.5)
    assert found.aspect_ratios == (0.25, 4.0)


@pytest.mark.parametrize("positive_iou", [0.5, None])
@pytest.mark.parametrize("sides", [(10, 30), (25, 60), (40, 90), (100, 200), (8, 250)])
def test_a_proposal_is_never_worse_on_the_grid(sides, positive_iou):
    """Objects of one size must not send small anchors to coarse levels."""
    extents = np.random.default_rng(1).uniform(*sides, (300, 2))
    boxes = at(extents)
    anchors = Anchors(((14.0,), (28.0,), (56.0,), (112.0,), (224.0,)))
    found = anchor_fit.propose(boxes, anchors, FRAME, positive_iou)
    corners = every_anchor(anchors, FRAME)[0], every_anchor(found, FRAME)[0]
    best = [
        np.array([max(overlap(box, a) for a in c.tolist()) for box in boxes[:40]])
        for c in corners
    ]
    before, after = (
        anchor_fit.measure(boxes, a, FRAME, positive_iou) for a in (anchors, found)
    )
    assert (after.recall, after.mean_overlap) >= (before.recall, before.mean_overlap)
    assert best[1].mean() > best[0].mean() - 0.02
    # Cells of P4 have 16 pixels, and those of P7 128.
    least = zip(found.scales_px[1:], (16, 32, 64, 128), strict=True)
    assert all(min(scales) >= 1.5 * stride for scales, stride in least)


def test_what_fits_already_stays():
    anchors = dataclasses.replace(Anchors(), aspect_ratios=(1.0,))
    boxes = on_cells([level[0] for level in anchors.scales_px])
    assert anchor_fit.propose(boxes, anchors, FRAME, 0.5) == anchors


@pytest.mark.parametrize("extent", [(3, 5), (8, 8), (20, 4), (4, 20), (50, 60)])
@pytest.mark.parametrize("frame", [(256, 256), (36, 640)])
def test_share_between_centers_agrees_with_anchors_around_random_places(frame, extent):
    frame = InputFrame(*frame)
    shapes = level_shapes(frame.size)
    rows, columns = shapes[0]
    scales = tuple((10.0,) for _ in shapes)
    anchors = make_anchors(shapes, scales, (1.0,), frame.size, True)
    centers = anchors[: rows * columns, :2] * [frame.width, frame.height]
    cell = np.array([frame.width / columns, frame.height / rows])
    low = np.random.default_rng(0).uniform(cell, 2 * cell, (4_000, 1, 2))
    holds = ((low < centers) & (centers < low + extent)).all(axis=2).any(axis=1)
    expected = 1 - holds.mean()
    found = anchor_fit.share_between_centers(np.array([extent], float), frame)
    assert found == pytest.approx(expected, abs=0.03)


def test_fewer_objects_than_anchors_are_enough():
    box = np.array([[10.0, 20.0, 40.0, 80.0]])
    found = anchor_fit.propose(box, Anchors(), FRAME, 0.5)
    assert len(found.scales_px) == 5
    assert anchor_fit.measure(box, found, FRAME, 0.5).recall == 1


def test_the_command_scales_anchors_with_the_input(tmp_path, capsys):
    words = [
        "anchors",
        "--config=shapes",
        f"--config.data.records_dir={tmp_path}",
        "--config.data.shapes_train_images=4",
        "--config.data.shapes_validation_images=1",
        "--config.data.input_size=256",
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    # Those of the config are for 128 pixels.
    doubled = "config: sides ((48.0,), (80.0,), (128.0,), (192.0,), (256.0,))"
    assert doubled in printed
    assert (
        "0.0% of them, placed at random, hold no center of an anchor of P3" in printed
    )
    kept = ((10.0,), (20.0,), (40.0,), (80.0,), (160.0,))
    assert main([*words, f"--config.anchors.scales_px={kept}"]) == 0
    printed = capsys.readouterr().out
    assert f"config: sides {kept}" in printed
    assert "--config.data.input_size=256 --config.anchors.scales_px=" in printed
