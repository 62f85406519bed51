"""Each operator of an exported model against NumPy, as its specification says."""

import numpy as np
import onnxruntime
import pytest

from tests.helpers import lively
from yolact_jax import build
from yolact_jax.config import InputFrame
from yolact_jax.export.onnx import layers, masks, ops, pixels
from yolact_jax.export.onnx.detector import Detector, write_detector
from yolact_jax.export.onnx.graph import Graph, apply
from yolact_jax.export.onnx.letterbox import used_size

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4)).astype(np.float32)
Y = RNG.normal(size=(2, 3, 4)).astype(np.float32)
ROWS = np.array([[2, 0], [1, 1]])
TIES = np.array([[1, 3, 3, 2], [0, 0, 0, 0]], np.float32)
NAN = np.array([np.nan, 0, np.inf, -1], np.float32)


def run(function, *arrays):
    """Runs ``function(*values)`` in ONNX Runtime; returns arrays."""
    graph = Graph()
    values = [
        graph.input(f"x{i}", array.dtype, array.shape) for i, array in enumerate(arrays)
    ]
    results = function(*values)
    results = results if isinstance(results, tuple | list) else [results]
    for index, (value, dtype) in enumerate(map(typed, results)):
        graph.output(f"y{index}", value, dtype, None)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        graph.model("test", {}).SerializeToString(), options
    )
    return session.run(None, {f"x{i}": array for i, array in enumerate(arrays)})


def typed(value):
    """float64 is of no operator here: everything is compared in it."""
    return ops.cast(value, np.float64), np.float64


def softmax(x):
    shares = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def pooled(x):
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    rows, columns = (np.arange(0, n, 2) for n in x.shape[2:])
    return np.stack(
        [
            [padded[:, :, r : r + 3, c : c + 3].max((2, 3)) for c in columns]
            for r in rows
        ]
    ).transpose(2, 3, 0, 1)


def half(x):
    return x / 2.0, ops.any_true(x / 2.0 > 1.0)


MAPS = RNG.normal(size=(2, 3, 7, 7)).astype(np.float32)

