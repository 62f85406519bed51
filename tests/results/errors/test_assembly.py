"""Host-side assembly against the device's operations and NumPy."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolact_jax.config import InputFrame
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.results.errors import assembly
from yolact_jax.structures import Detections


@pytest.mark.parametrize(("seed", "letterbox"), [(0, 0), (1, 0), (2, 0), (3, 1)])
def test_masks_are_those_of_inference(seed, letterbox):
    generator = np.random.default_rng(seed)
    prototypes = generator.random((20, 20, 4), np.float32) * 3
    coefficients = generator.uniform(-1, 1, (6, 4)).astype(np.float32)
    corners = generator.uniform(-0.1, 1.1, (6, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    size = 61, 83
    zeros = jnp.zeros(6)
    detections = Detections(
        boxes=jnp.array(boxes),
        scores=zeros + 1,
        labels=zeros.astype(jnp.int32),
        coefficients=jnp.array(coefficients),
        anchor_index=zeros.astype(jnp.int32),
        valid=zeros == 0,
    )
    frame = InputFrame(80, 80, letterbox=bool(letterbox))
    shown = frame.used_cells(*size, (20, 20)) if letterbox else None
    packed = jax.jit(full_size_masks, static_argnums=(3, 4))(
        detections, jnp.array(prototypes), jnp.array(size), size, frame
    )
    expected = np.unpackbits(np.asarray(packed), axis=-1, count=size[1]).astype(bool)
    ours = [
        assembly.enlarged(assembly.cropped(one, box, shown), size, shown)
        for one, box in zip(
            assembly.assemble(prototypes, coefficients), boxes, strict=True
        )
    ]
    assert expected.any()
    # Rounding may decide pixels at 0.5.
    assert (np.array(ours) != expected).sum() <= 2


def test_objects_of_a_letterboxed_image_cover_their_cells():
    """Cells of 4 x 4 pixels, of which the image reaches into 6 rows and 3 columns."""
    mask = np.random.default_rng(0).random((24, 10)) < 0.5
    padded = np.zeros((24, 24))
    padded[:, :10] = mask
    expected = padded.reshape(6, 4, 6, 4).mean(axis=(1, 3))
    found = assembly.reduced(mask, (6, 6), (6, 2.5))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_best_coefficients_are_the_least_squares():
    generator = np.random.default_rng(0)
    prototypes = generator.random((12, 12, 3), np.float32)
    target = generator.random((12, 12)).astype(np.float32)
    box = np.array([0.25, 0.25, 0.75, 0.5])
    found = assembly.best_coefficients(prototypes, target, box)
    # A padding of one cell on all sides.
    rows, columns = slice(2, 7), slice(2, 10)
    basis = prototypes[rows, columns].reshape(-1, 3)
    wanted = 8 * target[rows, columns].ravel() - 4
    expected, *_ = np.linalg.lstsq(basis, wanted)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    # Equal and empty prototypes divide by no zero.
    equal = np.repeat(prototypes[..., :1], 3, axis=-1)
    for odd in (equal, 0 * equal):
        assert np.isfinite(assembly.best_coefficients(odd, target, box)).all()


def test_overlaps_agree_with_pycocotools():
    generator = np.random.default_rng(1)
    truths = generator.random((4, 30, 40)) > 0.6
    truths[3, :, :] = False
    crowd = np.array([0, 1, 0, 0], bool)
    noise = cv2.blur(generator.random((30, 40)).astype(np.float32), (5, 5))
    for mask in (noise > 0.5, np.zeros((30, 40), bool)):
        every = np.asfortranarray(np.stack([mask, *truths], axis=-1), np.uint8)
        rles = coco_mask.encode(every)
        expected = coco_mask.iou(rles[:1], rles[1:], crowd.astype(int).tolist())[0]
        found = assembly.mask_overlaps(mask, truths, crowd)
        np.testing.assert_allclose(found, np.nan_to_num(expected))
    boxes = generator.random((5, 2, 2))
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], axis=1)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    expected = coco_mask.iou(xywh[:2], xywh[2:], [0] * 3)
    np.testing.assert_allclose(assembly.box_overlaps(boxes[:2], boxes[2:]), expected)
