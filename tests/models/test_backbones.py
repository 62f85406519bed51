"""Backbones: sizes, where deformable blocks are, and what input they expect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from yolact_jax.models import darknet, mobilenet, resnet
from yolact_jax.models.mask_iou import MaskIouNet
from yolact_jax.models.normalize import (
    IMAGENET,
    TORCHVISION,
    UNIT_RANGE,
    normalize_images,
)


def shapes_of(backbone, size):
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(
        lambda x: backbone.init_with_output(
            jax.random.key(0), x, use_running_average=True
        ),
        image,
    )


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        (resnet.ResNet50(64, 0), (512, 1024, 2048)),
        (darknet.DarkNet53(64), (256, 512, 1024)),
        (mobilenet.MobileNet(64), (64, 96, 960)),
    ],
)
@pytest.mark.parametrize(
    ("size", "sides"), [(550, (69, 35, 18)), (400, (50, 25, 13)), (700, (88, 44, 22))]
)
def test_maps_have_the_published_sizes(backbone, channels, size, sides):
    maps, _ = shapes_of(backbone, size)
    assert [m.shape for m in maps] == [
        (2, side, side, count) for side, count in zip(sides, channels, strict=True)
    ]


@pytest.mark.parametrize(
    ("make", "interval", "blocks"),
    [
        (
            resnet.ResNet101,
            3,
            {2: (0, 3), 3: (0, 3, 6, 9, 12, 15, 18, 21), 4: (0,)},
        ),
        (resnet.ResNet50, 1, {2: range(4), 3: range(6), 4: range(3)}),
        (resnet.ResNet50, 0, {}),
    ],
)
def test_deformable_blocks_are_where_the_original_has_them(make, interval, blocks):
    _, variables = shapes_of(make(64, interval), 64)
    paths = flatten_dict(variables["params"], sep="/")
    found = {path.split("/")[0] for path in paths if "conv_offset_mask" in path}
    expected = {f"layer{stage}_{i}" for stage in blocks for i in blocks[stage]}
    assert found == expected


@pytest.mark.parametrize(
    "backbone",
    [resnet.ResNet50(1, 0), darknet.DarkNet53(1), mobilenet.MobileNet(1)],
    ids=lambda backbone: type(backbone).__name__,
)
def test_the_narrowest_networks_can_be_built(backbone):
    _, variables = shapes_of(backbone, 64)
    assert all(leaf.size for leaf in jax.tree.leaves(variables))


def test_darknet_block_adds_its_input_without_rectifying():
    net = darknet.DarkNet((1, 1, 1, 1, 1), width=4)
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    frozen = {"use_running_average": True}
    variables = jax.jit(lambda key: net.init(key, x, **frozen))(jax.random.key(1))
    # Zero gains of the last unit of the last block leave its input, which is what the
    # leaky rectifier of the layer before let through: negative values, but shrunk.
    scale = variables["params"]["layer5_1"]["conv2"]["bn"]
    scale["scale"] = jnp.zeros_like(scale["scale"])
    maps = jax.jit(lambda variables: net.apply(variables, x, **frozen))(variables)
    assert float(maps[-1].min()) < 0
    assert float(-maps[-1].min()) < float(maps[-1].max())


def test_normalization_follows_the_backbone():
    assert resnet.ResNet50(64, 0).normalization is IMAGENET
    assert darknet.DarkNet53(64).normalization is UNIT_RANGE
    assert mobilenet.MobileNet(64).normalization is TORCHVISION
    image = np.array([[[[200, 100, 10]]]], np.uint8)
    np.testing.assert_allclose(
        normalize_images(image, IMAGENET)[0, 0, 0],
        [1.306849, -0.293768, -1.637156],
        rtol=1e-5,
    )
    # Of 0..1, as torchvision and timm write them: 0.485, 0.456, 0.406 and so on.
    np.testing.assert_allclose(
        normalize_images(image, TORCHVISION)[0, 0, 0],
        (np.array([200, 100, 10]) / 255 - [0.485, 0.456, 0.406])
        / [0.229, 0.224, 0.225],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        normalize_images(image, UNIT_RANGE)[0, 0, 0], np.array([200, 100, 10]) / 255
    )


def test_mask_iou_net_is_unpadded_and_not_negative():
    net = MaskIouNet(num_classes=5)
    masks = jax.random.uniform(jax.random.key(0), (3, 138, 138))
    variables = jax.jit(net.init)(jax.random.key(1), masks)
    apply = jax.jit(net.apply)
    scores = apply(variables, masks)
    assert scores.shape == (3, 5)
    assert scores.dtype == jnp.float32
    assert float(scores.min()) >= 0
    # 138 -> 68 -> 33 -> 16 -> 7 -> 3 cells; the last row and column of pixels of the
    # input lie outside the reach of the kernels.
    far = masks.at[:, 137:].set(0).at[:, :, 137:].set(0)
    np.testing.assert_array_equal(apply(variables, far), scores)
    near = masks.at[:, 0].set(9.0)
    assert not np.array_equal(apply(variables, near), scores)
