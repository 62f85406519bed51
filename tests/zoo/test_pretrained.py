"""From a file of weights to a model and back, through the functions users call."""

import functools
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from yolact_jax.config import Config
from yolact_jax.run.folder import Run
from yolact_jax.training import session
from yolact_jax.training.step import TrainState
from yolact_jax.weights import classes
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


@pytest.mark.long
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


def save_nameless(folder, num_classes):
    path = folder / "nameless.safetensors"
    write_safetensors(path, zoo.to_state_dict(make_variables(num_classes)))
    return str(path)


def with_annotations(folder, *names, field="train_annotations"):
    """A config whose annotation file has these categories, with ids 5, 6 and so on."""
    categories = [{"id": 5 + i, "name": name} for i, name in enumerate(names)]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"categories": categories}))
    return tiny_config().replace({f"data.{field}": str(path)})


def test_refuses_weights_for_unknown_classes(tmp_path):
    path = save_nameless(tmp_path, 7)
    with pytest.raises(ValueError, match="for 7 classes and does not name them"):
        zoo.load_pretrained(tiny_config(), path)
    with pytest.raises(ValueError, match="for 7 classes and does not name them"):
        zoo.load_pretrained(with_annotations(tmp_path, "a", "b"), path)


@pytest.mark.parametrize("field", ["train_annotations", "validation_annotations"])
def test_classes_come_from_the_annotations(tmp_path, field):
    config = with_annotations(tmp_path, "cat", "dog", "owl", field=field)
    run, _ = zoo.load_pretrained(config, save_nameless(tmp_path, 3))
    assert run.class_names == ("cat", "dog", "owl")
    assert run.category_ids == (5, 6, 7)


@pytest.mark.parametrize("as_file", [False, True])
def test_classes_are_given(tmp_path, as_file):
    text = "owl, cat,big dog"
    if as_file:
        (tmp_path / "names.txt").write_text("\ufeffowl\r\n cat\n\nbig dog\n", "utf-8")
        text = str(tmp_path / "names.txt")
    path = save_nameless(tmp_path, 3)
    run, _ = zoo.load_pretrained(tiny_config(), path, text)
    assert run.class_names == ("owl", "cat", "big dog")
    assert run.category_ids == (1, 2, 3)
    config = with_annotations(tmp_path, "big dog", "owl", "cat")
    run, _ = zoo.load_pretrained(config, path, text)
    assert run.class_names == ("owl", "cat", "big dog")
    assert run.category_ids == (6, 7, 5)


def test_given_classes_overrule_the_number_of_the_published(tmp_path):
    text = ",".join(f"part {i}" for i in range(20))
    run, _ = zoo.load_pretrained(tiny_config(), save_nameless(tmp_path, 20), text)
    assert run.class_names[19] == "part 19"


def test_a_list_of_names_may_be_longer_than_a_file_name():
    names = tuple(f"thing number {i}" for i in range(400))
    assert classes.parse_class_names(",".join(names)) == names


@pytest.mark.parametrize("text", ["clases.txt", "coco.names", "data/classes", "x.JSON"])
def test_a_file_that_does_not_exist_is_no_class(tmp_path, text):
    path = save_nameless(tmp_path, 1)
    with pytest.raises(ValueError, match=rf"`class_names` {text} does not exist"):
        zoo.load_pretrained(tiny_config(), path, text)
    assert classes.parse_class_names("St. Bernard") == ("St. Bernard",)
    assert classes.parse_class_names("no.1, a/b") == ("no.1", "a/b")


