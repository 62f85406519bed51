"""Compares every published model with numbers recorded from the original.

    python -m parity --golden DIR [--only yolact_base,yolact_im400]
                                [--check inference|losses|sgd|ops]

DIR holds ``golden_ops.npz``, ``<config>.npz``, ``golden_losses_<config>.npz``,
``golden_sgd_<config>.npz`` and ``images/``; whichever of them are there are compared.
Prints one line per config and stage with the largest error over all images, and exits
1 if any is beyond its tolerance.  float32, full matrix precision.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np

from parity import detections, network, ops, training, trajectory
from parity.images import load_image
from parity.models import NAMES, GoldenModel
from parity.records import Row, worst


def check_inference(name: str, folder: Path) -> list[Row]:
    """Compares everything between the image and its final masks."""
    model = GoldenModel(name)
    golden = load(folder / f"{name}.npz")
    variables = jax.device_put(model.variables())
    rows = network.check_priors(model, golden)
    for index, image_name in enumerate(golden["images"]):
        image = load_image(str(image_name), folder / "images")
        prefix = f"img{index}/"
        more, predictions = network.check_network(
            model, variables, golden, prefix, image
        )
        rows += more
        rows += detections.check_detections(
            model, variables, predictions, golden, prefix, image.shape[:2]
        )
    return rows


def check_losses(name: str, folder: Path) -> list[Row]:
    """Compares one training step, with frozen and with trained batch statistics."""
    golden = load(folder / f"golden_losses_{name}.npz")
    images = folder / "images"
    rows = []
    for freeze_bn, cases in (("yes", ("A_frozen", "B_frozen")), ("no", ("A_bn",))):
        model = GoldenModel(name, freeze_bn)
        variables = jax.device_put(model.variables())
        for case in cases:
            rows += training.check_training_step(model, variables, golden, case, images)
        if freeze_bn == "yes":
            rows += training.check_unlimited_masks(model, variables, golden, images)
    return rows


def check_ops(name: str, folder: Path) -> list[Row]:
    """Compares single operations; `name` is "ops"."""
    return ops.check_ops(load(folder / f"golden_{name}.npz"))


def check_sgd(name: str, folder: Path) -> list[Row]:
    """Compares five steps of training."""
    golden = load(folder / f"golden_sgd_{name}.npz")
    truth = load(folder / f"golden_losses_{name}.npz")
    return trajectory.check_trajectory(
        GoldenModel(name), golden, truth, folder / "images"
    )


CHECKS = {
    "inference": ("{}.npz", check_inference),
    "losses": ("golden_losses_{}.npz", check_losses),
    "sgd": ("golden_sgd_{}.npz", check_sgd),
    "ops": ("golden_{}.npz", check_ops),
}


def load(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a file."""
    with np.load(path) as archive:
        return dict(archive)


def main() -> None:
    """Parses arguments, compares, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True, help="Folder of records.")
    parser.add_argument("--only", help="Configs to compare, separated by commas.")
    parser.add_argument("--check", choices=CHECKS, help="Compare these files only.")
    args = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    found, failed = 0, 0
    for name in args.only.split(",") if args.only else ("ops", *NAMES):
        for kind in [args.check] if args.check else CHECKS:
            rows = compare(name, kind, args.golden)
            found += len(rows)
            failed += sum(not row.ok for row in rows)
    if not found:
        sys.exit(f"parity.py: `--golden` {args.golden} has no file of known name.")
    print(f"{found - failed} of {found} within tolerance")
    sys.exit(1 if failed else 0)


def compare(name: str, kind: str, folder: Path) -> list[Row]:
    """Makes and prints the rows of one file; none if the folder does not have it."""
    pattern, check = CHECKS[kind]
    file = pattern.format(name)
    if not (folder / file).is_file():
        return []
    start = time.perf_counter()
    rows = worst(check(name, folder))
    for row in rows:
        print(f"{name:<22} {row}", flush=True)
    print(f"# {file}: {time.perf_counter() - start:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    main()
