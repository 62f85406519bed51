"""The plan agrees with what can be counted by hand, and predicts the compiler."""

import dataclasses
import json

import jax
import pytest

from yolact_jax.config import at_size
from yolact_jax.tools import plan as lib
from yolact_jax.training import memory
from yolact_jax.training.multihost.mesh import make_layout
from yolact_jax.zoo.specs import spec

pytestmark = pytest.mark.long


def tiny_config():
    return spec("shapes").replace(
        {
            "data.input_size": 64,
            "model.backbone_width": 8,
            "model.features": 16,
            "train.batch_size": 8,
        }
    )


@pytest.fixture(scope="module")
def plan():
    return lib.make_plan(tiny_config())


def test_plan_counts_state_and_operations(plan):
    assert plan.num_devices == jax.device_count()
    assert plan.num_classes == 5
    # Parameters and their momentum, and a little: statistics and counters.
    assert 8 * plan.num_parameters < plan.state_bytes < 9 * plan.num_parameters
    # Forward, and twice as much backward; the semantic head only trains.
    assert 2.5 < plan.step_flops / plan.forward_flops < 4
    assert plan.step_bytes > plan.state_bytes
    # At least the image itself, and the gradient of its float32 form.
    assert plan.image_bytes > 64 * 64 * 3 * 5


@pytest.mark.slow
def test_plan_is_that_of_the_largest_input():
    config = tiny_config().replace({"train.multi_scale": (64, 96)})
    assert lib.make_plan(config) == lib.make_plan(at_size(tiny_config(), 96))


def test_memory_of_another_batch_is_predicted(plan):
    config = tiny_config().replace({"train.batch_size": 16})
    more = (16 - plan.batch_size) / plan.num_devices
    predicted = plan.step_bytes + more * plan.image_bytes
    found = memory.step_bytes(config, plan.num_classes, 16, make_layout())
    assert found == pytest.approx(predicted, rel=0.1)


def test_largest_batch_fills_the_device():
    plan = lib.Plan(
        num_classes=5,
        batch_size=8,
        num_devices=4,
        num_parameters=1,
        input_size=(384, 640),
        forward_flops=1.0,
        step_flops=3.0,
        state_bytes=10,
        step_bytes=140,
        image_bytes=20.0,
        device_bytes=1000,
    )
    # 100 bytes and 20 for each image: 45 images on each of 4 devices.
    assert plan.largest_batch == 180
    assert dataclasses.replace(plan, device_bytes=99).largest_batch == 0
    text = lib.format_plan(plan)
    assert "180 images" in text
    assert "384 x 640 pixels" in text
    assert "step of 8 images" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": []}', "val.json is damaged: its field categories"),
        ('{"categories": {"1": "cat"}}', "val.json is damaged: its field categories"),
        ('{"categories": []}', "val.json is damaged: its field categories"),
        ("[]", "val.json is damaged: it holds a list"),
        ('{"categ', "val.json is damaged: it is not JSON"),
    ],
)
def test_annotations_without_classes_are_refused(content, words, tmp_path):
    path = tmp_path / "val.json"
    path.write_text(content)
    config = spec("coco").replace({"data.validation_annotations": str(path)})
    with pytest.raises(ValueError, match=words):
        lib.count_classes(config)


def test_sbd_has_the_classes_of_pascal():
    assert lib.count_classes(spec("yolact_resnet50_pascal")) == 20


def test_classes_are_read_from_the_annotations_if_there_are_any(tmp_path):
    config = spec("coco").replace(
        {"data.validation_annotations": str(tmp_path / "val.json")}
    )
    assert lib.count_classes(config) == 80
    categories = [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}]
    (tmp_path / "val.json").write_text(json.dumps({"categories": categories}))
    assert lib.count_classes(config) == 2


@pytest.mark.parametrize(
    ("batch_size", "least", "other"), [(8, 1, 4), (8, 4, 4), (1, 1, 2), (12, 4, 24)]
)
def test_other_batch_can_be_shared_out(batch_size, least, other):
    assert lib._other_batch(batch_size, least) == other
