"""Operations of several nodes, or with arguments that ONNX wants as tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolact_jax.export.onnx.graph import Value, apply, apply_many


def cast(x: Value, dtype: Any) -> Value:
    """Converts the elements."""
    from onnx import helper

    return apply("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def reshape(x: Value, *shape: int) -> Value:
    """Reshapes; 0 keeps the length of an axis, -1 takes what is left."""
    return apply("Reshape", x, np.array(shape))


def expand_dims(x: Value, *axes: int) -> Value:
    """Inserts axes of length 1."""
    return apply("Unsqueeze", x, np.array(axes))


def concatenate(values: Sequence[Value], axis: int) -> Value:
    """Joins along an axis."""
    return apply("Concat", *values, axis=axis)


def part(x: Value, start: Any, end: Any, axis: int) -> Value:
    """Takes ``x[start:end]`` along an axis; the bounds may be [1] int64 values."""
    bounds = (b if isinstance(b, Value) else np.array([b]) for b in (start, end))
    return apply("Slice", x, *bounds, np.array([axis]))


def columns(x: Value, count: int) -> list[Value]:
    """Splits [..., count] into that many values [..., 1]."""
    sizes = np.ones(count, np.int64)
    return apply_many("Split", x, sizes, outputs=count, axis=-1)


def size(x: Value, axis: int) -> Value:
    """Length of an axis, [] int64."""
    return apply("Gather", apply("Shape", x), axis, axis=0)


def take(x: Value, index: Value, axis: int) -> Value:
    """`numpy.take`."""
    return apply("Gather", x, index, axis=axis)


def rows(x: Value, index: Value) -> Value:
    """Takes rows of each image: [B, A, ...] by [B, N] int64 to [B, N, ...]."""
    return apply("GatherND", x, expand_dims(index, -1), batch_dims=1)


def largest(x: Value, axis: int, *, keepdims: bool = False) -> Value:
    """Maximum along an axis."""
    return apply("ReduceMax", x, np.array([axis]), keepdims=int(keepdims))


def smallest(x: Value, axis: int) -> Value:
    """Minimum along an axis."""
    return apply("ReduceMin", x, np.array([axis]), keepdims=0)


def any_true(x: Value, axis: int | None = None) -> Value:
    """Whether any of the bool values along an axis, or of all, is True."""
    axes = None if axis is None else np.array([axis])
    numbers = cast(x, np.float32)
    return apply("ReduceMax", numbers, axes, keepdims=0) > 0.0


def total(x: Value, axis: int) -> Value:
    """Sum along an axis."""
    return apply("ReduceSum", x, np.array([axis]), keepdims=0)


def product(x: Value, axis: int) -> Value:
    """Product along an axis."""
    return apply("ReduceProd", x, np.array([axis]), keepdims=0)


def top_k(x: Value, count: int) -> tuple[Value, Value]:
    """The largest values along the last axis and their places, the first of equals."""
    values, index = apply_many("TopK", x, np.array([count]), outputs=2, axis=-1)
    return values, index


def where(condition: Value, x: Any, y: Any) -> Value:
    """Chooses element by element."""
    return apply("Where", condition, x, y)


def clip(x: Value, low: Any, high: Any) -> Value:
    """Limits the elements; the bounds broadcast."""
    return apply("Min", apply("Max", x, low), high)


def pad_end(x: Value, count: int, axis: int, rank: int) -> Value:
    """Appends zeros along an axis."""
    if not count:
        return x
    widths = np.zeros(2 * rank, np.int64)
    widths[rank + axis] = count
    return apply("Pad", x, widths)


def enlarge(x: Value, height: Any, width: Any) -> Value:
    """Resizes [B, c, h, w] bilinearly with half-pixel centers."""
    sizes = _sizes(x, height, width)
    return apply(
        "Resize",
        x,
        None,
        None,
        sizes,
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def _sizes(x: Value, height: Any, width: Any) -> Any:
    if isinstance(height, int):
        return np.array([height, width])
    return concatenate([expand_dims(height, 0), expand_dims(width, 0)], 0)


def centers(count: Value) -> Value:
    """0.5, 1.5 and so on, [count] float32, for a [] int64 value."""
    index = apply("Range", np.asarray(0), count, np.asarray(1))
    return cast(index, np.float32) + 0.5


def reshape_like(x: Value, other: Value) -> Value:
    """Reshapes to the shape of another value."""
    return apply("Reshape", x, apply("Shape", other))
