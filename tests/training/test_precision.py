"""bfloat16 stays inside the network; rematerialisation changes memory alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import scenes
from tests.training.test_step import assert_trees_close
from yolact_jax.models.darknet import DarkNet
from yolact_jax.models.resnet import Bottleneck, ResNet

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def in_bfloat16():
    state, step = scenes.tiny_step(dtype=jnp.bfloat16)
    return state, jax.jit(step)


def test_state_gradients_and_losses_are_float32(in_bfloat16):
    state, step = in_bfloat16
    state, metrics = step(state, scenes.rectangles([1, 2, 3, 2]))
    floats = [x for x in jax.tree.leaves((state, metrics)) if x.dtype != jnp.int32]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    # The momentum after one step is the gradient, summed in its own type.
    momentum = jax.tree.leaves(state.opt_state)
    assert any(np.any(np.asarray(x)) for x in momentum)


def test_every_convolution_of_the_step_runs_in_bfloat16(in_bfloat16):
    state, step = in_bfloat16
    jaxpr = step.trace(state, scenes.rectangles([1, 2, 3, 2])).jaxpr
    types = set(operand_types(jaxpr.jaxpr, {"conv_general_dilated"}))
    assert types == {jnp.dtype("bfloat16")}


def test_every_product_of_the_network_runs_in_bfloat16():
    # Convolutions of one pixel are matrix products; the losses have others.
    model = scenes.tiny_model(dtype=jnp.bfloat16)
    images = jnp.zeros((1, scenes.INPUT_SIZE, scenes.INPUT_SIZE, 3))
    run = functools.partial(model.init_with_output, jax.random.key(0), train=True)
    jaxpr = jax.make_jaxpr(run)(images)
    types = set(operand_types(jaxpr.jaxpr, {"conv_general_dilated", "dot_general"}))
    assert types == {jnp.dtype("bfloat16")}


def operand_types(jaxpr, primitives):
    for equation in jaxpr.eqns:
        if equation.primitive.name in primitives:
            yield from (v.aval.dtype for v in (*equation.invars, *equation.outvars))
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from operand_types(inner, primitives)


def test_bfloat16_follows_float32_and_learns(in_bfloat16):
    batch = scenes.rectangles([1, 2, 3, 2])
    exact, exact_step = scenes.tiny_step()
    _, expected = jax.jit(exact_step)(exact, batch)
    state, step = in_bfloat16
    losses = []
    for _ in range(30):
        state, metrics = step(state, batch)
        losses.append(metrics.losses)
    assert_trees_close(losses[0], expected.losses, rtol=0.05)
    assert losses[-1].total < 0.6 * losses[0].total


BACKBONES = {
    "resnet": functools.partial(
        ResNet, (1, 2, 1, 1), Bottleneck, width=8, deformable_interval=0
    ),
    "darknet": functools.partial(DarkNet, (1, 1, 2, 1, 1), width=16),
}


def backbone_loss(name):
    """Returns (variables, loss): ``loss(params, images, remat=...)``."""
    images = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
    init = functools.partial(BACKBONES[name]().init, use_running_average=False)
    variables = jax.jit(init)(jax.random.key(1), images)

    def loss(params, images, *, remat):
        maps, updates = BACKBONES[name](remat=remat).apply(
            {**variables, "params": params},
            images,
            use_running_average=False,
            mutable=["batch_stats"],
        )
        return sum(jnp.mean(x**2) for x in maps), updates

    return variables["params"], images, loss


@pytest.mark.parametrize("name", BACKBONES)
def test_remat_gives_the_same_gradients(name):
    params, images, loss = backbone_loss(name)
    expected, result = (
        jax.jit(jax.grad(functools.partial(loss, remat=remat), has_aux=True))(
            params, images
        )
        for remat in (False, True)
    )
    assert_trees_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_remat_keeps_less_for_the_backward_pass(name):
    params, _, loss = backbone_loss(name)
    images = jax.ShapeDtypeStruct((16, 128, 128, 3), jnp.float32)
    kept = []
    for remat in (False, True):
        fn = functools.partial(loss, remat=remat)
        backward = jax.eval_shape(
            lambda p, x, f=fn: jax.vjp(f, p, x, has_aux=True)[1], params, images
        )
        kept.append(num_bytes(backward) - num_bytes(params))
    assert kept[1] < 0.75 * kept[0], kept


@pytest.mark.skipif(
    jax.default_backend() == "cpu",
    reason="on a CPU, XLA schedules for speed and not for memory",
)
@pytest.mark.parametrize("name", BACKBONES)
def test_remat_needs_less_memory_by_the_compiler(name):
    params, _, loss = backbone_loss(name)
    images = jax.ShapeDtypeStruct((16, 128, 128, 3), jnp.float32)
    sizes = []
    for remat in (False, True):
        step = jax.jit(jax.grad(functools.partial(loss, remat=remat), has_aux=True))
        memory = step.lower(params, images).compile().memory_analysis()
        sizes.append(memory.temp_size_in_bytes)
    assert sizes[1] < 0.8 * sizes[0], sizes


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.mark.slow
def test_remat_step_equals_the_plain_one():
    batch = scenes.rectangles([1, 2])
    results = []
    for remat in (False, True):
        state, step = scenes.tiny_step(remat=remat)
        results.append(jax.jit(step)(state, batch))
    assert_trees_close(results[1], results[0], rtol=1e-4, atol=1e-5)
