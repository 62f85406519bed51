"""State dicts go into models and out again; what does not fit is named or refused."""

import functools
import re

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from parity.weights import golden_weights
from tests.helpers.scenes import NUM_CLASSES, tiny_model
from yolact_jax.models.darknet import DarkNet
from yolact_jax.models.mask_iou import MaskIouNet
from yolact_jax.models.resnet import Bottleneck, ResNet
from yolact_jax.models.yolact import Yolact
from yolact_jax.weights.state_dict import load_state_dict, num_classes_of, to_state_dict
from yolact_jax.zoo.pretrained import abstract_variables
from yolact_jax.zoo.specs import spec

BACKBONES = {
    "resnet": ResNet((1, 2, 1, 1), Bottleneck, width=4, deformable_interval=0),
    "deformable": ResNet((1, 2, 1, 1), Bottleneck, width=4, deformable_interval=1),
    "darknet": DarkNet((1, 1, 2, 1, 1), width=8),
}


def make_model(backbone="resnet", num_classes=NUM_CLASSES, **options):
    return Yolact(
        BACKBONES[backbone],
        num_classes,
        anchors_per_cell=3,
        num_prototypes=4,
        features=8,
        **options,
    )


@functools.cache
def make_variables(backbone="resnet", num_classes=NUM_CLASSES, mask_iou=False, seed=0):
    net = MaskIouNet(num_classes) if mask_iou else None
    model = make_model(backbone, num_classes, mask_iou_net=net)
    size = 256 if mask_iou else 64
    shapes = jax.eval_shape(
        lambda: model.init(
            jax.random.key(0), np.zeros((1, size, size, 3), np.float32), train=True
        )
    )
    rng = np.random.default_rng(seed)
    # Variances must not be below 0.
    return jax.tree.map(lambda x: rng.random(x.shape, x.dtype), shapes)


def assert_same(actual, expected):
    actual, expected = flatten_dict(actual), flatten_dict(expected)
    assert set(actual) == set(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(actual[path], array)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("mask_iou", [False, True])
def test_round_trip(backbone, mask_iou):
    variables = make_variables(backbone, mask_iou=mask_iou)
    tensors = to_state_dict(variables)
    other = make_variables(backbone, mask_iou=mask_iou, seed=1)
    loaded, report = load_state_dict(tensors, other, source="x")
    assert_same(loaded, variables)
    assert not report.missing + report.unused + report.reshaped
    counters = [key for key in tensors if key.endswith("num_batches_tracked")]
    assert counters
    assert set(report.ignored) == set(counters)
    assert set(report.loaded) | set(counters) == set(tensors)


# Keys by hand, from listings of the published files.
@pytest.mark.parametrize(
    ("backbone", "key", "path"),
    [
        ("resnet", "backbone.conv1.weight", "params/backbone/conv1/kernel"),
        (
            "resnet",
            "backbone.layers.1.0.downsample.1.running_var",
            "batch_stats/backbone/layer2_0/downsample_bn/var",
        ),
        (
            "deformable",
            "backbone.layers.1.1.conv2.conv_offset_mask.bias",
            "params/backbone/layer2_1/conv2/conv_offset_mask/bias",
        ),
        (
            "darknet",
            "backbone.layers.2.1.conv2.0.weight",
            "params/backbone/layer3_1/conv2/conv/kernel",
        ),
        (
            "darknet",
            "backbone._preconv.1.running_mean",
            "batch_stats/backbone/preconv/bn/mean",
        ),
        ("resnet", "fpn.lat_layers.0.weight", "params/fpn/lateral_p5/kernel"),
        ("resnet", "fpn.pred_layers.2.bias", "params/fpn/smooth_p3/bias"),
        ("resnet", "fpn.downsample_layers.1.bias", "params/fpn/downsample_p7/bias"),
        ("resnet", "proto_net.8.weight", "params/protonet/conv3/kernel"),
        ("resnet", "prediction_layers.0.upfeature.0.bias", "params/head/conv/bias"),
    ],
)
def test_names(backbone, key, path):
    variables = flatten_dict(make_variables(backbone), sep="/")
    array = variables[path]
    if path.endswith("kernel"):
        array = array.transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(to_state_dict(make_variables(backbone))[key], array)


def test_ignores_legacy_duplicates():
    variables = make_variables()
    tensors = to_state_dict(variables)
    legacy = {
        "backbone.layer1.0.conv1.weight": np.zeros(1, np.float32),
        "fpn.downsample_layers.2.weight": np.zeros(1, np.float32),
    }
    loaded, report = load_state_dict(tensors | legacy, variables, source="x")
    assert_same(loaded, variables)
    assert set(legacy) <= set(report.ignored)


def test_half_precision_is_widened():
    variables = make_variables()
    tensors = {k: v.astype(np.float16) for k, v in to_state_dict(variables).items()}
    loaded, _ = load_state_dict(tensors, variables, source="x")
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("fpn.lat_layers.0.bias"), "lacks fpn.lat_layers.0.bias"),
        (lambda t: t.update(extra=t["proto_net.0.bias"]), "no place for extra"),
        (
            lambda t: t.update({"proto_net.0.bias": np.zeros(3, np.float32)}),
            r"proto_net.0.bias is \(3,\) in it and \(8,\) in the model",
        ),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    variables = make_variables()
    tensors = to_state_dict(variables)
    change(tensors)
    with pytest.raises(ValueError, match=message) as error:
        load_state_dict(tensors, variables, source="file.pth")
    assert str(error.value).startswith("file.pth does not fit")


