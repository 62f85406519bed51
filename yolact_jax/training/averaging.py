"""Moving average (EMA) of a model's variables (Polyak and Juditsky 1992)."""

import jax
import jax.numpy as jnp


def update_average(average: dict, variables: dict, step: jax.Array, decay: float):
    """Moves an average towards new variables: ``d * average + (1 - d) * variables``.

    In the beginning ``d = (1 + step) / (10 + step)``, until that exceeds `decay`, so
    that the average soon forgets the initial weights.

    Args:
      average: tree of float32 arrays.
      variables: the same structure.
      step: int32 scalar, updates before the one that made `variables`.
      decay: share of the old average in the new, in [0, 1).

    Returns:
      The new average.
    """
    step = step.astype(jnp.float32)
    share = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, v: share * a + (1 - share) * v, average, variables)
