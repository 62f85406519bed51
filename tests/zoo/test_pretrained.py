"""From a file of weights to a model and back, through the functions users call."""

import pathlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from yolact_jax.config import Config
from yolact_jax.run.folder import Run
from yolact_jax.training import session
from yolact_jax.training.step import TrainState
from yolact_jax.weights.files import write_safetensors
from yolact_jax.zoo import load as front
from yolact_jax.zoo import pretrained as zoo
from yolact_jax.zoo.specs import spec


def tiny_config() -> Config:
    return spec("shapes").replace(
        {
            "data.input_size": 64,
            "model.backbone_width": 8,
            "model.features": 8,
            "model.num_prototypes": 4,
        }
    )


def make_variables(num_classes: int, seed: int = 0) -> dict:
    shapes = zoo.abstract_variables(tiny_config(), num_classes)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.random(x.shape, np.float32), shapes)


def save(folder: pathlib.Path, num_classes: int, names=None) -> str:
    names = names or tuple(f"thing {i}" for i in range(num_classes))
    run = Run(tiny_config(), names, tuple(range(10, 10 + num_classes)))
    path = folder / "model.safetensors"
    zoo.export_weights(run, make_variables(num_classes), path)
    return str(path)


def test_exported_run_comes_back_with_its_classes(tmp_path):
    path = save(tmp_path, 3)
    loaded = front.load_parts(path, config=tiny_config())
    run = loaded.run
    assert run.class_names == ("thing 0", "thing 1", "thing 2")
    assert run.category_ids == (10, 11, 12)
    expected = flatten_dict(make_variables(3))
    for key, array in flatten_dict(loaded.variables).items():
        np.testing.assert_array_equal(array, expected[key])


def test_loaded_weights_predict(tmp_path):
    predictor = front.load(save(tmp_path, 3), config=tiny_config())
    instances = predictor.predict(np.zeros((40, 50, 3), np.uint8))
    assert instances.masks.shape[1:] == (40, 50)


@pytest.mark.parametrize(
    ("num_classes", "first", "last_id"), [(80, "person", 90), (20, "aeroplane", 20)]
)
def test_classes_of_published_models_are_known(tmp_path, num_classes, first, last_id):
    path = tmp_path / "x.safetensors"
    tensors = zoo.to_state_dict(make_variables(num_classes))
    write_safetensors(path, tensors)
    run, _ = zoo.load_pretrained(tiny_config(), str(path))
    assert run.class_names[0] == first
    assert run.category_ids[-1] == last_id


def test_refuses_weights_for_unknown_classes(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, zoo.to_state_dict(make_variables(7)))
    with pytest.raises(ValueError, match="for 7 classes and does not name them"):
        zoo.load_pretrained(tiny_config(), str(path))


def test_refuses_a_backbone_alone(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"conv1.weight": np.zeros((8, 3, 7, 7), np.float32)})
    with pytest.raises(ValueError, match="can only start a training"):
        zoo.load_pretrained(tiny_config(), str(path))


def test_refuses_weights_of_another_config(tmp_path):
    config = tiny_config().replace({"model.num_prototypes": 5})
    with pytest.raises(ValueError, match="does not fit the model of the config"):
        front.load(save(tmp_path, 3), config=config)


def fresh_state(num_classes: int) -> TrainState:
    variables = jax.device_put(make_variables(num_classes, seed=1))
    return TrainState(np.int32(0), **variables, opt_state=())


def test_training_starts_from_weights_for_other_classes(tmp_path, caplog):
    config = tiny_config()
    state = fresh_state(5)
    assert session.with_init_weights(config, state) is state
    config = config.replace({"train.init_weights": save(tmp_path, 3)})
    with caplog.at_level("INFO"):
        started = session.with_init_weights(config, state)
    assert "stays as initialised: semantic_seg_conv.bias" in caplog.text
    expected = flatten_dict(make_variables(3))
    before = flatten_dict(state.variables)
    for key, array in flatten_dict(started.variables).items():
        of_classes = key[1:-1] in (("head", "class"), ("semantic",))
        source = before if of_classes else expected
        np.testing.assert_array_equal(array, source[key])


def test_every_trained_published_model_has_a_config():
    from yolact_jax.weights.hub import PUBLISHED

    folder = pathlib.Path(__file__).parents[2] / "configs"
    trained = [name for name in PUBLISHED if name.startswith("yolact_")]
    assert len(trained) == 6
    assert all((folder / f"{name}.py").exists() for name in trained)
