"""How far the gradients of Winograd's convolutions are from those in float64.

    python benchmarks/winograd_gradients.py --golden DIR --models yolact_plus_base

`--golden` is a folder as for `python -m parity`, with recorded batches.  The gradient
of all losses is computed on one of them with Winograd's algorithm, without it, and
without it in float64.  A row for each tensor goes to a file in `--results`.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import float64, measurement
from benchmarks.timing import device_name
from parity.manifest import read_manifest
from parity.records import Arrays
from parity.training import backward_fn, golden_batch, term_weights
from yolact_jax.weights.torch_names import torch_key

_LIMIT = 3.0
"""Tensors with a larger ratio of errors are counted."""
_ERRORS = ("winograd_error", "plain_error")


def gradient(options: argparse.Namespace, name: str, winograd: str) -> dict:
    """Gradient of each tensor of a model, by the keys of the original."""
    manifest = read_manifest(options.golden)
    file = options.golden / f"golden_losses_{options.batch}.npz"
    batch = golden_batch(Arrays(file), options.group, manifest)
    model = dataclasses.replace(manifest.model(name, "no"), winograd=winograd)
    variables = model.variables()
    if jax.config.jax_enable_x64:
        variables, batch = jax.tree.map(_doubled, (variables, batch))
    run = backward_fn(model, model.config.loss.max_masks)
    _, found = jax.device_get(run(variables, batch, term_weights(model)))
    leaves = jax.tree_util.tree_leaves_with_path({"params": found})
    return {
        torch_key(tuple(key.key for key in path)): leaf.astype(np.float64)
        for path, leaf in leaves
    }


def _doubled(array):
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype == np.float32 else array


def in_float64(options: argparse.Namespace, name: str) -> dict:
    """Computes `gradient` in a process whose arithmetic is float64."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/gradient.npz"
        words = ["--golden", options.golden.resolve(), "--batch", options.batch]
        words += ["--group", options.group, "--models", name, "--output", file]
        float64.call("benchmarks.winograd_gradients", "main", *words)
        with np.load(file) as arrays:
            return dict(arrays)


def compare(options: argparse.Namespace, name: str) -> list[dict]:
    """A row for each tensor: errors of both algorithms, and their ratio."""
    exact = in_float64(options, name)
    fast, plain = (gradient(options, name, winograd) for winograd in ("yes", "no"))
    # Biases in front of a batch norm have a gradient of mere rounding.
    largest = max(np.linalg.norm(array) for array in exact.values())
    rows = []
    for key, array in exact.items():
        norm = np.linalg.norm(array)
        if norm <= 1e-6 * largest:
            continue
        errors = [np.linalg.norm(one[key] - array) / norm for one in (fast, plain)]
        rows.append(
            {
                "model": name,
                "tensor": key,
                "norm": f"{norm:.4g}",
                "winograd_error": f"{errors[0]:.3g}",
                "plain_error": f"{errors[1]:.3g}",
                "ratio": round(float(errors[0] / errors[1]), 2),
            }
        )
    return rows


def summary(rows: list[dict]) -> str:
    """How many tensors are beyond the limit, and the worst of them."""
    beyond = [row for row in rows if row["ratio"] > _LIMIT]
    middle = [np.median([float(r[k]) for r in rows]) for k in _ERRORS]
    worst = sorted(rows, key=lambda row: row["ratio"])[-5:]
    lines = [
        f"{len(beyond)} of {len(rows)} tensors beyond {_LIMIT} times the plain error; "
        f"median errors {middle[0]:.2g} and {middle[1]:.2g}",
        *(" ".join(map(str, row.values())) for row in reversed(worst)),
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Compares, prints the summary of each model, and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--models", default="yolact_plus_base", help="a,b")
    parser.add_argument("--batch", default="yolact_base", help="whose recorded batch")
    parser.add_argument("--group", default="B", help="which of them")
    parser.add_argument("--output", type=Path, help="only writes the gradient there")
    results = Path(__file__).parent / "results"
    parser.add_argument("--results", type=Path, default=results)
    options = parser.parse_args(arguments)
    names = options.models.split(",")
    if options.output:
        np.savez(options.output, **gradient(options, names[0], "no"))
        return
    rows = []
    for name in names:
        rows += (found := compare(options, name))
        print(f"{name}: {summary(found)}", flush=True)
    file = f"winograd_gradients-{device_name()}-jax{jax.__version__}.csv"
    measurement.write_csv(options.results / file, rows)


if __name__ == "__main__":
    main()
