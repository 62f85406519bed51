"""Counts the floating-point operations of a function, on any platform."""

from collections.abc import Callable
from typing import cast

import jax
from jax.sharding import SingleDeviceSharding


def count_flops(function: Callable, *arguments) -> float:
    """Counts the operations of a function as written; nothing is computed.

    XLA counts them in the program for the CPU, before it optimizes: an optimized one
    hides convolutions in library calls, and the plugins for other platforms cannot
    count.  The body of a loop counts once; a multiplication and an addition are two.

    Args:
      function: what to trace.
      *arguments: arrays or `jax.ShapeDtypeStruct`; where they are does not matter.

    Raises:
      ValueError: if JAX was started without the CPU.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        # JAX gives `config` its attributes at run time.
        platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            f"JAX_PLATFORMS={platforms} leaves out the CPU, on which "
            f"operations are counted: unset it, or add ',cpu' to it."
        ) from error
    sharding = SingleDeviceSharding(cpu)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arguments
    )
    costs = jax.jit(function).lower(*arguments).cost_analysis()
    return cast("dict[str, float]", costs)["flops"]