OPERATORS = {
    "Add": (lambda x, y: x + y, (X, Y), np.add),
    "Sub": (lambda x, y: 1.0 - (x - y), (X, Y), lambda x, y: 1 - (x - y)),
    "Mul": (lambda x, y: x * y, (X, Y), np.multiply),
    "Div": (lambda x, y: x / y, (X, Y), np.divide),
    "And": (lambda x, y: (x > 0.0) & (y > 0.0), (X, Y), lambda x, y: (x > 0) & (y > 0)),
    "Or": (lambda x, y: (x > 0.0) | (y > 0.0), (X, Y), lambda x, y: (x > 0) | (y > 0)),
    "Not": (lambda x: ~(x <= 0.0), (NAN,), lambda x: ~(x <= 0)),
    "Greater": (lambda x, y: x > y, (X, Y), np.greater),
    "GreaterOrEqual": (lambda x: x >= 0.0, (NAN,), lambda x: x >= 0),
    "Less": (lambda x, y: x < y, (X, Y), np.less),
    "LessOrEqual": (lambda x: x <= 0.0, (NAN,), lambda x: x <= 0),
    "IsNaN": (lambda x: apply("IsNaN", x), (NAN,), np.isnan),
    "Max": (lambda x, y: apply("Max", x, y), (X, Y), np.maximum),
    "Min": (lambda x, y: apply("Min", x, y), (X, Y), np.minimum),
    "Exp": (lambda x: apply("Exp", x), (X,), np.exp),
    "Ceil": (lambda x: apply("Ceil", x), (X,), np.ceil),
    "Floor": (lambda x: apply("Floor", x), (X,), np.floor),
    "Range": (lambda n: ops.centers(n), (np.array(4),), lambda n: np.arange(n) + 0.5),
    "Relu": (lambda x: apply("Relu", x), (X,), lambda x: np.maximum(x, 0)),
    "LeakyRelu": (
        lambda x: layers.leaky_relu(layers.Map(x, (4, 4)), 0.1).value,
        (X,),
        lambda x: np.where(x > 0, x, 0.1 * x),
    ),
    "Sigmoid": (lambda x: apply("Sigmoid", x), (X,), lambda x: 1 / (1 + np.exp(-x))),
    "Tanh": (lambda x: apply("Tanh", x), (X,), np.tanh),
    "Softmax": (lambda x: apply("Softmax", x, axis=-1), (X,), softmax),
    "Cast": (lambda x: ops.cast(x, np.int64), (10 * X,), lambda x: np.trunc(x)),
    "Identity": (lambda x: x, (X,), lambda x: x),
    "Where": (
        lambda x: ops.where(x > 0.0, x, -1.0),
        (X,),
        lambda x: np.where(x > 0, x, -1),
    ),
    "Concat": (
        lambda x, y: ops.concatenate([x, y], 1),
        (X, Y),
        lambda x, y: np.concatenate([x, y], 1),
    ),
    "Split": (
        lambda x: ops.columns(x, 4),
        (X,),
        lambda x: np.split(x, 4, axis=-1),
    ),
    "Slice": (lambda x: ops.part(x, 1, 3, 2), (X,), lambda x: x[..., 1:3]),
    "Pad": (
        lambda x: ops.pad_end(x, 2, 1, 3),
        (X,),
        lambda x: np.pad(x, [(0, 0), (0, 2), (0, 0)]),
    ),
    "Reshape": (lambda x: ops.reshape(x, 0, -1), (X,), lambda x: x.reshape(2, 12)),
    "Unsqueeze": (lambda x: ops.expand_dims(x, 1), (X,), lambda x: x[:, None]),
    "Transpose": (
        lambda x: apply("Transpose", x, perm=[0, 2, 1]),
        (X,),
        lambda x: x.transpose(0, 2, 1),
    ),
    "Shape": (lambda x: ops.size(x, 2), (X,), lambda x: 4),
    "Gather": (
        lambda x, i: ops.take(x, i, 1),
        (X, ROWS),
        lambda x, i: np.take(x, i, 1),
    ),
    "GatherElements": (
        lambda x, i: apply("GatherElements", x, i, axis=1),
        (X[..., 0], ROWS),
        lambda x, i: np.take_along_axis(x, i, 1),
    ),
    "GatherND": (
        ops.rows,
        (X, ROWS),
        lambda x, i: np.stack(
            [image[index] for image, index in zip(x, i, strict=True)]
        ),
    ),
    "MatMul": (lambda x, y: apply("MatMul", x, y), (X, X[0].T), np.matmul),
    "ReduceMax": (lambda x: ops.largest(x, 1), (X,), lambda x: x.max(1)),
    "ReduceMin": (lambda x: ops.smallest(x, 1), (X,), lambda x: x.min(1)),
    "ReduceSum": (lambda x: ops.total(x, 1), (X,), lambda x: x.sum(1)),
    "ArgMax": (
        lambda x: apply("ArgMax", x, axis=-1, keepdims=0),
        (TIES,),
        lambda x: x.argmax(-1),  # The first of equals.
    ),
    "TopK": (
        lambda x: ops.top_k(x, 3),
        (TIES,),
        lambda x: ([[3, 3, 2], [0, 0, 0]], [[1, 2, 3], [0, 1, 2]]),
    ),
    "MaxPool": (
        lambda x: layers.max_pool(layers.Map(x, (7, 7))).value,
        (MAPS,),
        pooled,
    ),
    "GlobalMaxPool": (
        lambda x: apply("GlobalMaxPool", x),
        (MAPS,),
        lambda x: x.max((2, 3), keepdims=True),
    ),
    "Loop": (
        # Halves until nothing is above 1, five times at most.
        lambda x: ops.reshape(x.graph.loop(5, x, half), 2),
        (np.array([3.0, 0.5], np.float32),),
        lambda x: x / 4,
    ),
}
"""Of each operator: the code that writes it, inputs, and the same in NumPy."""

