"""How often a training on the edge diverges, and which single change steadies it.

    python benchmarks/divergence.py --golden DIR --data data/nuclei --seeds 0,1,2

`--golden` has `init.pth`, the weights to start from, see `recipe_nuclei.py`; `--data`
the nuclei of `configs/nuclei.py`.  Each variant changes one thing of the recipe; each
seed is a run of its own.  Rows go to a file in `benchmarks/results` as runs end, and
runs that are in it already are left out, so the same command goes on after an
interruption.  One process at a time.
"""

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Collection
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import recipe_nuclei as recipe
from benchmarks.timing import device_name
from yolact_jax.cli import start_logging
from yolact_jax.config import Config

VARIANTS = {
    "as published": {},
    "center masks": {"data.mask_target": "center"},
    "colors not clipped": {"augment.clip_colors": False},
    "no winograd": {"model.winograd": "no"},
    "divisor of 1 cell": {"loss.min_mask_cells": 1.0},
    "divisor of 4 cells": {"loss.min_mask_cells": 4.0},
    "objects of 4 px": {"augment.min_object_px": 16.0},
    "clipped at 10": {"optimizer.clip_norm": 10.0},
}
"""Name -> fields of the config that differ from the recipe."""
SPIKE = 200.0
"""A mask loss that a healthy run stays well below after its first steps."""
_FIRST_STEPS = 5
_CALM = 50.0  # Where a run is that has come back.
_LAST = 10


def judge(losses: list[dict[str, float]], num_steps: int) -> dict[str, object]:
    """Describes the course of a run.

    Args:
      losses: metrics of every step.
      num_steps: that the run should have.

    Returns:
      `diverged`: the run ended early, or its mask loss did not come back;
      `spikes`: times that the mask loss rose above `SPIKE` and came back;
      `worst_mask`: its maximum; `worst_step`: when;
      the terms, and `total`, averaged over the last 100 steps.
    """
    mask = np.array([row["train/mask"] for row in losses])
    mask = np.where(np.isfinite(mask), mask, np.inf)
    later = mask[_FIRST_STEPS:]
    is_high = later > SPIKE
    rises = int(is_high[:1].sum() + (is_high[1:] & ~is_high[:-1]).sum())
    lost = len(losses) < num_steps or not np.median(mask[-_LAST:]) < _CALM
    tail = losses[-recipe.WINDOW :]
    means = {
        name: round(float(np.mean([row[f"train/{name}"] for row in tail])), 3)
        for name in (*recipe.TERMS, "loss")
    }
    return {
        "diverged": int(lost),
        "spikes": max(rises - int(lost and is_high.any()), 0),
        "worst_mask": round(float(later.max(initial=0.0)), 1),
        "worst_step": int(later.argmax()) + _FIRST_STEPS if len(later) else 0,
        "steps": len(losses),
        "skipped": int(sum(row["train/skipped"] for row in losses)),
        **means,
    }


def run(config: Config, init_weights: Path, num_steps: int) -> dict[str, object]:
    """Trains once; stops early after ten updates in a row that were not finite."""
    started, losses, bad = time.perf_counter(), [], 0
    steps = recipe.steps(config, init_weights)
    for step in itertools.islice(steps, num_steps):
        losses.append(step.values)
        bad = bad + 1 if step.values["train/skipped"] else 0
        if bad == config.train.max_bad_steps:
            break
    steps.close()
    seconds = round(time.perf_counter() - started, 1)
    return {**judge(losses, num_steps), "seconds": seconds}


def done(file: Path) -> set[tuple[str, str, str]]:
    """The (variant, seed, steps asked for) of the rows in a file."""
    if not file.exists():
        return set()
    with file.open(newline="") as stream:
        rows = csv.DictReader(stream)
        return {(row["variant"], row["seed"], row["num_steps"]) for row in rows}


def append(file: Path, row: dict[str, object]) -> None:
    """Adds a row to a CSV file, with the header if it is new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--golden", type=Path, required=True, help="has init.pth")
    parser.add_argument("--data", type=Path, required=True, help="folder of nuclei")
    parser.add_argument("--records", type=Path, default=Path("data/records"))
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=150, help="updates of each run")
    parser.add_argument("--results", type=Path, default=results)
    return parse_runs(parser, arguments, VARIANTS, ",")


def parse_runs(
    parser: argparse.ArgumentParser,
    arguments: list[str] | None,
    known: Collection[str],
    separator: str,
) -> argparse.Namespace:
    """Reads a command line with lists of `seeds` and `variants`, all `known`."""
    options = parser.parse_args(arguments)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.variants = options.variants.split(separator)
    for name in options.variants:
        if name not in known:
            there = f"{separator} ".join(known)
            parser.error(f"there is no variant {name!r}, only {there}.")
    return options


def main() -> None:
    """Runs what is missing, seed by seed, and prints each row."""
    options = parse()
    start_logging()
    name = f"divergence-{device_name()}-jax{jax.__version__}.csv"
    file = options.results / name
    for seed, variant in itertools.product(options.seeds, options.variants):
        key = {"variant": variant, "seed": str(seed), "num_steps": str(options.steps)}
        if tuple(key.values()) not in done(file):
            config = recipe.make_config(options.data, options.records, seed)
            config = config.replace(VARIANTS[variant])
            row = key | run(config, options.golden / "init.pth", options.steps)
            append(file, row)
            print(row, flush=True)
    print(file)


if __name__ == "__main__":
    main()
