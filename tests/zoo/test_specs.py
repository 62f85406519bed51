"""Configs by name and from files, and what is said of those that fail."""

import pathlib

import pytest
from ml_collections import ConfigDict

from yolact_jax.config import Config, from_config_dict
from yolact_jax.zoo.specs import SPEC_NAMES, load_config, spec

FOLDER = pathlib.Path(__file__).parents[2] / "configs"


def test_every_file_of_the_folder_is_the_spec_of_its_name():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SPEC_NAMES)
    for name in SPEC_NAMES:
        loaded = load_config(str(FOLDER / f"{name}.py"))
        assert isinstance(loaded, ConfigDict)
        assert from_config_dict(loaded) == spec(name)
        assert loaded == load_config(name)


def test_default_config_is_the_base_model_on_coco():
    assert spec("coco") == spec("yolact_base") == Config()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yolact_resnet50", {"model.backbone": "resnet50"}),
        ("yolact_im400", {"data.input_size": 400}),
        ("yolact_im700", {"data.input_size": 700, "loss.max_masks": 300}),
        ("yolact_plus_resnet50", {"model.mask_iou": True}),
        ("yolact_plus_base", {"model.deformable_interval": 3, "anchors.square": False}),
        ("yolact_resnet50_pascal", {"data.dataset": "sbd", "anchors.square": False}),
        ("nuclei", {"data.max_objects": 400, "eval.max_detections": 200}),
        ("shapes", {"data.dataset": "shapes", "train.num_steps": 2400}),
        ("custom", {"optimizer.clip_norm": 10.0, "train.num_steps": 0}),
        ("modern", {"loss.assignment": "atss", "loss.overlap": "mask_aware"}),
        ("modern_small", {"loss.assignment": "atss", "data.input_size": 384}),
    ],
)
def test_spec_has_what_its_name_says(name, expected):
    assert expected.items() <= spec(name).flat().items()


def test_change_of_a_loaded_config_stays_its_own():
    load_config("shapes").train.batch_size = 2
    assert load_config("shapes").train.batch_size == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolact_resnet5", r"named 'yolact_resnet5': did you mean yolact_resnet50\?"),
        ("zzz", r"named 'zzz': there are coco, shapes, .*pascal\."),
        ("configs/zzz.py", r"config file configs/zzz\.py does not exist"),
        (".", r"named '\.'"),
    ],
)
def test_unknown_name_is_answered(name, message):
    with pytest.raises(ValueError, match=message):
        load_config(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef get_config(:\n", r"mine\.py fails in line 2: SyntaxError"),
        ("x = 1\n\nimport no_such_module\n", r"fails in line 3: ModuleNotFoundError"),
        ("def get_config():\n  return 1 / 0\n", r"fails in line 2: ZeroDivisionError"),
        ("raise SystemExit(3)\n", r"fails in line 1: SystemExit"),
        ("", r"mine\.py has no function get_config\(\)"),
        ("get_config = 3\n", r"mine\.py has no function get_config\(\)"),
        ("get_config = lambda: {}\n", r"returns a dict; it must return a ConfigDict"),
        ("def get_config(x):\n  pass\n", r"mine\.py cannot be run: TypeError"),
        ("\0", r"mine\.py (cannot be run|fails)"),
    ],
)
def test_file_that_fails_is_named_with_the_line(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(str(path))
    assert "\n" not in str(caught.value)
