"""Every config is valid, has the documented shapes, and refuses nonsense."""

import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax import build
from yolact_jax.config import (
    Config,
    at_size,
    check_batch,
    from_config_dict,
    training_sizes,
)

FOLDER = pathlib.Path(__file__).parent.parent / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


def load(name: str):
    path = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"configs.{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return from_config_dict(module.get_config())


@pytest.mark.parametrize("name", NAMES)
def test_config_is_valid_and_anchors_fit_the_network(name):
    config = load(name)
    model = build.make_model(config, num_classes=7)
    images = jax.ShapeDtypeStruct((1, *config.data.frame.size, 3), jnp.float32)
    predictions, _ = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=True), images
    )
    num_anchors = len(build.make_anchors(config))
    rows, columns = build.prototype_size(config)
    prototypes = config.model.num_prototypes
    assert predictions.box_deltas.shape == (1, num_anchors, 4)
    assert predictions.class_logits.shape == (1, num_anchors, 8)
    assert predictions.coefficients.shape == (1, num_anchors, prototypes)
    assert predictions.prototypes.shape == (1, rows, columns, prototypes)
    assert predictions.semantic_logits.shape == (1, rows // 2, columns // 2, 7)
    leaves = jax.tree.leaves(predictions)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


# Counted by the original: 19248 anchors, 50,157,071 and 31,164,943 parameters.
@pytest.mark.parametrize(
    ("backbone", "num_parameters"), [("resnet101", 50157071), ("resnet50", 31164943)]
)
def test_coco_model_has_the_published_size(backbone, num_parameters):
    config = load("coco").replace({"model.backbone": backbone})
    model = build.make_model(config, num_classes=80)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 550, 550, 3)), train=True)
    )
    sizes = [leaf.size for leaf in jax.tree.leaves(variables["params"])]
    assert sum(sizes) == num_parameters
    assert len(build.make_anchors(config)) == 19248


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train.batch_size", 6, "config.train.batch_size is 6; .* 4 devices"),
        ("train.accumulate_steps", 0, "accumulate_steps is 0; .* greater than 0"),
        (
            "train.accumulate_steps",
            4,
            "batch_size is 8; .* 4 devices .*steps, 4",
        ),
        ("train.multi_scale", (16, 64), "multi_scale is .*16.*; .* at least 32"),
        ("train.multi_scale", 64, "multi_scale is 64; it must be a tuple of integers"),
        ("train.ema_decay", 1.0, "ema_decay is 1.0; .* 0 or more, and below 1"),
        ("model.backbone", "vgg", "config.model.backbone is 'vgg'; .*resnet101"),
        ("model.freeze_bn", "maybe", "freeze_bn is 'maybe'; .*auto"),
        ("data.dataset", "voc", "config.data.dataset is 'voc'; .*shapes"),
        ("data.input_size", 8, "config.data.input_size is 8; .* at least 32"),
        ("eval.iou_threshold", 1.5, "iou_threshold is 1.5; .* between 0 and 1"),
        ("loss.negative_iou", 0.6, "negative_iou is 0.6; .* at most .* 0.5"),
        (
            "loss.overlap",
            "mask_aware",
            "'mask_aware'; .* 'box' unless .*'atss'",
        ),
        ("loss.box", "giou", "config.loss.box is 'giou'; .*ciou"),
        ("loss.atss_candidates", 0, "atss_candidates is 0; .* greater than 0"),
        ("augment.mosaic_probability", 1.5, "mosaic_probability is 1.5; .* between 0"),
        ("train.num_steps", -1, "num_steps is -1; .* 0 or greater"),
        ("train.max_bad_steps", 0, "max_bad_steps is 0; .* greater than 0"),
        ("train.tensorboard", "on", "tensorboard is 'on'; .*'auto', 'yes', 'no'"),
        ("train.profile_steps", -1, "profile_steps is -1; .* 0 or greater"),
        ("train.eval_every_steps", -5, "eval_every_steps is -5; .* 0 or greater"),
        ("train.freeze", "backbone", "freeze is 'backbone'; .* a tuple of strings"),
        ("anchors.scales_px", ((1.0,),), "scales_px is .*; it must be 5 tuples"),
    ],
)
def test_impossible_config_is_refused_in_one_sentence(field, value, message):
    with pytest.raises(ValueError, match=message):
        check_batch(Config().replace({field: value}).train, num_devices=4)


