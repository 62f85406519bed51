"""Fits of anchors against loops and hand-made sets; the command on a small set."""

import math

import numpy as np
import pytest

from yolact_jax.config import Anchors, InputFrame
from yolact_jax.ops.anchors import level_shapes, make_anchors
from yolact_jax.tools import anchor_fit
from yolact_jax.tools.commands.main import main

SQUARES = Anchors(aspect_ratios=(1.0,))


def overlap(box, shape):
    shared = min(box[0], shape[0]) * min(box[1], shape[1])
    return shared / (box[0] * box[1] + shape[0] * shape[1] - shared)


def test_recall_by_size_and_level_agrees_with_loops():
    extents = np.random.default_rng(0).uniform(4, 400, (50, 2))
    anchors = Anchors(square=False)
    shapes = [
        (level, side * math.sqrt(ratio), side / math.sqrt(ratio))
        for level, (side,) in enumerate(anchors.scales_px)
        for ratio in anchors.aspect_ratios
    ]
    sizes, levels, total = {}, {}, 0.0
    for box in extents.tolist():
        best = max((overlap(box, s[1:]), -i) for i, s in enumerate(shapes))
        area = box[0] * box[1]
        size = "small" if area < 32**2 else "medium" if area < 96**2 else "large"
        sizes.setdefault(size, []).append(best[0] >= 0.5)
        levels.setdefault(f"P{3 + shapes[-best[1]][0]}", []).append(best[0] >= 0.5)
        total += best[0]
    found = anchor_fit.measure(extents, anchors, 0.5)
    for expected, part in ((sizes, found.by_size), (levels, found.by_level)):
        for name, (count, recall) in part.items():
            hits = expected.get(name, [])
            assert count == len(hits)
            assert math.isnan(recall) if not hits else recall == np.mean(hits)
    assert found.mean_overlap == pytest.approx(total / 50)


def test_objects_of_five_sizes_get_these_as_scales():
    sides = np.repeat([10.0, 22.0, 50.0, 120.0, 300.0], 7)
    extents = np.stack([sides, sides], axis=1)
    found = anchor_fit.propose(extents, SQUARES)
    assert found.scales_px == ((10.0,), (22.0,), (50.0,), (120.0,), (300.0,))
    assert found.aspect_ratios == (1.0,)
    assert anchor_fit.measure(extents, found, 0.5).mean_overlap == pytest.approx(1)


def test_long_objects_get_their_ratios():
    base = np.geomspace(20, 200, 30)
    wide, tall = np.sqrt([[4.0, 0.25], [0.25, 4.0]])
    extents = np.concatenate([base[:, None] * wide, base[:, None] * tall])
    found = anchor_fit.propose(extents, Anchors(aspect_ratios=(1.0, 2.0)))
    assert found.aspect_ratios == (0.25, 4.0)


def test_a_proposal_fits_better_than_what_it_replaces():
    rng = np.random.default_rng(1)
    sides = np.exp(rng.normal(3, 0.5, 200))
    extents = sides[:, None] * np.exp(rng.normal(0, 0.2, (200, 2)))
    before, after = (
        anchor_fit.measure(extents, anchors, 0.5).mean_overlap
        for anchors in (Anchors(), anchor_fit.propose(extents, Anchors()))
    )
    assert after > before


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
    found = anchor_fit.propose(np.array([[30.0, 60.0]]), Anchors())
    assert len(found.scales_px) == 5
    assert anchor_fit.measure(np.array([[30.0, 60.0]]), found, 0.5).recall == 1


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
    assert "--config.data.input_size=256 --config.anchors.scales_px=" in printed
    kept = ((10.0,), (20.0,), (40.0,), (80.0,), (160.0,))
    assert main([*words, f"--config.anchors.scales_px={kept}"]) == 0
    assert f"config: sides {kept}" in capsys.readouterr().out
