"""Every field: its default, range and type, and the way through dicts and JSON."""

import ast
import dataclasses
import json
import math
import pathlib
import typing

import numpy as np
import pytest
from ml_collections import ConfigDict

from yolact_jax import build, config
from yolact_jax.config import (
    Config,
    InputFrame,
    describe,
    from_config_dict,
    to_config_dict,
)
from yolact_jax.config.fields import rule_of
from yolact_jax.ops.nms.variants import NMS_VARIANTS

PACKAGE = pathlib.Path(config.__file__).parent.parent
FIELDS = {
    f"{section.name}.{field.name}": field
    for section in dataclasses.fields(Config)
    for field in dataclasses.fields(section.type)
}
# The default and types that are none of a field's, by the type that it has.
WRONG = {
    bool: (0, 1, "yes", None, 1.0),
    int: (True, 1.5, "3", None, math.nan, math.inf, (1,), 10**30, -(10**30)),
    float: (True, "0.1", None, math.nan, math.inf, -math.inf, (0.1,), 10**400),
    str: (None, 3, True, b"auto", ("auto",)),
}


def leaf_of(kind):
    return leaf_of(typing.get_args(kind)[0]) if typing.get_args(kind) else kind


def with_leaf(value, leaf):
    """The same tuples with another number in the last place."""
    if isinstance(value, tuple):
        return (*value[:-1], with_leaf(value[-1] if value else leaf, leaf))
    return leaf


def bounds(field):
    """The smallest and largest numbers allowed, and some that are not."""
    rule, kind = rule_of(field), leaf_of(field.type)
    tiny = 1 if kind is int else 1e-9
    low = rule.least if rule.above is None else rule.above + tiny
    high = rule.most if rule.below is None else rule.below - tiny
    outside = [low - tiny, -1]
    if high is not None:
        outside.append(rule.below if rule.below is not None else high + 1)
    return [kind(x) for x in (low, high) if x is not None], outside


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_explained_and_its_default_allowed(name):
    field = FIELDS[name]
    assert rule_of(field).meaning.endswith(".")
    same = Config().replace({name: field.default})
    assert same == Config()
    assert leaf_of(field.type) in WRONG


@pytest.mark.parametrize("name", FIELDS)
def test_wrong_types_and_numbers_that_are_not_finite_are_refused(name):
    field = FIELDS[name]
    for wrong in WRONG[leaf_of(field.type)]:
        value = with_leaf(field.default, wrong)
        with pytest.raises(ValueError, match=rf"^config\.{name} is .*; it must be .*"):
            Config().replace({name: value})
    if isinstance(field.default, tuple):
        with pytest.raises(ValueError, match=rf"^config\.{name} is 3; it must be"):
            Config().replace({name: 3})


