"""Losses of images whose annotations are more, or others, than training sees."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.helpers.runs import tiny_config
from yolact_jax import build
from yolact_jax.tools.inspect.losses import image_losses

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A config, weights that nobody trained, and pictures with several objects."""
    config = tiny_config(tmp_path_factory.mktemp("records"))
    dataset = build.make_dataset(config, splits=("train",))
    model = build.make_model(config, len(dataset.class_names))
    blank = np.zeros((1, 64, 64, 3), np.float32)
    variables = jax.jit(functools.partial(model.init, train=False))(
        jax.random.key(3), blank
    )
    source = dataset.source("train")
    examples = sorted(source, key=lambda example: -len(example.annotations))[:3]
    return config, variables, examples, len(dataset.class_names)


def overlaps(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + areas - shared)


def with_annotations(example, **changes):
    annotations = dataclasses.replace(example.annotations, **changes)
    return dataclasses.replace(example, annotations=annotations)


def test_what_lies_in_a_crowd_is_no_missing_label(scene):
    config, variables, examples, classes = scene
    boxes = examples[0].annotations.boxes_xywh_px.copy()
    crowd = np.zeros(len(boxes), bool)
    crowd[0], boxes[0] = True, (-999, -999, 2061, 2061)
    crowded = with_annotations(examples[0], boxes_xywh_px=boxes, crowd=crowd)
    plain, found = image_losses([examples[0], crowded], config, variables, classes)
    assert plain.unlabeled > 0
    assert found.unlabeled == 0
    assert sorted(found.annotation) == [*range(1, len(boxes))]
    assert len(found.losses) == len(found.background) == len(boxes) - 1


def test_no_object_is_left_out_for_want_of_slots(scene):
    config, variables, examples, classes = scene
    few = config.replace({"data.max_objects": 1})
    enough = image_losses(examples, config, variables, classes)
    for example, wanted, found in zip(
        examples, enough, image_losses(examples, few, variables, classes), strict=True
    ):
        assert sorted(found.annotation) == [*range(len(example.annotations))]
        np.testing.assert_array_equal(found.annotation, wanted.annotation)
        np.testing.assert_allclose(found.losses, wanted.losses, rtol=1e-4)
        near = overlaps(found.unlabeled_px, example.annotations.boxes_px)
        assert near.max() <= 0.3 + 1e-4


def test_an_object_between_all_anchors_is_not_matched(scene):
    config, variables, examples, classes = scene
    config = config.replace({"loss.assignment": "atss"})
    boxes = examples[0].annotations.boxes_xywh_px.copy()
    boxes[0] = (8.5, 8.5, 1.4, 1.4)  # Centers of anchors are at multiples of 4.
    tiny = with_annotations(examples[0], boxes_xywh_px=boxes)
    (found,) = image_losses([tiny], config, variables, classes)
    assert not found.matched[found.annotation == 0].any()
    assert found.matched[found.annotation > 0].any()
