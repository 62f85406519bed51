"""The config chooses the rule; levels are read off the shapes."""

import jax
import numpy as np
import pytest

from tests.helpers import scenes
from tests.reference import atss as ref
from yolact_jax.config import Loss
from yolact_jax.losses.assignment import cell_shapes, match_batch
from yolact_jax.losses.yolact import yolact_losses
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.structures import Batch

OPTIONS = [
    Loss(assignment="atss", overlap="mask_aware", box="ciou"),
    Loss(assignment="atss", box="diou"),
]


@pytest.mark.parametrize("input_size", [64, 256, 400, 550, 700, (384, 640)])
@pytest.mark.parametrize("per_cell", [1, 3, 9])
def test_levels_have_the_cells_of_the_anchors(input_size, per_cell):
    height, width = input_size if isinstance(input_size, tuple) else (input_size,) * 2
    rows, columns = anchor_ops.level_sizes(height), anchor_ops.level_sizes(width)
    expected = tuple(zip(rows, columns, strict=True))
    cells = sum(r * c for r, c in expected)
    mask_size = anchor_ops.prototype_size((height, width))
    assert cell_shapes(per_cell * cells, mask_size) == expected


@pytest.mark.parametrize("num_anchors", [0, 100])
def test_anchors_of_other_levels_are_refused(num_anchors):
    with pytest.raises(ValueError, match=f"{num_anchors} anchors; .* multiple of the"):
        cell_shapes(num_anchors, (scenes.MASK_SIZE, scenes.MASK_SIZE))


def test_candidates_are_cells_however_many_anchors_each_has():
    """As the authors of ATSS count them: each cell adds all its anchors."""
    batch = scenes.rectangles([4])
    sizes = anchor_ops.level_sizes(4 * scenes.MASK_SIZE)
    scales = ((8.0,), (16.0,), (32.0,), (48.0,), (64.0,))
    anchors = anchor_ops.make_anchors(sizes, scales, (1.0, 0.5, 2.0), 64, True)
    matches = match_batch(batch, anchors, Loss(assignment="atss"))
    count = int(batch.is_object[0].sum())
    expected, _ = ref.match(
        batch.boxes[0, :count].tolist(),
        batch.labels[0, :count].tolist(),
        anchors.tolist(),
        [3 * size**2 for size in sizes],
        27,
    )
    np.testing.assert_array_equal(matches.class_target[0], expected)


def test_distances_are_those_of_the_network_input_and_not_of_its_masks():
    """Maps are rounded up: (97, 200) pixels have masks of (26, 50)."""
    input_size, count = (97, 200), 200
    sizes = list(zip(*map(anchor_ops.level_sizes, input_size), strict=True))
    scales = ((24.0,), (48.0,), (96.0,), (192.0,), (384.0,))
    anchors = anchor_ops.make_anchors(sizes, scales, (1.0,), input_size, True)
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 0.7, (count, 1, 2))
    boxes = np.concatenate([start, start + rng.uniform(0.05, 0.3, start.shape)], 2)
    used = np.ones((count, 1), bool)
    batch = Batch(
        images=np.broadcast_to(np.uint8(0), (count, *input_size, 3)),
        boxes=boxes.astype(np.float32),
        labels=np.zeros((count, 1), np.int32),
        masks=np.zeros((count, 1, *anchor_ops.prototype_size(input_size)), np.uint8),
        valid=used,
        crowd=~used,
    )
    found = match_batch(batch, anchors, Loss(assignment="atss")).class_target
    pixels = np.tile(input_size[::-1], 2)
    for box, targets in zip(batch.boxes[:, 0], found, strict=True):
        expected, _ = ref.match(
            [(box.astype(float) * pixels).tolist()],
            [0],
            (anchors.astype(float) * pixels).tolist(),
            [rows * columns for rows, columns in sizes],
            9,
        )
        np.testing.assert_array_equal(targets, expected)


@pytest.mark.long
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: o.overlap)
def test_losses_and_gradients_are_finite_with_and_without_objects(options):
    batch, anchors = scenes.rectangles([0, 1, 4]), scenes.tiny_anchors()
    model = scenes.tiny_model()
    images = batch.images.astype(np.float32)
    predictions = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), images, train=True)[0]
    )
    key = jax.random.key(1)
    predictions = jax.tree.map(lambda x: jax.random.uniform(key, x.shape), predictions)

    def total(predictions, batch):
        priority = scenes.random_priority(predictions)
        return yolact_losses(
            predictions, batch, anchors, priority=priority, options=options
        ).total

    graded = jax.jit(jax.value_and_grad(total))
    for part in (batch, jax.tree.map(lambda x: x.at[:].set(x[:1]), batch)):
        for leaf in jax.tree.leaves(graded(predictions, part)):
            assert np.all(np.isfinite(leaf))
    positive = match_batch(batch, anchors, options).positive
    assert positive.any(axis=1).tolist() == [False, True, True]
