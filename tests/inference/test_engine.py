"""The engines, with a stand-in for what runs the program."""

import types

import numpy as np
import pytest

from yolact_jax.inference.engine import Engine, Outputs
from yolact_jax.inference.exported import onnx_file
from yolact_jax.structures import Detections


def engine_of(calls):
    """Finds one object in each image; its score is that of the first pixel."""

    def predict(_variables, canvases, sizes, _choices):
        canvases = np.asarray(canvases)
        calls.append(len(canvases))
        count, side = canvases.shape[:2]
        scores = canvases[:, :1, 0, 0].astype(np.float32) / 255
        zeros = np.zeros((count, 1), np.int32)
        detections = Detections(
            boxes=np.zeros((count, 1, 4), np.float32),
            scores=scores,
            labels=zeros,
            coefficients=np.zeros((count, 1, 2), np.float32),
            anchor_index=zeros,
            valid=zeros == 0,
        )
        masks = np.zeros((count, 1, side, side // 8), np.uint8)
        return Outputs(detections, masks, np.zeros((count, 4, 4, 2), np.float32))

    return Engine(predict, {}, 2, 0.05, 0.5, channels=3, smallest_anchor_px=1)


def image(value, side=40):
    return np.full((side, side, 3), value, np.uint8)


def test_the_next_batch_starts_before_the_last_is_used():
    calls = []
    found = engine_of(calls).stream_unordered((image(i + 1) for i in range(5)), None)
    seen = {}
    for index, (detections, _) in found:
        seen[index] = detections.scores
        # The last two batches start with nothing after them.
        assert len(calls) == min(index // 2 + 2, 3)
    assert sorted(seen) == list(range(5))
    for index, scores in seen.items():
        np.testing.assert_allclose(scores, [(index + 1) / 255])


def test_every_image_of_mixed_sizes_comes_back_once():
    sides = [40, 100, 40, 300, 100, 40]
    images = [image(i + 1, side) for i, side in enumerate(sides)]
    found = dict(engine_of([]).stream_unordered(images, None))
    assert sorted(found) == list(range(6))
    for index, (detections, masks) in found.items():
        np.testing.assert_allclose(detections.scores, [(index + 1) / 255])
        assert masks.size == (sides[index],) * 2
    assert list(engine_of([]).stream_unordered([], None)) == []


def onnx_engine(run, batch_size):
    """An engine whose runtime is a function of the images."""
    session = types.SimpleNamespace(
        get_outputs=lambda: [], run=lambda names, inputs: run(inputs["image"])
    )
    return onnx_file.OnnxEngine(session, batch_size, 0.05, 0.5, 3, 1)


def test_onnx_batches_are_smaller_for_large_images():
    shapes = []

    def run(images):
        shapes.append(images.shape)
        return [[]]

    choices = types.SimpleNamespace()
    images = [np.zeros((*size, 3), np.uint8) for size in 4 * [(8, 8)] + 3 * [(5000, 5)]]
    list(onnx_engine(run, 3).stream(images, choices))
    assert [shape[0] for shape in shapes] == [3, 1, 3]
    shapes.clear()
    large = [np.zeros((4096, 2048, 3), np.uint8)] * 3 + [
        np.zeros((4097, 4096, 3), "u1")
    ]
    list(onnx_engine(run, 3).stream(large, choices))
    assert [shape[0] for shape in shapes] == [2, 1, 1]


def test_what_onnx_runtime_cannot_run_is_one_sentence():
    def run(images):
        raise RuntimeError("bad allocation\n of 9 bytes")

    images = [np.zeros((40, 60, 3), np.uint8)] * 2
    found = onnx_engine(run, 2).stream(images, types.SimpleNamespace())
    with pytest.raises(ValueError, match=r"2 images of 40 x 60.*: bad allocation of 9"):
        list(found)
