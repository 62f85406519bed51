"""Mask assembly, crop and resize on hand-made numbers and against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.transforms import assert_jit_and_vmap_agree
from tests.reference import masks as ref
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops.resize import resize_bilinear

crop_masks = jax.jit(mask_ops.crop_masks)
assemble_masks = jax.jit(mask_ops.assemble_masks)
resize = jax.jit(resize_bilinear, static_argnames="size")


def random_normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_boxes(seed, *shape):
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.3, 1.3, (*shape, 4)).astype(np.float32)


def test_one_prototype_at_one_pixel():
    prototypes = np.zeros((2, 3, 2), np.float32)
    prototypes[1, 2] = (2, 3)
    mask = assemble_masks(prototypes, np.array([[1, -1]], np.float32))
    expected = np.full((1, 2, 3), 0.5)
    expected[0, 1, 2] = 1 / (1 + np.e)
    np.testing.assert_allclose(mask, expected, rtol=1e-6)


def test_assembly_agrees_with_loops():
    prototypes, coefficients = random_normal(0, 7, 5, 8), random_normal(1, 6, 8)
    np.testing.assert_allclose(
        assemble_masks(prototypes, coefficients),
        ref.assemble(prototypes, coefficients),
        rtol=1e-5,
    )


def test_crop_of_the_documented_example():
    box = np.array([[0.26, 0.31, 0.58, 0.70]], np.float32)
    cropped = np.asarray(crop_masks(np.ones((1, 10, 10)), box, 1))[0]
    expected = np.zeros((10, 10))
    expected[3:8, 2:7] = 1
    np.testing.assert_array_equal(cropped, expected)


@pytest.mark.parametrize(
    ("box", "padding", "columns"),
    [
        pytest.param((0.25, 0, 0.75, 1), 0, (2, 3, 4, 5), id="whole pixels"),
        pytest.param((0.25, 0, 0.75, 1), 1, (1, 2, 3, 4, 5, 6), id="padded"),
        pytest.param((0.75, 0, 0.25, 1), 1, (1, 2, 3, 4, 5, 6), id="swapped"),
        pytest.param((0.3, 0, 0.7, 1), 0, (3, 4, 5), id="not rounded"),
        pytest.param((0.375, 0, 0.375, 1), 1, (2, 3), id="no width"),
        pytest.param((0.375, 0, 0.375, 1), 0, (), id="no width, no padding"),
        pytest.param((-2, 0, 3, 1), 1, tuple(range(8)), id="larger than the map"),
        pytest.param((1.25, 0, 1.5, 1), 1, (), id="outside right"),
        pytest.param((-0.5, 0, -0.25, 1), 1, (), id="outside left"),
        pytest.param((1.0, 0, 1.5, 1), 1, (7,), id="padding reaches in"),
    ],
)
def test_columns_kept_of_named_boxes(box, padding, columns):
    box = np.array([box], np.float32)
    expected = np.isin(np.arange(8), columns)
    cropped = np.asarray(crop_masks(np.ones((1, 3, 8)), box, padding))[0]
    np.testing.assert_array_equal(cropped, np.broadcast_to(expected, (3, 8)))
    turned = box[:, [1, 0, 3, 2]]
    cropped = np.asarray(crop_masks(np.ones((1, 8, 3)), turned, padding))[0]
    np.testing.assert_array_equal(cropped, np.broadcast_to(expected, (3, 8)).T)


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_crop_agrees_with_loops(padding):
    masks, boxes = 1 + random_normal(2, 20, 13, 17) ** 2, random_boxes(3, 20)
    cropped = crop_masks(masks, boxes, padding)
    expected = ref.crop(masks, boxes, padding)
    assert 0.1 < (expected > 0).mean() < 0.9
    np.testing.assert_array_equal(cropped, expected)


def test_crop_removes_nan_and_its_gradient():
    masks = np.ones((1, 4, 4), np.float32)
    masks[0, 3, 3] = np.nan
    box = np.array([[0, 0, 0.25, 0.25]], np.float32)
    assert np.isfinite(crop_masks(masks, box)).all()
    gradient = jax.grad(lambda m: crop_masks(m, box).sum())(jnp.ones((1, 4, 4)))
    expected = np.zeros((1, 4, 4))
    expected[:, :2, :2] = 1
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize(
    "size", [(9, 7), (18, 14), (4, 4), (3, 20), (1, 1), (31, 5), (10, 8)]
)
def test_resize_agrees_with_loops(size):
    image = random_normal(4, 9, 7)
    np.testing.assert_allclose(
        resize(image, size), ref.resize(image, size), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("size", [(18, 14), (4, 4), (3, 20), (1, 1), (31, 5), (9, 7)])
def test_gradient_of_resize_is_its_transpose(size):
    image, gradient = random_normal(4, 9, 7), random_normal(5, *size)
    pixels = np.eye(63, dtype=np.float64).reshape(63, 9, 7)
    expected = [np.sum(ref.resize(pixel, size) * gradient) for pixel in pixels]
    _, pull_back = jax.vjp(lambda image: resize(image, size), image)
    (got,) = pull_back(gradient)
    np.testing.assert_allclose(got.ravel(), expected, rtol=1e-4, atol=1e-5)


def test_shrinking_does_not_average():
    # Every output reads two taps per axis: the far pixels leave no trace.
    image = np.zeros((1, 9), np.float32)
    image[0, 0] = image[0, 8] = 9
    np.testing.assert_allclose(resize(image, (1, 1)), [[0.0]])
    np.testing.assert_allclose(resize(image, (1, 3)), [[0.0, 0.0, 0.0]])


def test_doubling_repeats_the_border():
    image = np.array([[0.0, 4.0]], np.float32)
    np.testing.assert_allclose(resize(image, (2, 4)), [[0, 1, 3, 4]] * 2, atol=1e-6)


def test_resize_keeps_leading_axes():
    images = random_normal(5, 2, 3, 6, 4)
    resized = resize(images, (5, 9))
    assert resized.shape == (2, 3, 5, 9)
    np.testing.assert_allclose(
        resized[1, 2], resize(images[1, 2], (5, 9)), rtol=1e-6, atol=1e-6
    )


def test_no_detections():
    prototypes = random_normal(6, 5, 4, 3)
    masks = assemble_masks(prototypes, np.zeros((0, 3), np.float32))
    assert masks.shape == (0, 5, 4)
    cropped = crop_masks(masks, np.zeros((0, 4), np.float32))
    assert cropped.shape == (0, 5, 4)
    assert resize(cropped, (7, 7)).shape == (0, 7, 7)


def test_padding_slots_do_not_matter():
    prototypes, coefficients = random_normal(7, 6, 5, 4), random_normal(8, 3, 4)
    boxes = random_boxes(9, 3)

    def masks(coefficients, boxes):
        assembled = assemble_masks(prototypes, coefficients)
        return crop_masks(assembled, boxes)

    padded = masks(
        np.concatenate([coefficients, 0 * coefficients]),
        np.concatenate([boxes, 0 * boxes]),
    )
    np.testing.assert_allclose(padded[:3], masks(coefficients, boxes), rtol=1e-6)


def test_jit_and_vmap_change_nothing():
    prototypes, coefficients = random_normal(10, 3, 6, 5, 4), random_normal(11, 3, 7, 4)
    masks, boxes = random_normal(12, 3, 7, 6, 5), random_boxes(13, 3, 7)
    for function, *arrays in (
        (mask_ops.assemble_masks, prototypes, coefficients),
        (mask_ops.crop_masks, masks, boxes),
        (lambda images: resize_bilinear(images, (4, 11)), masks),
    ):
        assert_jit_and_vmap_agree(function, *arrays, rtol=1e-5, atol=1e-6)


ENLARGERS = [mask_ops.enlarge_in_tiles, mask_ops.enlarge_at_once]


def enlarged(enlarge, masks, size, canvas):
    """Writes masks behind an empty slot."""
    empty = jnp.zeros((len(masks) + 1, canvas[0], -(-canvas[1] // 8)), jnp.uint8)
    packed = jax.jit(enlarge)(empty, 1, masks, jnp.array(size))
    assert not packed[0].any()
    return np.asarray(packed)[1:]


@pytest.mark.parametrize("enlarge", ENLARGERS)
@pytest.mark.parametrize(
    ("size", "canvas"),
    [((20, 33), (24, 40)), ((30, 29), (30, 29)), ((5, 11), (16, 12))],
)
def test_enlarged_masks_equal_loops(enlarge, size, canvas):
    masks = np.random.default_rng(5).uniform(size=(3, 9, 12)).astype(np.float32)
    bits = np.unpackbits(enlarged(enlarge, masks, size, canvas), axis=-1)
    assert not bits[:, size[0] :].any()
    assert not bits[:, :, size[1] :].any()
    for mask, pixels in zip(masks, bits, strict=True):
        expected = ref.resize(mask, size)
        unclear = np.abs(expected - 0.5) < 1e-5
        assert np.all((pixels[: size[0], : size[1]] == (expected > 0.5)) | unclear)


@pytest.mark.parametrize("size", [(21, 30), (300, 571), (4, 600), (389, 7)])
def test_both_ways_to_enlarge_give_the_same_bits(size):
    """Masks of all extents: full, empty, one cell, an edge, a part; and many tiles."""
    rng = np.random.default_rng(6)
    masks = rng.uniform(size=(12, 9, 14)).astype(np.float32)
    for mask in masks[1:]:
        (y, x), (h, w) = rng.integers(0, (9, 14)), rng.integers(0, (5, 9))
        mask[:y], mask[y + h :], mask[:, :x], mask[:, x + w :] = 0, 0, 0, 0
    assert {0, 1} <= {int((mask > 0.5).sum()) for mask in masks}
    canvas = tuple(side + 13 for side in size)
    tiles, at_once = (enlarged(way, masks, size, canvas) for way in ENLARGERS)
    np.testing.assert_array_equal(tiles, at_once)
    assert tiles.any()