def test_refuses_another_model():
    tensors = to_state_dict(make_variables("darknet"))
    with pytest.raises(ValueError, match=r"it lacks backbone\..* and \d+ more"):
        load_state_dict(tensors, make_variables("resnet"), source="x")


def test_other_classes_reset_only_the_heads_that_depend_on_them():
    tensors = to_state_dict(make_variables(num_classes=5, mask_iou=True))
    variables = make_variables(mask_iou=True, seed=1)
    with pytest.raises(ValueError, match="conf_layer"):
        load_state_dict(tensors, variables, source="x")
    loaded, report = load_state_dict(
        tensors, variables, source="x", reset_class_heads=True
    )
    heads = {
        f"{module}.{array}"
        for module in (
            "prediction_layers.0.conf_layer",
            "semantic_seg_conv",
            "maskiou_net.maskiou_net.10",
        )
        for array in ("weight", "bias")
    }
    assert {key for key, _, _ in report.reshaped} == heads
    after, before = to_state_dict(loaded), to_state_dict(variables)
    for key, array in after.items():
        source = before if key in heads else tensors
        np.testing.assert_array_equal(array, source[key])
    for key in heads:
        assert re.search(rf"stays as initialized: {re.escape(key)}", str(report))


def imagenet_style(tensors, darknet=False):
    """Names backbone arrays as torchvision and timm do, with a classifier."""
    names = {}
    for key, array in tensors.items():
        if not key.startswith("backbone."):
            continue
        key = key.removeprefix("backbone.")
        if not darknet:
            key = re.sub(r"^layers\.(\d)", lambda m: f"layer{int(m[1]) + 1}", key)
        names[key] = array
    classifier = np.zeros(3, np.float32)
    return names | {"fc.weight": classifier, "fc.bias": classifier}


@pytest.mark.parametrize("backbone", ["resnet", "darknet"])
def test_imagenet_weights_go_into_the_backbone(backbone):
    source = make_variables(backbone)
    tensors = imagenet_style(to_state_dict(source), backbone == "darknet")
    variables = make_variables(backbone, seed=1)
    loaded, report = load_state_dict(tensors, variables, source="x")
    for collection in ("params", "batch_stats"):
        assert_same(loaded[collection]["backbone"], source[collection]["backbone"])
    assert_same(loaded["params"]["fpn"], variables["params"]["fpn"])
    assert set(report.unused) == {"backbone.fc.weight", "backbone.fc.bias"}
    assert "fpn.lat_layers.0.weight" in report.missing


def test_imagenet_weights_go_into_a_deformable_backbone():
    tensors = imagenet_style(to_state_dict(make_variables("resnet")))
    _, report = load_state_dict(tensors, make_variables("deformable"), source="x")
    missing = [key for key in report.missing if key.startswith("backbone.")]
    assert missing
    assert all(".conv2." in key for key in missing)


def test_refuses_imagenet_weights_of_another_backbone():
    tensors = imagenet_style(to_state_dict(make_variables("resnet")))
    tensors["layer3.9.conv1.weight"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match=r"no place for backbone\.layers\.2\.9\.conv1"):
        load_state_dict(tensors, make_variables("resnet"), source="x")


def test_a_backbone_alone_cannot_predict():
    model = tiny_model()
    abstract = jax.eval_shape(
        lambda: model.init(
            jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32), train=True
        )
    )
    full = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    tensors = imagenet_style(to_state_dict(full))
    with pytest.raises(ValueError, match="can start a training but not predict"):
        load_state_dict(tensors, abstract, source="x")


def test_number_of_classes_is_read_off_the_weights():
    assert num_classes_of(to_state_dict(make_variables(num_classes=5))) == 5
    assert num_classes_of({"conv1.weight": np.zeros(1)}) is None
    for shape in ((), (0,), (7, 1)):
        assert num_classes_of({"semantic_seg_conv.bias": np.zeros(shape)}) is None


# Number of keys and of trained numbers, counted on the original.
@pytest.mark.parametrize(
    ("name", "num_keys", "num_parameters"),
    [
        ("yolact_base", 660, 50_157_071),
        ("yolact_im400", 660, 50_157_071),
        ("yolact_im700", 660, 50_157_071),
        ("yolact_darknet53", 348, 47_783_087),
        ("yolact_resnet50", 354, 31_164_943),
        ("yolact_resnet50_pascal", 354, 30_734_623),
        ("yolact_plus_base", 705, 52_571_142),
        ("yolact_plus_resnet50", 405, 33_766_460),
    ],
)
def test_published_models_have_their_keys(name, num_keys, num_parameters):
    config = spec(name)
    shapes = abstract_variables(config, 20 if "pascal" in name else 80)
    zeros = jax.tree.map(lambda x: np.broadcast_to(np.float32(0), x.shape), shapes)
    assert len(to_state_dict(zeros)) == num_keys
    sizes = [leaf.size for leaf in jax.tree.leaves(shapes["params"])]
    assert sum(sizes) == num_parameters


def test_golden_weights_are_reproducible():
    shapes = {"a.weight": (2, 4, 1, 1), "a.bias": (2,), "b.running_var": (2,)}
    weights = golden_weights(shapes, 80)
    np.testing.assert_allclose(weights["a.weight"].sum((1, 2, 3)), 0, atol=1e-6)
    again = golden_weights(dict(reversed(shapes.items())), 80)
    for key, array in weights.items():
        np.testing.assert_array_equal(array, again[key])
