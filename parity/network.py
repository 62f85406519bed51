"""Network input, backbone, FPN, heads, priors and decoded boxes against the record."""

import jax
import jax.numpy as jnp
import numpy as np

from parity.models import GoldenModel, forward_fn, to_nchw
from parity.records import Row, compare_absolute, compare_scaled
from yolact_jax import build
from yolact_jax.models.normalize import normalize_images
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops.anchors import level_sizes
from yolact_jax.ops.resize import resize_valid
from yolact_jax.structures import Predictions

ACTIVATION_TOLERANCE = 1e-2
_HEADS = {
    "loc": lambda p: p.box_deltas,
    "conf_logits": lambda p: p.class_logits,
    "conf": lambda p: jax.nn.softmax(p.class_logits),
    "mask": lambda p: p.coefficients,
}


def network_input(model: GoldenModel, image: np.ndarray) -> jax.Array:
    """Resizes and normalizes [h, w, 3] uint8 to [1, S, S, 3], as prediction does."""
    resized = resize_valid(
        jnp.asarray(image), jnp.asarray(image.shape[:2]), model.config.data.frame
    )
    return normalize_images(resized[None], model.module.normalization)


def check_priors(model: GoldenModel, golden: dict) -> list[Row]:
    """Compares anchors and level sizes."""
    anchors = build.make_anchors(model.config)
    rows = compare_absolute(golden, "priors", anchors, "priors", 1e-6)
    if "level_sizes" in golden:
        sizes = np.array(level_sizes(model.input_size))
        wrong = np.sum(golden["level_sizes"] != sizes[:, None])
        rows.append(Row("level sizes", float(wrong), 0.0, "wrong"))
    return rows


def check_network(
    model: GoldenModel, variables: dict, golden: dict, prefix: str, image: np.ndarray
) -> tuple[list[Row], Predictions]:
    """Runs the network on an image and compares every recorded stage.

    Args:
      model: the model.
      variables: with the golden weights.
      golden: the recorded arrays.
      prefix: of the image in `golden`, as "img0/".
      image: [h, w, 3] uint8 RGB.

    Returns:
      The rows and the predictions.
    """
    inputs = network_input(model, image)
    predictions, stages = forward_fn(model)(variables, inputs)
    tolerance = 2e-4 if "darknet" in model.name else 1e-3
    rows = compare_absolute(
        golden, prefix + "input", to_nchw(inputs), "input", tolerance
    )
    named = {name: to_nchw(stage) for name, stage in stages.items()}
    named["proto"] = np.asarray(predictions.prototypes)
    named["segm"] = to_nchw(predictions.semantic_logits)
    for name, array in named.items():
        rows += _scaled(golden, prefix + name, array, name)
    rows += _check_heads(model, predictions, golden, prefix)
    # The deltas are ours; the codec itself is compared to 1e-5 with the operations.
    anchors = jnp.asarray(build.make_anchors(model.config))
    boxes = np.asarray(box_ops.decode(predictions.box_deltas[0], anchors))
    return rows + _scaled(golden, prefix + "decoded", boxes, "decoded"), predictions


def _scaled(golden, name, full, stage) -> list[Row]:
    return compare_scaled(golden, name, full, stage, ACTIVATION_TOLERANCE)


def _check_heads(model, predictions, golden, prefix) -> list[Row]:
    sizes = level_sizes(model.input_size)
    per_cell = model.module.anchors_per_cell
    ends = np.cumsum([per_cell * side**2 for side in sizes])
    slices = {"": slice(None)}
    for level, end in enumerate(ends):
        slices[f"L{level}_"] = slice(end - per_cell * sizes[level] ** 2, end)
    rows = []
    for head, read in _HEADS.items():
        full = np.asarray(read(predictions))
        for level, part in slices.items():
            name = f"{prefix}{level}{head}"
            if head == "conf":
                rows += compare_absolute(golden, name, full[:, part], head, 2e-3)
            else:
                rows += _scaled(golden, name, full[:, part], head)
    return rows