ELSEWHERE = {"Conv", "Resize", "GridSample"}
"""Tested below, and with the layers that have them."""


@pytest.mark.parametrize("kind", OPERATORS)
def test_operator(kind):
    write, arrays, expected = OPERATORS[kind]
    with np.errstate(all="ignore"):
        wanted = expected(*arrays)
    found = run(write, *arrays)
    wanted = wanted if len(found) > 1 else [wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("family", lively.FAMILIES)
def test_models_use_tested_operators_only(family):
    lively_run = lively.run_of(family)
    model = written(lively_run)
    bodies = [a.g for n in model.graph.node for a in n.attribute if a.HasField("g")]
    nodes = [n for graph in (model.graph, *bodies) for n in graph.node]
    assert {node.op_type for node in nodes} <= {*OPERATORS, *ELSEWHERE}


def written(lively_run):
    model = build.make_model(lively_run.config, 3)
    detector = Detector(
        lively_run.config.data.frame,
        3,
        build.make_anchors(lively_run.config),
        model.normalization,
        lively_run.config.eval,
        0.3,
    )
    return write_detector(detector, lively.variables_of(lively_run)).model("m", {})


@pytest.mark.parametrize(("in_side", "out_side"), [(5, 9), (9, 5), (1, 4), (7, 7)])
def test_resize_is_bilinear_with_half_pixel_centers(in_side, out_side):
    x = RNG.normal(size=(1, 2, in_side, in_side)).astype(np.float32)
    (found,) = run(lambda x: ops.enlarge(x, out_side, out_side), x)
    source = np.clip(
        (np.arange(out_side) + 0.5) * in_side / out_side - 0.5, 0, in_side - 1
    )
    places = np.arange(in_side)
    rows = [[np.interp(source, places, row) for row in channel] for channel in x[0]]
    wanted = [
        [np.interp(source, places, column) for column in np.transpose(channel)]
        for channel in rows
    ]
    np.testing.assert_allclose(found[0], np.transpose(wanted, (0, 2, 1)), atol=1e-5)


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("shape", [(480, 640), (3, 2000), (1, 1), (137, 550)])
def test_pixels_are_those_of_the_library_to_the_last_bit(shape, letterbox):
    import jax.numpy as jnp

    from yolact_jax.models.normalize import IMAGENET, normalize_images
    from yolact_jax.ops.resize import resize_valid

    image = RNG.integers(0, 256, (*shape, 3), np.uint8)
    frame = InputFrame(65, 80, letterbox)

    def network_input(x):
        return pixels.network_input(x, frame, used_size(x, frame), IMAGENET)

    (found,) = run(network_input, image[None])
    wanted = normalize_images(resize_valid(image, jnp.array(shape), frame), IMAGENET)
    np.testing.assert_allclose(
        found[0].transpose(1, 2, 0), np.asarray(wanted), rtol=0, atol=1e-6
    )


def test_masks_are_cropped_as_the_library_crops():
    from yolact_jax.ops import boxes as box_ops
    from yolact_jax.ops import masks as mask_ops

    soft = RNG.uniform(0.1, 1, (6, 9, 9)).astype(np.float32)
    corners = RNG.uniform(-0.3, 1.3, (6, 4)).astype(np.float32)
    for margin in np.float32([0.0, 0.2]):
        (found,) = run(
            lambda s, b, m: masks.crop(s, masks.widen(b, m), (9, 9)),
            soft[None],
            corners[None],
            np.asarray(margin),
        )
        wanted = mask_ops.crop_masks(soft, box_ops.widen(corners, margin))
        np.testing.assert_array_equal(found[0], np.asarray(wanted))