@pytest.mark.parametrize("field", ["data.input_size", "train.multi_scale"])
def test_mask_scores_need_every_input_to_be_large_enough(field):
    value = 200 if field == "data.input_size" else (550, 200, 300)
    with pytest.raises(ValueError, match=f"config.{field} is 200; .* at least 249"):
        Config().replace({"model.mask_iou": True, field: value})


def test_mask_scores_need_a_shorter_side_that_is_large_enough():
    wide = Config().replace({"model.mask_iou": True, "data.input_size": (300, 600)})
    with pytest.raises(ValueError, match=r"497, so its shorter side 248; .* least 249"):
        wide.replace({"train.multi_scale": (497, 600)})


def test_another_input_size_has_the_same_anchors_on_another_grid():
    config = Config().replace({"train.multi_scale": (400, 550)})
    assert training_sizes(config) == (400, 550)
    assert training_sizes(Config()) == (550,)
    whole, smaller = at_size(config, 550), at_size(config, 400)
    assert whole == Config()
    assert smaller.data.input_size == 400
    sizes = [np.unique(build.make_anchors(c)[:, 2:]) for c in (whole, smaller)]
    np.testing.assert_allclose(*sizes, rtol=1e-6)
    wide = Config().replace({"data.input_size": (300, 600)})
    assert training_sizes(wide) == (600,)
    assert at_size(wide, 600) == wide
    assert at_size(wide, 400).data.input_size == (200, 400)
    with pytest.raises(ValueError, match=r"is 60, so its shorter side 30; .* least 32"):
        wide.replace({"train.multi_scale": (600, 60)})


def test_adamw_needs_a_momentum_that_forgets():
    with pytest.raises(ValueError, match=r"momentum is 1\.0; it must be below 1 with"):
        Config().replace({"optimizer.name": "adamw", "optimizer.momentum": 1.0})


@pytest.mark.parametrize("frozen", ["backbone", "backbone/layer1_0"])
def test_frozen_weights_keep_the_statistics_of_batch_norm(frozen):
    config = Config().replace({"train.freeze": ("fpn", frozen)})
    assert build.freezes_bn(config)
    with pytest.raises(ValueError, match=rf"freeze_bn is 'no'; .*freeze .*'{frozen}'"):
        config.replace({"model.freeze_bn": "no"})
    learning = Config().replace({"train.freeze": ("fpn",), "model.freeze_bn": "no"})
    assert not build.freezes_bn(learning)


def test_unknown_fields_are_named_with_what_was_meant():
    with pytest.raises(ValueError, match=r"config\.train\.batchsize: did you mean ba"):
        Config().replace({"train.batchsize": 4})
    with pytest.raises(ValueError, match=r"unknown field config\.trian: .*train\?"):
        Config().replace({"trian.batch_size": 4})


def test_batch_norm_is_frozen_for_small_batches_with_pretrained_weights_only():
    config = load("coco").replace({"train.init_weights": "resnet101_reducedfc.pth"})
    assert not build.freezes_bn(config)
    parts = {"train.batch_size": 12, "train.accumulate_steps": 2}
    assert not build.freezes_bn(config.replace(parts))
    assert build.freezes_bn(config.replace(parts | {"train.accumulate_steps": 3}))
    config = config.replace({"train.batch_size": 5})
    assert build.freezes_bn(config)
    config = config.replace({"train.init_weights": ""})
    assert not build.freezes_bn(config)
    config = config.replace({"model.freeze_bn": "yes"})
    assert build.freezes_bn(config)
