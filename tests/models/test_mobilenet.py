"""MobileNetV4 against timm's numbers, and against loops over the published keys."""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from parity.weights import golden_weights
from tests.reference import mobilenet as ref
from yolact_jax.models.mobilenet import MobileNet
from yolact_jax.models.yolact import Yolact
from yolact_jax.weights.state_dict import load_state_dict
from yolact_jax.weights.torch_names import BACKBONE, to_torch, torch_key, torch_shape

RECORD = pathlib.Path(__file__).parents[1] / "golden" / "mobilenetv4_conv_small.npz"
CLASSIFIER = r"(conv_head|norm_head|classifier)\..*"
IMAGE = np.random.default_rng(0).normal(size=(1, 70, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def record():
    with np.load(RECORD) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def recorded_shapes(record):
    pairs = zip(record["keys"].tolist(), record["shapes"].tolist(), strict=True)
    return {key: tuple(size for size in shape if size) for key, shape in pairs}


def shapes_of(net, **options):
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    options = options or {"use_running_average": True}
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, **options), image)


def published_key(path):
    return torch_key((path[0], "backbone", *path[1:])).removeprefix(BACKBONE)


@functools.cache
def compiled():
    backbone = MobileNet(64)
    return jax.jit(lambda v, x: backbone.apply(v, x, use_running_average=True))


def assert_maps_close(found, expected):
    for one, wanted in zip(found, expected, strict=True):
        size = np.abs(wanted).max()
        assert size > 0.1
        np.testing.assert_allclose(one[0], wanted, rtol=0, atol=1e-5 * size)


def test_keys_and_shapes_are_those_of_the_published_file(recorded_shapes):
    found = {
        published_key(path): torch_shape(path, array.shape)
        for path, array in flatten_dict(shapes_of(MobileNet(64))).items()
    }
    backbone = {
        k: s for k, s in recorded_shapes.items() if not re.fullmatch(CLASSIFIER, k)
    }
    assert found == backbone
    trained = [s for k, s in recorded_shapes.items() if "running" not in k]
    # As published, with the classifier.
    assert sum(int(np.prod(shape)) for shape in trained) == 3_774_024


@pytest.mark.long
def test_imported_file_gives_the_maps_that_timm_computes(record, recorded_shapes):
    kernels = {k: s for k, s in recorded_shapes.items() if len(s) != 2}
    tensors = golden_weights(kernels, 80)
    model = Yolact(MobileNet(64), 5, 1, num_prototypes=4, features=8)
    shapes = shapes_of(model, train=True)
    empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    loaded, report = load_state_dict(tensors, empty, source="x")
    unused = {key.removeprefix(BACKBONE) for key in report.unused}
    assert unused == {k for k in kernels if re.fullmatch(CLASSIFIER, k)}
    backbone = {name: loaded[name]["backbone"] for name in ("params", "batch_stats")}
    expected = [record[name] for name in ("C3", "C4", "C5")]
    assert_maps_close(compiled()(backbone, IMAGE), expected)


def random_variables(backbone, seed=0):
    """Variables of every kind at random; all blocks do something."""
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        name = path[-1].key
        if name == "kernel":
            height, width, inputs, _ = leaf.shape
            scale = (2 / (height * width * inputs)) ** 0.5
            return jnp.asarray(rng.normal(0, scale, leaf.shape), jnp.float32)
        low, high = {"scale": (0.5, 1.5), "var": (0.5, 1.5)}.get(name, (-0.3, 0.3))
        return jnp.asarray(rng.uniform(low, high, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes_of(backbone))


def test_folded_maps_agree_with_loops_over_the_published_keys():
    variables = random_variables(MobileNet(64))
    tensors = {
        published_key(path): to_torch(path, np.asarray(array))
        for path, array in flatten_dict(variables).items()
    }
    maps = ref.maps(IMAGE[0].transpose(2, 0, 1), tensors)
    expected = [maps[stage].transpose(1, 2, 0) for stage in (1, 2, 4)]
    assert_maps_close(compiled()(variables, IMAGE), expected)


@pytest.mark.long
def test_training_normalizes_by_the_batch_and_moves_the_statistics():
    backbone = MobileNet(8)
    variables = random_variables(backbone)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))

    def cost(params):
        maps, updates = backbone.apply(
            {**variables, "params": params},
            images,
            use_running_average=False,
            mutable=["batch_stats"],
        )
        return sum(jnp.mean(m) for m in maps), updates

    gradients, updates = jax.jit(jax.grad(cost, has_aux=True))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    depthwise = gradients["blocks2_0"]["dw_mid"]["conv"]["kernel"]
    assert np.abs(depthwise).max() > 0
    before, after = variables["batch_stats"], updates["batch_stats"]
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(changed))


@pytest.mark.long
def test_fresh_blocks_with_a_shortcut_start_as_it():
    backbone = MobileNet(8)
    image = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    variables = jax.jit(
        lambda: backbone.init(jax.random.key(1), image, use_running_average=True)
    )()
    scales = {
        "/".join(path): float(np.abs(leaf).max())
        for path, leaf in flatten_dict(variables["params"]).items()
        if path[-1] == "scale"
    }
    zero = {name for name, scale in scales.items() if scale == 0}
    expected = {f"blocks2_{i}/pw_proj/bn/scale" for i in range(1, 6)}
    expected |= {f"blocks3_{i}/pw_proj/bn/scale" for i in range(1, 6)}
    assert zero == expected


def test_other_widths_are_in_proportion_and_recomputing_changes_no_variable():
    plain = shapes_of(MobileNet(8))
    params = plain["params"]
    ends = params["blocks1_1"], params["blocks2_5"]["pw_proj"], params["blocks4_0"]
    # An eighth, in multiples of 8: of 64, 96 and 960.
    assert [end["conv"]["kernel"].shape[-1] for end in ends] == [8, 16, 120]
    assert flatten_dict(plain) == flatten_dict(shapes_of(MobileNet(8, remat=True)))
