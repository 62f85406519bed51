"""Deformable convolution agrees with loops, a record of the original, and itself."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.models.deform_conv import DeformConv, deform_conv

_GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "family_ops.npz"


def bilinear(image, y, x):
    """Reads [h, w, c] at one position; pixels outside are zero."""
    value = np.zeros(image.shape[2])
    row, column = int(np.floor(y)), int(np.floor(x))
    for i, j in itertools.product((row, row + 1), (column, column + 1)):
        if 0 <= i < image.shape[0] and 0 <= j < image.shape[1]:
            value += image[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return value


def loop_deform_conv(x, offsets, modulation, kernel, stride, padding):
    """One output pixel, one tap at a time, in float64."""
    size = kernel.shape[0]
    out = np.zeros((*offsets.shape[:3], kernel.shape[3]))
    for b, row, column in np.ndindex(*offsets.shape[:3]):
        for tap, (i, j) in enumerate(np.ndindex(size, size)):
            dy, dx = offsets[b, row, column, tap]
            y = row * stride - padding + i + dy
            sample = bilinear(x[b], y, column * stride - padding + j + dx)
            sample = sample * modulation[b, row, column, tap]
            out[b, row, column] += sample @ kernel[i, j]
    return out


def make_case(seed, size, stride, kernel_size=3, reach=2.0):
    rng = np.random.default_rng(seed)
    height, width = size
    out = (-(-height // stride), -(-width // stride))
    taps = kernel_size**2
    return (
        rng.normal(size=(2, height, width, 3)).astype(np.float32),
        rng.normal(scale=reach, size=(2, *out, taps, 2)).astype(np.float32),
        rng.uniform(size=(2, *out, taps)).astype(np.float32),
        rng.normal(size=(kernel_size, kernel_size, 3, 4)).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("size", "stride", "kernel_size"),
    [((5, 7), 1, 3), ((6, 5), 2, 3), ((1, 1), 1, 3), ((4, 4), 1, 1), ((6, 6), 1, 5)],
)
@pytest.mark.parametrize("reach", [0.0, 1.0, 30.0])
def test_agrees_with_loops(size, stride, kernel_size, reach):
    case = make_case(0, size, stride, kernel_size, reach)
    options = {"stride": stride, "padding": kernel_size // 2}
    expected = loop_deform_conv(*case, **options)
    actual = jax.jit(deform_conv, static_argnames=("stride", "padding"))(
        *case, **options
    )
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("offset", [-1.0, -1.5, -2.0, 3.0, 3.5, 4.0, 1e6, -1e6])
def test_samples_fade_to_zero_outside_the_map(offset):
    x = np.ones((1, 4, 4, 1), np.float32)
    offsets = np.full((1, 4, 4, 1, 2), offset, np.float32)
    ones = np.ones((1, 4, 4, 1), np.float32)
    kernel = np.ones((1, 1, 1, 1), np.float32)
    expected = loop_deform_conv(x, offsets, ones, kernel, 1, 0)
    actual = deform_conv(x, offsets, ones, kernel, padding=0)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_agrees_with_finite_differences(stride):
    case = make_case(1, (4, 5), stride)
    # Bilinear sampling has kinks at whole numbers; stay away from them.
    offsets = np.round(case[1]) + np.clip(case[1] - np.round(case[1]), 0.1, 0.4)
    case = (case[0], offsets.astype(np.float32), *case[2:])
    weight = np.random.default_rng(2).normal(size=(*offsets.shape[:3], 4))

    def value(*arrays):
        out = loop_deform_conv(*arrays, stride=stride, padding=1)
        return float(np.sum(weight * out))

    def loss(*arrays):
        return jnp.sum(weight * deform_conv(*arrays, stride=stride))

    gradients = jax.jit(jax.grad(loss, argnums=range(4)))(*case)
    rng = np.random.default_rng(3)
    for argument, gradient in enumerate(gradients):
        wide = [a.astype(np.float64) for a in case]
        direction = rng.normal(size=wide[argument].shape)
        step = 1e-4 * direction
        plus, minus = list(wide), list(wide)
        plus[argument], minus[argument] = wide[argument] + step, wide[argument] - step
        slope = (value(*plus) - value(*minus)) / 2e-4
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-3, abs=1e-3)


def to_variables(golden, case):
    def kernel(key):
        return golden[f"{case}/{key}"].transpose(2, 3, 1, 0)

    offset = {
        "kernel": kernel("conv_offset_mask.weight"),
        "bias": golden[f"{case}/conv_offset_mask.bias"],
    }
    return {
        "kernel": kernel("weight"),
        "bias": golden[f"{case}/bias"],
        "conv_offset_mask": offset,
    }


@pytest.mark.parametrize(("case", "stride"), [("dcn_s1", 1), ("dcn_s2", 2)])
def test_agrees_with_the_record(case, stride):
    golden = np.load(_GOLDEN)
    params = to_variables(golden, case)
    x = golden[f"{case}/x"].transpose(0, 2, 3, 1)
    cotangent = golden[f"{case}/cotangent"].transpose(0, 2, 3, 1)
    module = DeformConv(cotangent.shape[-1], stride=stride)

    @jax.jit
    def apply_and_gradients(params, x, cotangent):
        y, vjp = jax.vjp(lambda p, x: module.apply({"params": p}, x), params, x)
        return y, *vjp(cotangent)

    y, gradient, gradient_x = apply_and_gradients(params, x, cotangent)
    expected = golden[f"{case}/y"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    expected_x = golden[f"{case}/grad_x"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient_x, expected_x, rtol=1e-4, atol=1e-4)
    recorded = {k.replace("grad_", ""): golden[k] for k in golden if "/grad_" in k}
    expected = to_variables(recorded, case)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_starts_as_half_an_ordinary_convolution():
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 3))
    module = DeformConv(5)
    variables = module.init(jax.random.key(1), x)
    kernel = variables["params"]["kernel"]
    plain = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(module.apply(variables, x), plain / 2, atol=1e-5)
