"""Counts the parameters, anchors and operations of published and modern models.

    python benchmarks/model_card.py

Operations are those that XLA counts in the network for one image (a multiplication
and an addition are two); resizing, NMS and masks are not among them.
"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp

from parity.models import NAMES, GoldenModel
from yolact_jax import build
from yolact_jax.tools.flops import count_flops


def forward_flops(model: GoldenModel) -> float:
    """Counts the operations of a forward pass at test time."""
    size = model.input_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    # Winograd's algorithm needs fewer, but the published counts are of the plain form.
    plain = model.config.replace({"model.winograd": "no"})
    module = build.make_model(plain, model.num_classes)
    forward = functools.partial(module.apply, train=False)
    return count_flops(forward, model.abstract_variables, image)


def main() -> None:
    """Prints the table."""
    print("| config | parameters | priors | GFLOPs |\n| --- | ---: | ---: | ---: |")
    modern = [GoldenModel(name, num_classes=80) for name in ("modern", "modern_small")]
    for model in [*map(GoldenModel, NAMES), *modern]:
        leaves = jax.tree.leaves(model.abstract_variables["params"])
        parameters = sum(leaf.size for leaf in leaves)
        priors = len(build.make_anchors(model.config))
        gflops = forward_flops(model) / 1e9
        row = f"| `{model.name}` | {parameters:,} | {priors:,} | {gflops:.1f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