@pytest.mark.parametrize("where", ["class_names", "metadata"])
def test_the_names_of_coco_have_its_ids_wherever_they_come_from(tmp_path, where):
    """Ids of the official annotation files; the names are in another order here."""
    official = {"person": 1, "stop sign": 13, "dining table": 67, "toothbrush": 90}
    names = [*classes.COCO_NAMES[1:], "person"]
    path, text = save_nameless(tmp_path, 80), None
    if where == "class_names":
        text = ",".join(names)
    else:
        tensors = zoo.to_state_dict(make_variables(80))
        write_safetensors(path, tensors, {"class_names": json.dumps(names)})
    run, _ = zoo.load_pretrained(tiny_config(), path, text)
    assert run.class_names == tuple(names)
    ids = dict(zip(run.class_names, run.category_ids, strict=True))
    assert official.items() <= ids.items()
    assert len(set(ids.values())) == 80
    config = with_annotations(tmp_path, *names)
    given, _ = zoo.load_pretrained(config, save_nameless(tmp_path, 80), ",".join(names))
    assert given.category_ids == tuple(range(5, 85))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b", "is for 3 classes, and `class_names` has 2"),
        ("a,b,a", "`class_names` a,b,a repeats a"),
        (" , ", "has no name"),
    ],
)
def test_refuses_other_class_names(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        zoo.load_pretrained(tiny_config(), save_nameless(tmp_path, 3), text)


def test_refuses_names_against_those_of_the_file(tmp_path):
    path = save(tmp_path, 2, ("disc", "box"))
    zoo.load_pretrained(tiny_config(), path, "disc,box")
    with pytest.raises(
        ValueError, match="class 0 is 'box' in `class_names` and 'disc'"
    ):
        zoo.load_pretrained(tiny_config(), path, "box,disc")


@pytest.mark.parametrize(
    "metadata",
    [
        {"class_names": "[", "category_ids": "[1, 2]"},
        {"class_names": '["a", "a"]', "category_ids": "[1, 2]"},
        {"class_names": '["a", "b"]', "category_ids": "[1, 1]"},
        {"class_names": '["a", 3]', "category_ids": "[1, 2]"},
        {"class_names": "7"},
    ],
)
def test_refuses_damaged_metadata(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, zoo.to_state_dict(make_variables(2)), metadata)
    with pytest.raises(ValueError, match=r"x\.safetensors is damaged: `class_names`"):
        zoo.load_pretrained(tiny_config(), str(path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("box", "disc"), "class 0 is 'disc' in w and 'box' in the data"),
        (("disc", "ball"), "class 1 is 'box' in w and 'ball' in the data"),
        (("disc",), "w has 2 classes and the data 1; names and order"),
    ],
)
def test_classes_of_weights_and_data_are_compared(names, message):
    classes.require_same(("disc", "box"), ("disc", "box"), "w", "the data")
    with pytest.raises(ValueError, match=message):
        classes.require_same(("disc", "box"), names, "w", "the data")


@pytest.mark.long
def test_evaluate_refuses_data_of_other_classes(tmp_path):
    # There are five generated shapes, too.
    path = save(tmp_path, 5)
    overrides = {
        "data.input_size": 64,
        "data.records_dir": tmp_path / "records",
        "data.shapes_train_images": 2,
        "data.shapes_validation_images": 2,
        "model.backbone_width": 8,
        "model.features": 8,
        "model.num_prototypes": 4,
    }
    result = subprocess.run(
        [sys.executable, "evaluate.py", "--config=configs/shapes.py"]
        + [f"--weights={path}", f"--output={tmp_path / 'out'}"]
        + [f"--config.{key}={value}" for key, value in overrides.items()],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "class 0 is 'thing 0' in" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "has numbers that are nan, infinite"),
        (-np.inf, "has numbers that are nan, infinite"),
        (np.float64(1e300), "has numbers that are .* or beyond float32"),
        (-1.0, "has variances below 0"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_refuses_weights_that_are_no_numbers(tmp_path, value, message, whole):
    tensors = zoo.to_state_dict(make_variables(2))
    key = "backbone.bn1.running_var"
    tensors[key] = np.array(tensors[key], np.asarray(value).dtype)
    tensors[key][3] = value
    path = tmp_path / "x.safetensors"
    write_safetensors(path, tensors)
    load = zoo.initialize_from
    if whole:
        load = functools.partial(zoo.load_pretrained, class_names="a,b")
    first = tiny_config() if whole else make_variables(2, seed=1)
    with pytest.raises(ValueError, match=rf"is damaged: {key} {message}"):
        load(first, str(path))


def test_refuses_weights_that_are_integers(tmp_path):
    tensors = zoo.to_state_dict(make_variables(2))
    tensors["fpn.lat_layers.0.bias"] = np.zeros(8, np.int8)
    path = tmp_path / "x.safetensors"
    write_safetensors(path, tensors)
    with pytest.raises(ValueError, match=r"fpn\.lat_layers\.0\.bias has .* int8"):
        zoo.load_pretrained(tiny_config(), str(path), "a,b")


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
    assert "stays as initialized: semantic_seg_conv.bias" in caplog.text
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
