"""Gradients against the record: norms, and the first values of every array."""

import numpy as np
from flax.traverse_util import flatten_dict

from parity.records import Row
from yolact_jax.weights.torch_names import to_torch, torch_key

_HEAD = 64  # values of each gradient that are on record


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
    ours = _torch_gradient(gradient)
    rows = []
    for index, name in enumerate(golden[f"{case}/grad_names"]):
        mine = ours[str(name)].astype(np.float64)
        noise = float(golden[f"{case}/grad_rel_noise"][index])
        head_noise = float(golden[f"{case}/grad_head_rel_noise"][index])
        # Biases in front of a batch norm have a gradient of mere rounding.
        if noise < 0.5:
            l2 = float(golden[f"{case}/grad_l2"][index])
            error = abs(np.linalg.norm(mine) - l2) / l2
            rows.append(_gradient_row(f"{case}: gradient l2", error, 1e-2, 3, noise))
        head = golden[f"{case}/grad_head"][index]
        head = head[~np.isnan(head)].astype(np.float64)
        if head_noise < 0.5 and np.any(head):
            difference = np.linalg.norm(mine.reshape(-1)[:_HEAD][: len(head)] - head)
            error = difference / np.linalg.norm(head)
            rows.append(
                _gradient_row(f"{case}: gradient values", error, 3e-2, 5, head_noise)
            )
    return rows


def _gradient_row(stage, error, floor, factor, noise) -> Row:
    """The tolerance follows the noise of the tensor."""
    return Row(stage, float(error), max(floor, factor * noise), "rel", noise)


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