NUMBERS = [n for n, f in FIELDS.items() if leaf_of(f.type) in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_taken_up_to_their_bounds_and_no_further(name):
    field = FIELDS[name]
    section = type(getattr(Config(), name.split(".")[0]))
    inside, outside = bounds(field)
    for number in inside:
        made = section(**{field.name: with_leaf(field.default, number)})
        assert getattr(made, field.name) == with_leaf(field.default, number)
    for number in outside:
        with pytest.raises(ValueError, match=rf"^config\.{name} is .*; it must be"):
            section(**{field.name: with_leaf(field.default, number)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eval.max_images", -1),
        ("optimizer.clip_norm", -1),
        ("optimizer.warmup_steps", -5),
        ("optimizer.decay_factor", math.nan),
        ("optimizer.decay_steps", (100, -100)),
        ("loss.negative_ratio", -1),
        ("loss.box_weight", -1),
        ("train.batch_size", True),
        ("train.batch_size", 8.0),
        ("data.input_size", (64,)),
        ("data.input_size", (64, 64, 64)),
        ("data.input_size", (64, 16)),
        ("data.input_size", (64, 96.0)),
        ("anchors.aspect_ratios", (1.0, "2")),
        ("anchors.aspect_ratios", ()),
        ("anchors.scales_px", ((1.0,),) * 4 + ((1.0, 2.0),)),
        ("anchors.scales_px", ((),) * 5),
        ("model.backbone", "Resnet50"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(name, value):
    with pytest.raises(ValueError, match=rf"^config\.{name} is .*; it must be .*\.$"):
        Config().replace({name: value})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model.mask_iou": True, "data.input_size": 248}, "data.input_size"),
        ({"model.mask_iou": True, "data.input_size": (600, 248)}, "data.input_size"),
        ({"augment.large_scale_jitter": True}, "data.resize"),
        ({"augment.mosaic_probability": 0.1}, "data.resize"),
        (
            {"model.backbone": "darknet53", "model.deformable_interval": 1},
            "model.deformable_interval",
        ),
        (
            {"model.winograd": "yes", "model.compute_dtype": "bfloat16"},
            "model.winograd",
        ),
        ({"loss.positive_iou": 0.3}, "loss.negative_iou"),
        ({"train.batch_size": 6, "train.accumulate_steps": 4}, "train.batch_size"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(changes, field):
    with pytest.raises(ValueError, match=rf"^config\.{field} is .*; it must be"):
        Config().replace(changes)


def test_numbers_take_the_type_of_their_field():
    made = Config().replace(
        {
            "optimizer.clip_norm": 10,
            "loss.box_weight": np.float32(1.5),
            "train.num_steps": np.int64(7),
            "optimizer.decay_steps": [3, 5],
            "anchors.scales_px": [[8], [16], [32], [64], [128]],
        }
    )
    assert made.optimizer.clip_norm == 10.0
    assert type(made.optimizer.clip_norm) is type(made.loss.box_weight) is float
    assert type(made.train.num_steps) is int
    assert made.optimizer.decay_steps == (3, 5)
    assert made.anchors.scales_px == ((8.0,), (16.0,), (32.0,), (64.0,), (128.0,))
    assert hash(made) == hash(made.replace({}))


def test_config_survives_a_config_dict_and_json():
    made = Config().replace({"optimizer.decay_steps": (), "train.ema_decay": 0.5})
    written = to_config_dict(made)
    assert isinstance(written, ConfigDict)
    assert from_config_dict(written) == made
    assert from_config_dict(json.loads(json.dumps(written.to_dict()))) == made
    written.train.batch_size = 4
    assert from_config_dict(written).train.batch_size == 4
    assert made.train.batch_size == 8


def test_field_that_is_left_out_has_its_default():
    made = from_config_dict(ConfigDict({"model": {"backbone": "resnet50"}}))
    assert made == Config().replace({"model.backbone": "resnet50"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trian": {}}, r"field config\.trian: did you mean train\?"),
        ({"train": {"batchsize": 4}}, r"config\.train\.batchsize: did you mean batch_"),
        ({"train": {"zzz": 4}}, r"config\.train\.zzz: there are batch_size, .*steps\."),
        ({"train": 4}, r"^config\.train is 4; it must be a section\."),
        ({"train": None}, r"^config\.train is None; it must be a section\."),
    ],
)
def test_unknown_fields_are_answered_by_known_ones(values, message):
    with pytest.raises(ValueError, match=message):
        from_config_dict(values)


@pytest.mark.parametrize("name", ["batch_size", "train", "train.", "a.b.c"])
def test_replacing_what_is_no_field_is_refused(name):
    with pytest.raises(ValueError, match=r"config\.\w+"):
        Config().replace({name: 4})


def test_description_has_every_field_with_value_and_meaning():
    text = describe(Config().replace({"train.batch_size": 16}))
    flat = " ".join(text.split())
    assert "batch_size = 16 (default 8)" in flat
    for name, field in FIELDS.items():
        assert f"{field.name} = " in flat, name
        assert " ".join(rule_of(field).meaning.split()) in flat, name
    assert "number 0 or more, and below 1" in flat
    widths = [len(line) for line in text.splitlines() if "'data/" not in line]
    assert max(widths) <= 88


def test_names_in_the_config_are_those_that_are_implemented():
    assert set(rule_of(FIELDS["model.backbone"]).choices) == set(build.BACKBONES)
    assert set(rule_of(FIELDS["eval.nms"]).choices) == set(NMS_VARIANTS)


# Other things of the same name, whose defaults are theirs.
OTHER_THINGS = {
    ("BatchNorm", "momentum"),
    ("MaskIouNet", "features"),
    # The COCO evaluation counts 100 detections, whatever the model returns.
    ("evaluate_coco", "max_detections"),
    ("evaluate_detected", "max_detections"),
    ("evaluate_coco", "evaluator"),
    # The overlap of tiles, not the kind of overlap that assigns anchors.
    ("PredictOptions", "overlap"),
    ("predict", "overlap"),
    ("stream", "overlap"),
}


def defaults_in(tree):
    """Yields (owner, name, default) of parameters and of fields of classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            plain = [*node.args.posonlyargs, *node.args.args]
            defaults = node.args.defaults
            pairs = [*zip(plain[len(plain) - len(defaults) :], defaults, strict=True)]
            pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            yield from ((node.name, a.arg, d) for a, d in pairs if d is not None)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and line.value is not None:
                    yield node.name, line.target.id, line.value


def repeated_defaults(tree):
    """Off (False) and "not given" (None) are no repetition of a chosen value."""
    names = {name.split(".")[1] for name in FIELDS}
    return {
        (owner, name)
        for owner, name, default in defaults_in(tree)
        if name in names
        and not (isinstance(default, ast.Constant) and default.value in (None, False))
    }


def test_default_of_a_field_stands_once():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "config":
            found |= repeated_defaults(ast.parse(path.read_text()))
    assert found <= OTHER_THINGS
    source = (
        "def f(a, top_k=200, *, nms='fast', seed=None): ...\nclass C:\n  crop: int = 1"
    )
    assert repeated_defaults(ast.parse(source)) == {
        ("f", "top_k"),
        ("f", "nms"),
        ("C", "crop"),
    }


def test_an_input_size_is_a_side_or_height_and_width():
    config = Config().replace({"data.input_size": [64, 96], "data.resize": "letterbox"})
    assert config.data.input_size == (64, 96)
    assert config.data.frame == InputFrame(64, 96, letterbox=True)
    assert (
        from_config_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    )
    square = config.replace({"data.input_size": (64, 64)})
    assert square == config.replace({"data.input_size": 64})
    assert square.data.frame.size == (64, 64)


def test_a_config_dict_takes_an_input_size_of_either_form():
    values = to_config_dict(Config())
    for size in (96, (64, 96), 128):
        values.data.input_size = size
        assert from_config_dict(values).data.input_size == size
