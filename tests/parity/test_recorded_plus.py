"""Losses of YOLACT++ on made-up outputs, recorded from the original.

As in `test_recorded`; the objects there, nine anchors per cell, and a mask scoring
network with made-up weights.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.scenes import random_priority
from tests.parity.test_recorded import make_batch
from tests.reference import recorded
from yolact_jax import build
from yolact_jax.losses import yolact
from yolact_jax.models.mask_iou import MaskIouNet
from yolact_jax.structures import Predictions
from yolact_jax.zoo.specs import spec


@functools.cache
def make_params(first_stream=300000):
    """Kernels and biases in turn, each with a stream of its own."""
    net = MaskIouNet(80)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 138, 138)))
    params = {}
    layers = [f"conv{i}" for i in range(5)] + ["scores"]
    for index, name in enumerate(layers):
        height, width, inputs, outputs = shapes["params"][name]["kernel"].shape
        shape = (outputs, inputs, height, width)
        stream = first_stream + 2 * index
        kernel = recorded.signed(stream, *shape) * np.sqrt(6 / np.prod(shape[1:]))
        params[name] = {
            "kernel": jnp.asarray(kernel.transpose(2, 3, 1, 0), jnp.float32),
            "bias": jnp.asarray(
                0.1 * recorded.signed(stream + 1, outputs), jnp.float32
            ),
        }
    return {"params": params}


def mask_iou_fn(masks):
    return MaskIouNet(80).apply(make_params(), masks)


@functools.cache
def losses_and_gradients():
    config = spec("yolact_plus_base")
    anchors = jnp.asarray(build.make_anchors(config))
    count = len(anchors)
    assert count == 57744

    def values(stream, *shape):
        return recorded.signed(stream, 2, *shape)

    outputs = (
        0.5 * values(200001, count, 4),
        2 * values(200002, count, 81),
        np.tanh(values(200003, count, 32)),
        np.maximum(2 * values(200004, 138, 138, 32), 0),
        np.moveaxis(values(200005, 80, 69, 69), 1, -1),
    )

    batch, options = make_batch(550), config.loss
    make_params()  # outside of the trace, which must not leak into its cache

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def run(predictions):
        terms = yolact.yolact_losses(
            predictions,
            batch,
            anchors,
            priority=random_priority(predictions),
            options=options,
            mask_iou_fn=mask_iou_fn,
        )
        return terms.total, terms

    predictions = Predictions(*(jnp.asarray(o, jnp.float32) for o in outputs))
    return run(predictions)[::-1]


@pytest.mark.long
def test_losses():
    terms, _ = losses_and_gradients()
    assert float(terms.box) == pytest.approx(4.626773, rel=1e-5)
    assert float(terms.mask) == pytest.approx(8.491019, rel=1e-5)
    assert float(terms.classification) == pytest.approx(26.40163, rel=1e-5)
    assert float(terms.semantic) == pytest.approx(58.73766, rel=1e-5)
    assert float(terms.mask_iou) == pytest.approx(4.529595, rel=1e-5)
    assert float(terms.total) == pytest.approx(102.7867, rel=1e-5)


@pytest.mark.long
def test_gradient_of_the_mask_iou_reaches_masks():
    _, gradients = losses_and_gradients()
    sums = jax.tree.map(lambda g: float(jnp.abs(g).sum()), gradients)
    assert sums.box_deltas == pytest.approx(4.189058, rel=1e-5)
    assert sums.class_logits == pytest.approx(7.971437, rel=1e-5)
    assert sums.semantic_logits == pytest.approx(40.0122, rel=1e-5)
    assert sums.coefficients == pytest.approx(51.71815, rel=1e-4)
    assert sums.prototypes == pytest.approx(209.6906, rel=1e-4)


def test_mask_scoring_network():
    params = make_params()
    assert set(params["params"]) == {*(f"conv{i}" for i in range(5)), "scores"}
    scores = mask_iou_fn(
        jnp.asarray(recorded.uniform(100001, 2, 138, 138), jnp.float32)
    )
    assert scores.shape == (2, 80)
    assert float(scores.min()) >= 0
