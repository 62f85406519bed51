"""Compares the published models with numbers recorded from the original.

    python -m parity --golden DIR [--only yolact_base,yolact_im400]
                                [--check weights|inference|losses|sgd|ops]

DIR holds ``manifest.json``, which gives the seed of the weights and what differs from
their rule in each config; ``images/``; and any of ``golden_ops.npz``, ``<config>.npz``,
``golden_losses_<config>.npz`` and ``golden_sgd_<config>.npz``.  Whatever cases and
arrays these hold are compared, in float32 with full matrix precision; the names of
the others are printed.  Prints one line per config and stage with the largest error
over all images, and last "N of M within tolerance"; exits 1 if any is beyond.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from parity import detections, network, ops, training, trajectory
from parity.manifest import Manifest, read_manifest
from parity.records import Arrays, Row, worst

_MAX_NAMED = 4


def check_inference(manifest: Manifest, name: str, golden: Arrays) -> list[Row]:
    """Compares everything between the images and their final masks."""
    model = manifest.model(name)
    variables = jax.device_put(model.variables())
    rows = network.check_priors(model, golden)
    for index, image_name in enumerate(golden.get("images", ())):
        image, prefix = manifest.image(str(image_name)), f"img{index}/"
        more, predictions = network.check_network(
            model, variables, golden, prefix, image
        )
        rows += more
        rows += detections.check_detections(
            model, variables, predictions, golden, prefix, image.shape[:2]
        )
    return rows


def check_losses(manifest: Manifest, name: str, golden: Arrays) -> list[Row]:
    """Compares steps of training, with frozen and with trained batch statistics."""
    rows = []
    for freeze_bn, suffix in (("yes", "frozen"), ("no", "bn")):
        model = manifest.model(name, freeze_bn)
        cases = [c for c in training.cases_of(golden) if c.endswith(suffix)]
        for check in (training.check_training_step, training.check_unlimited_masks):
            for case in cases:
                variables = jax.device_put(model.variables())
                rows += check(model, variables, golden, case, manifest)
    return rows


def check_sgd(manifest: Manifest, name: str, golden: Arrays) -> list[Row]:
    """Compares a few steps of training in a row."""
    # The ground truth is recorded there.
    truth = Arrays(manifest.folder / f"golden_losses_{name}.npz")
    return trajectory.check_trajectory(manifest.model(name), golden, truth, manifest)


def check_ops(manifest: Manifest, name: str, golden: Arrays) -> list[Row]:
    """Compares single operations; they have neither weights nor images."""
    del manifest, name
    return ops.check_ops(golden)


CHECKS = {
    "inference": ("{}.npz", check_inference),
    "losses": ("golden_losses_{}.npz", check_losses),
    "sgd": ("golden_sgd_{}.npz", check_sgd),
    "ops": ("golden_{}.npz", check_ops),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses arguments, compares, prints, and exits."""
    parser = argparse.ArgumentParser(
        prog="parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--golden", type=Path, required=True, help="Folder of records.")
    parser.add_argument("--only", help="Configs, or ops, separated by commas.")
    parser.add_argument("--check", choices=["weights", *CHECKS], help="This kind only.")
    args = parser.parse_args(arguments)
    try:
        with jax.default_matmul_precision("highest"):
            rows = compare_all(read_manifest(args.golden), args.only, args.check)
    except ValueError as error:
        sys.exit(f"parity: {error}")
    good = sum(row.ok for row in rows)
    print(f"{good} of {len(rows)} within tolerance")
    sys.exit(good < len(rows))


def compare_all(manifest: Manifest, only: str | None, kind: str | None) -> list[Row]:
    """Compares and prints what was asked for, and says what is there beside it.

    Raises:
      ValueError: if there is nothing to compare, or a file is damaged or missing.
    """
    known = ("ops", *manifest.names)
    names = only.split(",") if only else known
    for name in names:
        if name not in known:
            raise ValueError(
                f"`--only` {name} is not in the manifest of {manifest.folder}, which "
                f"has {', '.join(known)}."
            )
    rows = []
    for name in names:
        found = compare(manifest, name, kind)
        if only and not found:
            raise ValueError(
                f"`--golden` {manifest.folder} has no arrays to compare of {name}."
            )
        rows += found
    if not rows:
        raise ValueError(f"`--golden` {manifest.folder} has no arrays to compare.")
    if not only and not kind:
        _name_the_rest(manifest)
    return rows


def compare(manifest: Manifest, name: str, kind: str | None) -> list[Row]:
    """Compares and prints the files of a config, or of "ops", that are there."""
    files = {
        key: manifest.folder / pattern.format(name)
        for key, (pattern, _) in CHECKS.items()
        if (key == "ops") == (name == "ops") and kind in (None, key)
    }
    files = {key: path for key, path in files.items() if path.is_file()}
    rows, start = [], time.time()
    if name != "ops" and (kind == "weights" or (files and not kind)):
        rows += _report(name, "weights", manifest.check_weights(name), start)
    for key, path in files.items():
        start, golden = time.time(), Arrays(path)
        found = CHECKS[key][1](manifest, name, golden)
        rows += _report(name, path.name, found, start)
        unused = golden.unused()
        if unused:
            print(f"# {path.name}: not compared: {_some(unused)}", flush=True)
    return rows


def _report(name: str, title: str, rows: list[Row], start: float) -> list[Row]:
    rows = worst(rows)
    for row in rows:
        print(f"{name:<22} {row}", flush=True)
    print(f"# {title}: {time.time() - start:.0f} s", flush=True)
    return rows


def _name_the_rest(manifest: Manifest) -> None:
    known = {
        pattern.format(name)
        for name in ("ops", *manifest.names)
        for pattern, _ in CHECKS.values()
    }
    rest = sorted({p.name for p in manifest.folder.glob("*.npz")} - known)
    if rest:
        print(f"# not compared: {_some(rest)}")


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


if __name__ == "__main__":
    main()
