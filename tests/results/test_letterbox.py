"""Pictures of 2:1 and 1:2, from the pixels to the objects, in both ways to resize."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.helpers import lively, scenes
from tests.reference.letterbox import used_of
from yolact_jax import build
from yolact_jax.config import Eval, InputFrame
from yolact_jax.data.augment import sample, view
from yolact_jax.data.example import Annotations, Example, Segmentations
from yolact_jax.inference.engine import Engine, make_predict_fn
from yolact_jax.models.normalize import UNIT_RANGE
from yolact_jax.ops.anchors import level_shapes, make_anchors, prototype_size
from yolact_jax.results.predictor import Predictor
from yolact_jax.structures import Batch, Predictions
from yolact_jax.training.step import create_state, make_train_step

FRAMES = [
    InputFrame(64, 64),
    InputFrame(64, 64, letterbox=True),
    InputFrame(48, 96, letterbox=True),
]


class OneBright(nn.Module):
    """Finds one object: where the network input is bright, as box and as mask."""

    normalization = UNIT_RANGE
    mask_iou_net = None

    @nn.compact
    def __call__(self, images, *, train):
        batch, height, width, _ = images.shape
        bright = images[..., 0] > 0.7
        ends = []
        for axis, length in ((1, width), (2, height)):
            seen = jnp.any(bright, axis=axis)
            first = jnp.argmax(seen, axis=1)
            last = length - jnp.argmax(seen[:, ::-1], axis=1)
            ends.append((first / length, last / length))
        (x1, x2), (y1, y2) = ends
        center = jnp.stack([(x1 + x2) / 2, (y1 + y2) / 2], -1) - 0.5
        size = jnp.stack([x2 - x1, y2 - y1], -1)
        deltas = jnp.concatenate([center / 0.1, jnp.log(size) / 0.2], -1)
        cells = bright[:, ::2, ::2] & bright[:, 1::2, 1::2]
        return Predictions(
            box_deltas=deltas[:, None],
            class_logits=jnp.zeros((batch, 1, 2)).at[:, :, 1].set(9.0),
            coefficients=jnp.ones((batch, 1, 1)),
            prototypes=jnp.where(cells, 9.0, -9.0)[..., None],
        )


def predictor_of(frame):
    anchors = np.array([[0.5, 0.5, 1.0, 1.0]], np.float32)
    predict_fn = make_predict_fn(OneBright(), anchors, frame, Eval(max_detections=1))
    engine = Engine(predict_fn, {}, 2, 0.05, 0.5, 3, 1, frame=frame)
    return Predictor(lambda: engine, ("bright",))


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_boxes_and_masks_are_where_the_object_is(frame):
    predictor = predictor_of(frame)
    for height, width in ((100, 200), (200, 100), (150, 160), (30, 240)):
        image = np.zeros((height, width, 3), np.uint8)
        top, left = height // 5, width // 3
        bottom, right = height * 4 // 5, width - 1
        image[top:bottom, left:right] = 255
        found = predictor.predict(image)
        rows, columns = frame.used(height, width)
        down, across = height / rows, width / columns
        (box,) = found.boxes_px
        np.testing.assert_allclose(box[[0, 2]], (left, right), atol=1.5 * across)
        np.testing.assert_allclose(box[[1, 3]], (top, bottom), atol=1.5 * down)
        (mask,) = found.masks
        y, x = np.mgrid[:height, :width]
        near = (y < top + 3 * down) | (y > bottom - 3 * down)
        near |= (x < left + 3 * across) | (x > right - 3 * across)
        inside = image[..., 0] > 0
        assert mask[inside & ~near].all()
        beyond = (y < top - 3 * down) | (y > bottom + 3 * down)
        assert not mask[beyond | (x < left - 3 * across)].any()


@pytest.mark.parametrize("size", [(120, 60), (60, 120)])
def test_training_and_prediction_show_the_network_the_same(size):
    """Up to the rounding of training images to whole levels."""
    frame = InputFrame(48, 64, letterbox=True)
    (image,) = lively.pictures(size)
    whole = view.whole(*size, frame)
    shown = sample.render(image, whole, None, frame.size)
    inputs = []

    class Spy(OneBright):
        @nn.compact
        def __call__(self, images, *, train):
            jax.debug.callback(lambda x: inputs.append(np.asarray(x)), images)
            return super().__call__(images, train=train)

    anchors = np.array([[0.5, 0.5, 1.0, 1.0]], np.float32)
    predict_fn = make_predict_fn(Spy(), anchors, frame, Eval(max_detections=1))
    engine = Engine(predict_fn, {}, 1, 0.05, 0.5, 3, 1, frame=frame)
    Predictor(lambda: engine, ("bright",)).predict(image)
    jax.effects_barrier()
    difference = np.abs(inputs[0][0] * 255 - shown)
    assert difference.max() <= 1.01
    rows, columns = used_of(frame.size, size)
    padding = [*difference[rows:].ravel(), *difference[:, columns:].ravel()]
    assert padding
    assert max(padding) < 1e-4


@pytest.mark.slow
def test_slots_without_room_for_a_mask_get_the_same_one():
    run = lively.run_of("letterbox")
    variables = lively.variables_of(run)
    (image,) = lively.pictures((90, 40))
    whole = build.make_predictor(run.config, variables, run.class_names)
    expected = whole.predict(image, score_threshold=0.0)
    model = build.make_model(run.config, 3)
    few = make_predict_fn(
        model,
        build.make_anchors(run.config),
        run.config.data.frame,
        run.config.eval,
        mask_slots=3,
    )
    engine = Engine(few, variables, 1, 0.05, 0.5, 3, 1, frame=run.config.data.frame)
    found = Predictor(lambda: engine, run.class_names).predict(
        image, score_threshold=0.0
    )
    assert len(found) > 6
    lively.assert_same_objects(found, expected)


@pytest.mark.slow
def test_a_step_trains_on_inputs_that_are_not_square():
    frame = InputFrame(64, 96, letterbox=True)
    model, optimizer = scenes.tiny_model(), scenes._optimizer(0.01, False)
    scales = ((10.0,), (20.0,), (32.0,), (48.0,), (64.0,))
    anchors = make_anchors(
        level_shapes(frame.size), scales, (1.0, 0.5, 2.0), frame.size, True
    )
    step = make_train_step(
        model,
        anchors,
        optimizer,
        scenes.Loss(assignment="atss", overlap="mask_aware", box="ciou"),
        key=jax.random.key(1),
        accumulate_steps=1,
        average_decay=0.0,
    )
    state = create_state(model, optimizer, frame.size, key=jax.random.key(0))
    batch = Batch(**batch_of(frame))
    losses = []
    step = jax.jit(step)
    for _ in range(8):
        state, metrics = step(state, batch)
        losses.append(float(metrics.losses.total))
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]


def batch_of(frame):
    """One upright and one flat picture with an object each."""
    samples = []
    for size in ((120, 60), (60, 180)):
        height, width = size
        ring = np.array([[10.0, 10.0], [45.0, 10.0], [45.0, 50.0], [10.0, 50.0]])
        none = np.zeros(0, np.int64)
        outlines = Segmentations(
            size, ring, np.array([4]), np.array([0]), none, (), np.zeros(1, bool)
        )
        annotations = Annotations(
            ids=np.array([1]),
            labels=np.array([1], np.int32),
            boxes_xywh_px=np.array([[10.0, 10.0, 35.0, 40.0]]),
            areas_px=np.array([1400.0]),
            crowd=np.zeros(1, bool),
            segmentations=outlines,
        )
        example = Example(1, "a.png", height, width, b"", annotations)
        example.__dict__["image"] = lively.pictures(size)[0]
        samples.append(
            sample.training_sample(
                example,
                np.random.default_rng(0),
                options=sample.NO_AUGMENTATION,
                frame=frame,
                mask_size=prototype_size(frame.size),
                max_objects=2,
                mask_target="original",
            )
        )
    batch = sample.collate(samples, 2)
    for made, (height, width) in zip(samples, ((120, 60), (60, 180)), strict=True):
        rows, columns = used_of(frame.size, (height, width))
        scale = np.array([columns / width, rows / height] * 2)
        corners = np.array([10, 10, 45, 50]) * scale
        expected = corners / [*frame.size[::-1], *frame.size[::-1]]
        np.testing.assert_allclose(made["boxes"][0], expected, rtol=1e-6)
        # Cells of 4 x 4 pixels, of which the object has about 5 x 5.
        area = made["masks"].sum() * 16 / (scale[0] * scale[1])
        np.testing.assert_allclose(area, 35 * 40, rtol=0.3)
    return {k: batch[k] for k in Batch.__dataclass_fields__}
