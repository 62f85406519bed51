"""The plain forms are what they replace, and do take their place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import kernel_forms
from yolact_jax.models import batch_norm
from yolact_jax.models.kernels.convolution import pointwise_convolution
from yolact_jax.models.resnet import ResNet18
from yolact_jax.ops.resize import resize_bilinear


def _map(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("stride", [1, 2])
def test_plain_pointwise_convolution(stride):
    arguments = _map(2, 5, 7, 3), _map(1, 1, 3, 4), stride
    want = pointwise_convolution(*arguments)
    np.testing.assert_allclose(
        kernel_forms.plain_pointwise(*arguments), want, atol=1e-5
    )


def test_plain_resizing():
    for axes in ((1, 2), (-2, -1)):
        arguments = _map(2, 5, 7, 3), (9, 4)
        want = resize_bilinear(*arguments, axes=axes)
        found = kernel_forms.plain_resize(*arguments, axes=axes)
        np.testing.assert_allclose(found, want, atol=1e-5)


def test_plain_normalization_and_its_gradient():
    x, scale, bias, weights = _map(2, 5, 7, 3), _map(3), _map(3), _map(2, 5, 7, 3)

    def loss(normalize, *inputs):
        y, mean, var = normalize(1e-5, None, jnp.float32, *inputs, jnp.zeros(3))
        return jnp.sum(y * weights), (mean, var)

    found, want = (
        jax.value_and_grad(
            lambda *inputs, form=form: loss(form, *inputs), (0, 1, 2), has_aux=True
        )(x, scale, bias)
        for form in (kernel_forms.plain_normalize, batch_norm._normalize)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, want)


@pytest.mark.parametrize("form", kernel_forms.variants("training")[2:-1])
def test_a_plain_form_changes_the_program(form):
    """Of a backbone, which has all but Winograd's algorithm and resizing."""
    x = jnp.zeros((1, 64, 64, 3))

    def program():
        # Nothing of an earlier trace may be used again.
        jax.clear_caches()
        model = ResNet18(deformable_interval=0, width=8)
        variables = jax.eval_shape(
            lambda: model.init(jax.random.key(0), x, use_running_average=False)
        )

        def loss(variables):
            maps, _ = model.apply(
                variables, x, use_running_average=False, mutable=["batch_stats"]
            )
            return sum(jnp.sum(each) for each in jax.tree.leaves(maps))

        return str(jax.make_jaxpr(jax.grad(loss))(variables))

    ours = program()
    assert ours == program()
    with kernel_forms.without(form):
        assert program() != ours


def test_every_form_is_a_variant_of_something():
    names = {*kernel_forms.variants("training"), *kernel_forms.variants("inference")}
    assert names == {*kernel_forms.FORMS, "none"}
    with kernel_forms.without("Winograd's algorithm") as fields:
        assert fields == {"model.winograd": "no"}


@pytest.mark.parametrize("flag", ["--kinds=foo", "--configs=shapes,foo"])
def test_unknown_words_are_refused(flag, capsys):
    with pytest.raises(SystemExit):
        kernel_forms.parse([flag])
    assert "'foo' is not one of" in capsys.readouterr().err
    options = kernel_forms.parse(["--kinds=inference"])
    assert options.kinds == ["inference"]
    assert options.configs == ["shapes", "nuclei", "yolact_resnet50"]
