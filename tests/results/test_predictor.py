"""The predictor on images of all sizes, with a network that is made up."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from tests.helpers import scenes
from tests.helpers.clips import write_clip
from yolact_jax.config import Eval, InputFrame
from yolact_jax.inference.engine import Engine, make_predict_fn
from yolact_jax.models.normalize import IMAGENET
from yolact_jax.results.predictor import Predictor
from yolact_jax.structures import Predictions
from yolact_jax.training.multihost.mesh import make_layout

ANCHORS = np.array([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]], np.float32)


class BrightHalves(nn.Module):
    """Finds class 0 where the left, class 1 where the right half is bright."""

    normalization = IMAGENET
    mask_iou_net = None

    @nn.compact
    def __call__(self, images, *, train):
        batch, side = images.shape[0], images.shape[1]
        left = images[:, :, : side // 2].mean(axis=(1, 2, 3))
        right = images[:, :, side // 2 :].mean(axis=(1, 2, 3))
        logits = jnp.zeros((batch, 2, 3))
        logits = logits.at[:, 0, 1].set(10 * left).at[:, 1, 2].set(10 * right)
        logits = logits.at[:, :, 0].set(0.5)
        return Predictions(
            box_deltas=jnp.zeros((batch, 2, 4)),
            class_logits=logits,
            coefficients=jnp.ones((batch, 2, 1)),
            prototypes=jnp.ones((batch, 16, 16, 1)),
        )


def half_bright(height, width, side):
    image = np.zeros((height, width, 3), np.uint8)
    half = slice(0, width // 2) if side == "left" else slice(width // 2, width)
    image[:, half] = 255
    return image


def make_engine(batch_size=1, sharding=None, **kwargs) -> Engine:
    predict_fn = make_predict_fn(
        BrightHalves(),
        ANCHORS,
        InputFrame(32, 32),
        Eval(max_detections=4),
        sharding=sharding,
    )
    options = {"candidate_threshold": 0.05, "iou_threshold": 0.5, "channels": 3}
    options |= {"smallest_anchor_px": 1} | kwargs
    return Engine(predict_fn, {}, batch_size, sharding=sharding, **options)


def make_predictor(*args, **kwargs) -> Predictor:
    return of(make_engine(*args, **kwargs))


def of(engine: Engine) -> Predictor:
    return Predictor(lambda: engine, ("left", "right"))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("height", "width"), [(40, 60), (61, 33), (200, 100)])
def test_boxes_and_masks_are_in_pixels_of_the_image(height, width, side):
    predictor = make_predictor()
    found = predictor.predict(half_bright(height, width, side), score_threshold=0.5)
    assert found.labels.tolist() == [0 if side == "left" else 1]
    x1, x2 = (0, width / 2) if side == "left" else (width / 2, width)
    np.testing.assert_allclose(found.boxes_px, [[x1, 0, x2, height]], atol=1e-3)
    assert found.masks.shape == (1, height, width)
    assert found.masks.dtype == bool
    columns = np.flatnonzero(found.masks[0].all(axis=0))
    # The crop is padded by one of 16 prototype columns.
    assert abs(columns[0] - x1) <= width / 16 + 1
    assert abs(columns[-1] + 1 - x2) <= width / 16 + 1


@pytest.mark.long
def test_stream_keeps_the_order_whatever_sizes_and_batches():
    sizes = [(40, 60), (50, 30), (100, 120), (64, 64), (20, 20)]
    sides = ["left", "right", "left", "left", "right"]
    images = [half_bright(*size, side) for size, side in zip(sizes, sides, strict=True)]
    for batch_size in (1, 2, 4):
        predictor = make_predictor(batch_size)
        found = list(predictor.stream(images, score_threshold=0.5))
        assert [f.labels.tolist() for f in found] == [[0], [1], [0], [0], [1]]
        assert [f.masks.shape[1:] for f in found] == sizes


@pytest.mark.parametrize(("side", "at_a_time"), [(64, 8), (2048, 4), (4096, 1)])
def test_large_images_are_run_a_few_at_a_time(side, at_a_time):
    shapes = []

    def predict(variables, canvases, sizes, choices):
        shapes.append(canvases.shape)
        raise StopAsyncIteration  # It is enough to know what would run.

    engine = dataclasses.replace(make_engine(8), predict_fn=predict)
    image = np.zeros((side, 1, 3), np.uint8)
    with pytest.raises(StopAsyncIteration):
        list(of(engine).stream([image] * 9))
    assert shapes == [(at_a_time, side, side, 3)]


def test_unordered_stream_fills_batches_with_images_of_a_canvas():
    # The fourth and the sixth need a larger canvas.
    sizes = [(40, 60), (50, 30), (64, 64), (100, 120), (20, 20), (90, 90), (30, 64)]
    sides = ["left", "right", "left", "left", "right", "right", "left"]
    images = [half_bright(*size, side) for size, side in zip(sizes, sides, strict=True)]
    engine = make_engine(2)
    batches = []

    def predict(variables, canvases, sizes, choices):
        batches.append(canvases.shape[1])
        return engine.predict_fn(variables, canvases, sizes, choices)

    counted = of(dataclasses.replace(engine, predict_fn=predict))
    found = dict(counted.detect_unordered(images))
    assert batches == [64, 64, 128, 64]
    assert sorted(found) == list(range(7))
    for index, (size, side) in enumerate(zip(sizes, sides, strict=True)):
        sure = found[index][found[index].scores > 0.5]
        assert sure.labels.tolist() == [0 if side == "left" else 1]
        assert sure.masks.shape[1:] == size
    with pytest.raises(ValueError, match="uint8 RGB"):
        list(counted.detect_unordered([np.zeros((4, 4), np.uint8)]))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_images_spread_over_devices_give_the_same(count):
    devices = jax.devices()
    assert len(devices) == 4
    images = [
        half_bright(40 + index, 60 - index, "left" if index % 2 else "right")
        for index in range(count)
    ]
    spread = make_predictor(4, make_layout(devices).sharded)
    alone = make_predictor(1)
    for one, other in zip(
        spread.stream(images, score_threshold=0.5),
        alone.stream(images, score_threshold=0.5),
        strict=True,
    ):
        assert len(one) == 1
        for field in ("boxes_px", "scores", "labels", "masks"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_no_object_gives_empty_arrays():
    predictor = make_predictor(candidate_threshold=0.9)
    found = predictor.predict(np.zeros((10, 12, 3), np.uint8))
    assert len(found) == 0
    assert found.boxes_px.shape == (0, 4)
    assert found.masks.shape == (0, 10, 12)


OPTIONS = [
    {"score_threshold": 0.1},
    {"score_threshold": {"left": 0.5, "*": 0.9}},
    {"score_threshold": {2: 0.99}, "classes": "right"},
    {"classes": [1, "right"], "mask_margin": 0.5},
    {"iou_threshold": 0.9},
]


def test_options_and_objects_do_not_recompile_but_a_new_canvas_does():
    predictor = make_predictor()
    for options in OPTIONS:
        for image in (half_bright(40, 60, "left"), np.zeros((64, 64, 3), np.uint8)):
            predictor(image, **options)
    list(predictor.detect_unordered([half_bright(40, 60, "right")]))
    assert predictor.engine.predict_fn._cache_size() == 1
    predictor(half_bright(100, 100, "left"))
    assert predictor.engine.predict_fn._cache_size() == 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 1, 4, 4, 3), np.uint8),
        None,
    ],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="`image` must be a path, a PIL image, or"):
        make_predictor()(image)


@pytest.fixture(scope="module")
def real():
    """A small network with random weights, which finds 20 objects of low score."""
    model = scenes.tiny_model()
    variables = jax.jit(lambda k: model.init(k, jnp.zeros((1, 64, 64, 3)), train=True))(
        jax.random.key(0)
    )
    options = Eval(top_k=14, max_detections=20)

    def make(**choices):
        predict_fn = make_predict_fn(
            model, scenes.tiny_anchors(), InputFrame(64, 64), options, **choices
        )
        engine = Engine(predict_fn, variables, 1, 0.05, 0.5, 3, smallest_anchor_px=1)
        return Predictor(lambda: engine, ("a", "b", "c"))

    return make


IMAGE = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def assert_same(found, expected):
    for field in ("boxes_px", "scores", "labels", "masks"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_real_network_runs_from_pixels_to_masks(real):
    found = real().predict(IMAGE, score_threshold=0.0)
    assert len(found) == 20
    assert np.all(np.diff(found.scores) <= 0)
    assert found.boxes_px.min() >= 0
    assert np.all(found.boxes_px.max(axis=0) <= [80, 48, 80, 48])


def test_tiles_of_a_picture_of_four_find_what_the_four_find():
    sides = ["left", "right", "right", "left"]
    four = [half_bright(64, 64, side) for side in sides]
    image = np.block([[[four[0]], [four[1]]], [[four[2]], [four[3]]]])
    predictor = make_predictor(3)  # The last batch is not full.
    found = predictor.predict(image, score_threshold=0.5, tile=64, overlap=0)
    alone = predictor.predict(four, score_threshold=0.5)
    shifts = [(0, 0), (64, 0), (0, 64), (64, 64)]
    expected = {
        tuple((one.boxes_px[0] + (x, y, x, y)).tolist()): (one.labels[0], one.scores[0])
        for one, (x, y) in zip(alone, shifts, strict=True)
    }
    pairs = zip(found.labels, found.scores, strict=True)
    boxes = map(tuple, found.boxes_px.tolist())
    assert dict(zip(boxes, pairs, strict=True)) == expected
    total = np.zeros((128, 128), bool)
    for one, (x, y) in zip(alone, shifts, strict=True):
        total[y : y + 64, x : x + 64] = one.masks[0]
    np.testing.assert_array_equal(found.masks.any(axis=0), total)
    np.testing.assert_array_equal(found.image, image)


def test_tiles_share_one_program_and_small_ones_are_refused():
    predictor = make_predictor(2, smallest_anchor_px=16)
    for size in [(100, 200), (130, 70), (64, 64)]:
        predictor.predict(half_bright(*size, "left"), tile=64)
    assert predictor.engine.predict_fn._cache_size() == 1
    with pytest.raises(ValueError, match="`tile` is 15 pixels, smaller than"):
        predictor.stream([], tile=15)


def test_a_clip_is_streamed_frame_by_frame(tmp_path):
    pytest.importorskip("av")
    frames = [half_bright(40, 60, "right" if n > 5 else "left") for n in range(12)]
    clip = write_clip(tmp_path / "clip.mp4", np.array(frames))
    results = make_predictor(2).stream(clip, score_threshold=0.5)
    first = next(results)
    assert first.source == clip
    assert first.image.shape == (40, 60, 3)
    labels = [first.labels.tolist(), *(r.labels.tolist() for r in results)]
    assert labels == [[0]] * 6 + [[1]] * 6


@pytest.mark.parametrize("slots", [None, 3])
def test_options_select_from_all_that_is_found(real, slots):
    """Bit for bit, with room for all masks in the program or for some."""
    predictor = real(mask_slots=slots)
    everything = predictor.predict(IMAGE, score_threshold=0)
    scores, labels = everything.scores, everything.labels
    middle = float(np.median(scores))
    at_least = np.where(labels == 1, np.float32(middle), 0)
    for options, keep in (
        ({"score_threshold": middle}, scores >= np.float32(middle)),
        ({"score_threshold": {"b": middle, "*": 0}}, scores >= at_least),
        ({"score_threshold": 0, "classes": ["a", 3]}, np.isin(labels, [0, 2])),
        ({"score_threshold": 1}, scores >= 1),
    ):
        assert 0 <= np.count_nonzero(keep) < len(everything)
        assert_same(predictor.predict(IMAGE, **options), everything[keep])


def test_masks_are_the_same_wherever_they_are_made(real):
    alone, later = (
        real(mask_slots=slots).predict(IMAGE, score_threshold=0).masks
        for slots in (20, 3)
    )
    # Compiled for themselves, boxes may differ in the last bit.
    assert np.count_nonzero(alone != later) <= 1e-4 * alone.sum()


@pytest.mark.long
def test_margin_shows_more_of_each_mask(real):
    plain, wide, whole = (
        real().predict(IMAGE, score_threshold=0, mask_margin=margin)
        for margin in (0, 0.5, 1e6)
    )
    np.testing.assert_array_equal(plain.boxes_px, whole.boxes_px)
    for less, more in ((plain, wide), (wide, whole)):
        assert not np.any(less.masks & ~more.masks)
        assert less.masks.sum() < more.masks.sum()
    # The widened box and its padding of a prototype pixel, in pixels of the image.
    x1, y1, x2, y2 = np.split(wide.boxes_px, 4, axis=1)
    for low, high, axis, side in ((x1, x2, 2, 80), (y1, y2, 1, 48)):
        reach = 0.5 * (high - low) + 2 * side / scenes.MASK_SIZE
        pixels = np.arange(side) + 0.5
        outside = (pixels < low - reach) | (pixels > high + reach)
        assert not np.any(wide.masks.any(axis=3 - axis) & outside)


def sides(results):
    """Which half of each image is bright."""
    return [result.names[0] for result in results]


def test_a_jax_array_is_one_image():
    predictor = make_predictor(batch_size=2)
    image = half_bright(40, 60, "right")
    assert sides([predictor.predict(jnp.asarray(image))]) == ["right"]
    results = predictor.predict(jnp.stack([image, image[:, ::-1]]))
    assert sides(results) == ["right", "left"]


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_one_image_is_no_stream(kind):
    with pytest.raises(ValueError, match="`images` is one image, where many"):
        make_predictor().stream(kind(half_bright(40, 60, "left")))


@pytest.mark.parametrize("options", [{}, {"tile": 64}])
def test_images_before_a_bad_one_are_not_lost(tmp_path, options):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    images = [half_bright(40, 60, side) for side in ("left", "right", "left")]
    for broken in (bad, np.zeros((4, 4), np.float32)):
        stream = make_predictor(batch_size=8).stream([*images, broken], **options)
        found = [next(stream) for _ in images]
        assert sides(found) == ["left", "right", "left"]
        with pytest.raises(ValueError, match=r"bad\.png|float32"):
            next(stream)


@pytest.mark.parametrize("options", [{}, {"tile": 64}])
def test_a_buffer_may_be_filled_anew_for_every_image(options):
    def reused():
        buffer = np.zeros((40, 60, 3), np.uint8)
        for side in ("left", "right", "left"):
            buffer[:] = half_bright(40, 60, side)
            yield buffer

    results = list(make_predictor(batch_size=8).stream(reused(), **options))
    assert sides(results) == ["left", "right", "left"]
    assert [result.image[0, 0, 0] for result in results] == [255, 0, 255]


def test_a_result_is_saved_again_after_its_file_is_gone(tmp_path):
    path, out = tmp_path / "a.png", tmp_path / "out.png"
    Image.fromarray(half_bright(40, 60, "left")).save(path)
    result = make_predictor().predict(path)
    result.save(out)
    path.unlink()
    result.save(out)
    Image.fromarray(half_bright(40, 60, "left")).save(path)
    with pytest.raises(ValueError, match="is the image itself"):
        result.save(path)
