"""A run's folder says what it belongs to, and refuses what it does not."""

import contextlib
import dataclasses
import json
import pathlib

import jax
import pytest

from tests.helpers.runs import tiny_config
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.run import folder as run_folder
from yolact_jax.run.array_digest import describe
from yolact_jax.training import parts
from yolact_jax.zoo.specs import spec

DATASET = Dataset(pathlib.Path("records"), ("a", "b"), (1, 7), "f00d", (), ("train",))


def test_config_classes_and_versions_are_saved(tmp_path):
    config = spec("shapes")
    run_folder.save_run(tmp_path, config, DATASET)
    run = run_folder.load_run(tmp_path)
    assert run.class_names == ("a", "b")
    assert run.category_ids == (1, 7)
    assert run.config == config
    assert json.loads((tmp_path / "dataset.json").read_text())["fingerprint"] == "f00d"
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["jax"] == jax.__version__
    assert {"python", "machine", "numpy", "orbax-checkpoint"} <= set(versions)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.features", 24),
        ("model.backbone", "resnet50"),
        ("anchors.aspect_ratios", (1.0,)),
    ],
)
def test_another_model_is_refused(field, value, tmp_path):
    config = spec("shapes")
    run_folder.save_run(tmp_path, config, DATASET)
    config = config.replace({field: value})
    with pytest.raises(ValueError, match=rf"another model: config\.{field} was .* and"):
        run_folder.check_same_run(tmp_path, config, DATASET)


TUNED = {"train.init_weights": "resnet18.pth", "train.batch_size": 8}


@pytest.mark.parametrize(
    ("start", "changes", "named"),
    [
        ({}, {"optimizer.name": "adamw"}, "config.optimizer.name was 'sgd' and is 'a"),
        ({}, {"train.ema_decay": 0.9}, "config.train.ema_decay was 0.0 and is 0.9"),
        ({"train.ema_decay": 0.9}, {"train.ema_decay": 0.0}, "ema_decay was 0.9 and"),
        ({"train.ema_decay": 0.9}, {"train.ema_decay": 0.99}, None),
        ({}, {"model.freeze_bn": "yes"}, "freeze_bn was 'auto' and is 'yes'; .* 'no'"),
        ({}, {"model.freeze_bn": "no"}, None),
        (TUNED, {"train.batch_size": 4}, "batch_size was 8 and is 4; .*freeze_bn 'no'"),
        (TUNED, {"train.batch_size": 4, "model.freeze_bn": "no"}, None),
        (TUNED, {"train.batch_size": 6}, None),
        (
            TUNED,
            {"train.accumulate_steps": 2},
            "accumulate_steps was 1 and is 2; .*'no",
        ),
        (
            TUNED | {"train.batch_size": 4},
            {"train.init_weights": ""},
            "init_weights was 'resnet18.pth' and is ''; .*freeze_bn 'yes'",
        ),
        ({}, {"train.batch_size": 4}, None),
        ({"train.freeze": ("backbone",)}, {"model.freeze_bn": "yes"}, None),
        ({"train.freeze": ("fpn",)}, {"train.freeze": ()}, "train.freeze was .*fpn"),
        ({}, {"model.mask_iou": True, "data.input_size": 256}, "mask_iou was False"),
        ({}, {"model.compute_dtype": "bfloat16", "model.winograd": "no"}, None),
        ({}, {"model.remat": True}, None),
        ({}, {"optimizer.clip_norm": 1.0, "optimizer.momentum": 0.0}, None),
        ({}, {"optimizer.schedule": "cosine", "optimizer.learning_rate": 0.1}, None),
        ({}, {"train.accumulate_steps": 2, "loss.assignment": "atss"}, None),
    ],
    ids=str,
)
def test_a_run_goes_on_if_its_arrays_are_the_same(start, changes, named, tmp_path):
    old = tiny_config(tmp_path).replace(start)
    new = old.replace(changes)
    states = [describe(parts.abstract_state(each, 2, None)) for each in (old, new)]
    assert (states[0] == states[1]) == (named is None)
    run_folder.save_run(tmp_path, old, DATASET)
    expected = contextlib.nullcontext()
    if named is not None:
        expected = pytest.raises(ValueError, match=named)
    with expected:
        run_folder.check_same_run(tmp_path, new, DATASET)


def test_what_auto_meant_in_an_earlier_version_can_be_said(tmp_path):
    """It counted whole batches, also where parts went through the network alone."""
    config = tiny_config(tmp_path).replace(TUNED | {"train.accumulate_steps": 2})
    run_folder.save_run(tmp_path, config, DATASET)
    for word in ("yes", "no"):
        new = config.replace({"model.freeze_bn": word})
        run_folder.check_same_run(tmp_path, new, DATASET)


def test_other_data_are_refused(tmp_path):
    config = spec("shapes")
    run_folder.save_run(tmp_path, config, DATASET)
    other = dataclasses.replace(DATASET, fingerprint="beef")
    with pytest.raises(ValueError, match="was f00d and is beef; use another workdir"):
        run_folder.check_same_run(tmp_path, config, other)


def test_harmless_changes_are_logged(tmp_path, caplog):
    config = spec("shapes")
    run_folder.save_run(tmp_path, config, DATASET)
    versions = json.loads((tmp_path / "versions.json").read_text())
    versions["jax"] = "0.1"
    (tmp_path / "versions.json").write_text(json.dumps(versions))
    config = config.replace({"train.num_steps": 9})
    caplog.set_level("INFO")
    run_folder.check_same_run(tmp_path, config, DATASET)
    assert "config.train.num_steps was 2400 and is 9" in caplog.text
    assert f"jax {jax.__version__} instead of 0.1" in caplog.text
    assert len(caplog.records) == 2
