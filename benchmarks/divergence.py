"""How often a training on the edge diverges, and which single change steadies it.

    python benchmarks/divergence.py --golden DIR --data data/nuclei --seeds 0,1,2

`--golden` has `init.pth`, the weights to start from, see `recipe_nuclei.py`; `--data`
the nuclei of `configs/nuclei.py`.  Each variant changes one thing of the recipe; each
seed is a run of its own.  Rows go to a file in `benchmarks/results` as runs end, and
runs that are in it already are left out, so the same command goes on after an
interruption.  One process at a time.
"""

import csv
import itertools
import sys
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import recipe_nuclei as recipe
from benchmarks.timing import device_name
from yolact_jax.cli import start_logging

_GOLDEN = flags.DEFINE_string("golden", None, "Folder with init.pth.", required=True)
_DATA = flags.DEFINE_string("data", None, "Folder of nuclei.", required=True)
_RECORDS = flags.DEFINE_string("records", "data/records", "Folder of records.")
_SEEDS = flags.DEFINE_list("seeds", [str(seed) for seed in range(10)], "Seeds.")
_VARIANTS = flags.DEFINE_list("variants", None, "Some of the variants; all by default.")
_STEPS = flags.DEFINE_integer("steps", 150, "Updates of each run.")
_RESULTS = flags.DEFINE_string(
    "results", str(Path(__file__).parent / "results"), "Folder of results."
)

VARIANTS = {
    "as published": {},
    "center masks": {"data.mask_target": "center"},
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


def run(variant: str, seed: int, num_steps: int) -> dict[str, object]:
    """Trains once; stops early after ten updates in a row that were not finite."""
    config = recipe.make_config(Path(_DATA.value), Path(_RECORDS.value), seed)
    config = config.replace(VARIANTS[variant])
    started, losses, bad = time.perf_counter(), [], 0
    steps = recipe.train(config, Path(_GOLDEN.value) / "init.pth")
    for values in itertools.islice(steps, num_steps):
        losses.append(values)
        bad = bad + 1 if values["train/skipped"] else 0
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


def main(_) -> None:
    """Runs what is missing, seed by seed, and prints each row."""
    start_logging()
    variants = _VARIANTS.value or list(VARIANTS)
    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown:
        sys.exit(f"--variants {unknown[0]}: there are only {', '.join(VARIANTS)}.")
    name = f"divergence-{device_name()}-jax{jax.__version__}.csv"
    file = Path(_RESULTS.value) / name
    for seed, variant in itertools.product(_SEEDS.value, variants):
        key = {"variant": variant, "seed": seed, "num_steps": str(_STEPS.value)}
        if tuple(key.values()) not in done(file):
            row = key | run(variant, int(seed), _STEPS.value)
            append(file, row)
            print(row, flush=True)
    print(file)


if __name__ == "__main__":
    app.run(main)
