"""Gradients against the record: norms, and the first values of every array."""

import numpy as np
from flax.traverse_util import flatten_dict

from parity.records import Row
from yolact_jax.weights.torch_names import to_torch, torch_key


def _torch_gradient(gradient) -> dict[str, np.ndarray]:
    flat = flatten_dict({"params": gradient})
    return {torch_key(p): to_torch(p, np.asarray(a)) for p, a in flat.items()}


def check_gradient(gradient: dict, golden: dict, case: str) -> list[Row]:
    """Compares the gradient of the sum of all terms.

    Args:
      gradient: by the names of the model.
      golden: the recorded arrays.
      case: as "A_frozen".

    Returns:
      The rows.
    """
    if f"{case}/grad_names" not in golden:
        return []
    names = [str(name) for name in golden[f"{case}/grad_names"]]
    ours = _torch_gradient(gradient)
    missing = [name for name in names if name not in ours]
    rows = [Row(f"{case}: gradient names", float(len(missing)), 0.0, "lost")]
    mine = [ours.get(name, np.zeros(1)).astype(np.float64) for name in names]
    if f"{case}/grad_l2" in golden:
        rows += _check_norms(mine, golden, case)
    if f"{case}/grad_head" in golden:
        rows += _check_heads(mine, golden, case)
    return rows


def _check_norms(mine, golden, case) -> list[Row]:
    recorded = np.asarray(golden[f"{case}/grad_l2"], np.float64)
    noises = golden.get(f"{case}/grad_rel_noise", np.full(len(mine), np.nan))
    # Biases in front of a batch norm have a gradient of mere rounding.
    real = (recorded > 1e-6 * recorded.max()) & ~(noises >= 0.5)
    return [
        _gradient_row(
            f"{case}: gradient l2", abs(np.linalg.norm(array) - l2) / l2, 1e-2, 3, noise
        )
        for array, l2, noise, counts in zip(mine, recorded, noises, real, strict=True)
        if counts
    ]


def _check_heads(mine, golden, case) -> list[Row]:
    noises = golden.get(f"{case}/grad_head_rel_noise", np.full(len(mine), np.nan))
    rows, largest = [], np.nanmax(np.abs(golden[f"{case}/grad_head"]))
    for array, head, noise in zip(
        mine, golden[f"{case}/grad_head"], noises, strict=True
    ):
        head = head[~np.isnan(head)].astype(np.float64)
        if noise >= 0.5 or not np.any(np.abs(head) > 1e-6 * largest):
            continue
        difference = np.linalg.norm(array.reshape(-1)[: len(head)] - head)
        error = difference / np.linalg.norm(head)
        rows.append(_gradient_row(f"{case}: gradient values", error, 3e-2, 5, noise))
    return rows


def _gradient_row(stage, error, floor, factor, noise) -> Row:
    """The tolerance follows the noise of the tensor."""
    tolerance = floor if np.isnan(noise) else max(floor, factor * noise)
    return Row(stage, float(error), tolerance, "rel", float(noise))


def check_component(gradient: dict, golden: dict, case: str, name: str) -> Row:
    """Compares the gradient of the term `name` alone, by its norm in each array."""
    ours = _torch_gradient(gradient)
    worst = 0.0
    recorded = golden[f"{case}/grad_l2_of_{name}"]
    for key, l2 in zip(golden["grad_component_names"], recorded, strict=True):
        if l2 > 1e-6:  # nan where frozen
            mine = np.linalg.norm(ours[str(key)].astype(np.float64))
            worst = max(worst, abs(mine - l2) / l2)
    return Row(f"{case}: gradient l2 of {name}", float(worst), 1e-2, "rel")
