"""Whether a training learns as the original did, term by term.

    python benchmarks/learning.py --golden DIR --data data/nuclei --seeds 2,4

`--golden` has `init.pth` and, in its README, the original's smoothed losses in rows of
seed, step, B, C, M, S and total.  Each seed here trains from the same weights with the
same recipe (`recipe_nuclei.py`); its losses, smoothed in the same way, must lie in the
band of the original's seeds, widened by a fifth.  A lower loss is as wrong as a higher
one: something is easier then than it was.  Ends with status 1 if a run leaves the band.

The recipe stands on the edge (`divergence.py`): runs that diverge are counted, not
compared, unless all do.
"""

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import divergence
from benchmarks import recipe_nuclei as recipe
from yolact_jax.cli import start_logging

NAMES = (*recipe.TERMS, "loss")
CHECKED = (50, 100, 150)
"""Steps at which the losses are compared."""
MARGIN = 0.2
"""The original's own seeds leave the band of the others by up to 18 % downwards, save
in the semantic loss, a fiftieth of all."""
_ROW = re.compile(r"^(\d+) (\d+)((?: [\d.]+){5})$", re.MULTILINE)
_DIVERGED = 1e3

Band = dict[int, tuple[np.ndarray, np.ndarray]]


def read_band(text: str, steps: Sequence[int]) -> Band:
    """Reads the lowest and highest smoothed loss of each term at some steps.

    Args:
      text: of the record.
      steps: that are wanted.

    Returns:
      Step -> ([5] least, [5] most) over the seeds that have not diverged by then.

    Raises:
      ValueError: if no seed has a row of a step.
    """
    band: Band = {}
    for step in steps:
        rows = [
            np.array(values.split(), float)
            for _, at, values in _ROW.findall(text)
            if int(at) == step
        ]
        rows = [row for row in rows if row[-1] < _DIVERGED]
        if not rows:
            raise ValueError(f"The record has no losses of step {step}.")
        band[step] = np.min(rows, axis=0), np.max(rows, axis=0)
    return band


def smoothed(losses: Sequence[dict[str, float]], step: int) -> np.ndarray:
    """[5] means over the last `recipe.WINDOW` steps up to one, that included."""
    last = losses[max(step + 1 - recipe.WINDOW, 0) : step + 1]
    return np.mean([[row[f"train/{name}"] for name in NAMES] for row in last], axis=0)


def outside(losses: Sequence[dict[str, float]], band: Band) -> list[str]:
    """Names what leaves the band: a sentence for each step and term."""
    found = []
    for step, (least, most) in band.items():
        values = smoothed(losses, step)
        for name, value, low, high in zip(NAMES, values, least, most, strict=True):
            if not (1 - MARGIN) * low <= value <= (1 + MARGIN) * high:
                found.append(
                    f"{name} at step {step} is {value:.3f}; the original's seeds "
                    f"have {low:.3f} to {high:.3f}."
                )
    return found


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golden", type=Path, required=True, help="the record")
    parser.add_argument("--data", type=Path, required=True, help="folder of nuclei")
    parser.add_argument("--records", type=Path, default=Path("data/records"))
    parser.add_argument("--seeds", default="0,1,2,3")
    return parser.parse_args()


def run(options: argparse.Namespace, seed: int) -> list[dict[str, float]]:
    """Trains one seed to the last checked step, or to where it diverges."""
    config = recipe.make_config(options.data, options.records, seed)
    steps = recipe.steps(config, options.golden / "init.pth")
    losses: list[dict[str, float]] = []
    for step in itertools.islice(steps, max(CHECKED) + 1):
        losses.append(step.values)
        if not np.isfinite(step.values["train/loss"]):
            break
    return losses


def main() -> None:
    """Compares each seed, and exits with the verdict."""
    options = parse()
    start_logging()
    band = read_band((options.golden / "README.md").read_text(), CHECKED)
    compared, wrong = 0, 0
    for seed in map(int, options.seeds.split(",")):
        losses = run(options, seed)
        if divergence.judge(losses, max(CHECKED) + 1)["diverged"]:
            print(f"seed {seed}: diverged after {len(losses)} steps", flush=True)
            continue
        found = outside(losses, band)
        compared, wrong = compared + 1, wrong + bool(found)
        print(f"seed {seed}: {' '.join(found) or 'in the band'}", flush=True)
    print(f"{compared - wrong} of {compared} runs that did not diverge are in the band")
    sys.exit(wrong > 0 or compared == 0)


if __name__ == "__main__":
    main()
