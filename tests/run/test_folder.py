"""A run's folder says what it belongs to, and refuses what it does not."""

import dataclasses
import json
import pathlib

import jax
import pytest

from yolact_jax.data.records.dataset import Dataset
from yolact_jax.run import folder as run_folder
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
