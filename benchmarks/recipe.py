"""What each modern option gives: trains from the same seeds, with and without it.

    python benchmarks/recipe.py --data data/nuclei --seeds 0,1,2 --steps 1000

Each variant changes one thing of the faithful recipe of `configs/nuclei.py` (with
`--data`, the folder of nuclei) or of `configs/shapes.py` (without), or several at once.
Each seed is a run of its own.  Its rows go to a file in `--results` as it ends, and
rows that are there are not run again, so the same command goes on after an
interruption.  One process at a time writes to a file; several on one device, each with
`--results` of its own, should leave out the times (`--no_times`).
"""

import argparse
import csv
import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.divergence import append, parse_runs
from benchmarks.recipe_variants import DETECTIONS, NEED_LARGE_INPUT, VARIANTS
from benchmarks.timing import device_name, time_program
from yolact_jax import build
from yolact_jax.cli import start_logging
from yolact_jax.config import Config, at_size
from yolact_jax.data.records.dataset import Dataset, coco_ground_truth
from yolact_jax.results.splits import detect_images, evaluate_detected
from yolact_jax.training.multihost.mesh import to_devices
from yolact_jax.training.session import Session, make_session
from yolact_jax.training.step import TrainState
from yolact_jax.zoo.specs import spec

LAST_WEIGHTS = "last weights"
"""The weights after the last step, where the result is their moving average."""

_MEASURES = {"ap": "mask_AP", "ap50": "mask_AP50", "ap_small": "mask_APs"}
_TIMES = ("images_per_s", "inference_ms", "train_s")
_RESNET50_SIDE = 550
_RESNET50 = {
    "model.backbone": "resnet50",
    "model.backbone_width": 64,
    "model.features": 256,
}
_SETTLED = 10  # Steps before the rate of training is measured.
_REPEATS = 20


def make_config(options: argparse.Namespace, variant: str, seed: int) -> Config:
    """Makes the config of one run, whose schedule ends with it.

    Args:
      options: the command line.
      variant: one of `VARIANTS`.
      seed: of weights, order and augmentation of the data.
    """
    config = spec("nuclei" if options.data else "shapes")
    if options.resnet50:
        config = at_size(config, _RESNET50_SIDE).replace(_RESNET50)
    ratio = options.steps / config.train.num_steps
    decay = tuple(round(step * ratio) for step in config.optimizer.decay_steps)
    common = {
        "data.records_dir": str(options.records),
        "data.num_workers": options.workers,
        "optimizer.decay_steps": decay,
        "train.num_steps": options.steps,
        "train.seed": seed,
    }
    fields: dict[str, Any] = dict(VARIANTS[variant])
    if shares := fields.get("train.multi_scale"):
        side = max(config.data.frame.size)
        fields["train.multi_scale"] = tuple(round(share * side) for share in shares)
    return config.replace(common | places(options.data) | fields)


def places(data: Path | None) -> dict[str, str]:
    """Returns the fields for a folder with the layout of COCO; None has none."""
    if data is None:
        return {}
    return {
        f"data.{split}_{kind}": f"{data}/{place.format(name)}"
        for split, name in (("train", "train"), ("validation", "val"))
        for kind, place in (
            ("annotations", "annotations/instances_{}.json"),
            ("images", "{}"),
        )
    }


def run(
    config: Config, detections: Mapping[str, dict], *, timed: bool = True
) -> list[tuple[str, dict[str, object]]]:
    """Trains once, then measures; every result has the seconds since the start.

    Args:
      config: of the run.
      detections: other ways to detect: name -> fields of the config.
      timed: whether to measure times; else they are empty.

    Returns:
      "", with mask AP on the validation split in percent, and times; and without times
      the same for each way to detect, by name, and for "last weights" if there is an
      average of them.
    """
    started = time.perf_counter()
    session = make_session(config, Path())
    state, rate = train(session)
    trained = round(time.perf_counter() - started, 1)
    times: dict[str, object] = dict.fromkeys(_TIMES, "")
    first = times
    if timed:
        inference_ms = _inference_ms(config, session.dataset, state)
        first = dict(zip(_TIMES, (rate, inference_ms, trained), strict=True))
    results = []
    ways = {name: (fields, state) for name, fields in {"": {}, **detections}.items()}
    if state.average is not None:
        ways[LAST_WEIGHTS] = {}, dataclasses.replace(state, average=None)
    for name, (fields, weights) in ways.items():
        measured = evaluate(config.replace(fields), session.dataset, weights)
        seconds = round(time.perf_counter() - started, 1)
        row = {**measured, **(times if name else first), "seconds": seconds}
        results.append((name, row))
    return results


def train(session: Session) -> tuple[TrainState, float]:
    """Trains to the end; returns the state, and images a second after the start."""
    state, settled = session.initial_state(), time.perf_counter()
    for step, batch in enumerate(_batches(session), start=1):
        state, _ = session.step_fn(state, batch)
        if step == _SETTLED:
            jax.block_until_ready(state)
            settled = time.perf_counter()
    jax.block_until_ready(state)
    images = max(session.num_steps - _SETTLED, 0) * session.config.train.batch_size
    return state, round(images / (time.perf_counter() - settled), 1)


def _batches(session: Session) -> Iterator:
    source = session.dataset.source("train")
    with build.make_training_batches(session.config, source, 0) as batches:
        for batch in itertools.islice(batches, session.num_steps):
            yield to_devices(batch, session.layout.sharded)


def evaluate(config: Config, dataset: Dataset, state: TrainState) -> dict[str, float]:
    """Measures mask AP on the validation split, in percent."""
    source = dataset.source("validation")
    predictor = build.make_predictor(
        config, state.inference_variables, dataset.class_names
    )
    found = detect_images(predictor, source, range(len(source)))
    metrics, *_ = evaluate_detected(
        coco_ground_truth(source),
        [found],
        max_detections=config.eval.max_detections,
        evaluator=config.eval.evaluator,
    )
    return {name: round(100 * metrics[key], 2) for name, key in _MEASURES.items()}


def _inference_ms(config: Config, dataset: Dataset, state: TrainState) -> float:
    """Median time of the network for one picture, without its detections."""
    model = build.make_model(config, len(dataset.class_names))
    picture = jax.random.normal(jax.random.key(0), (1, *config.data.frame.size, 3))
    program = jax.jit(lambda v, x: model.apply(v, x, train=False))
    variables = state.inference_variables
    return round(time_program(program, variables, picture, repeats=_REPEATS)[0], 2)


def done(file: Path) -> set[tuple[str, str, str]]:
    """The (variant, seed, steps) of the rows in a file."""
    return {(row["variant"], row["seed"], row["steps"]) for row in _rows(file)}


def summary(file: Path) -> list[str]:
    """Lines with the mean and the spread over seeds of each variant's measures."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in _rows(file):
        groups.setdefault((row["variant"], row["steps"]), []).append(row)
    return [_summarized(*key, rows) for key, rows in groups.items()]


def _summarized(variant: str, steps: str, rows: list[dict[str, str]]) -> str:
    parts = []
    for name in (*_MEASURES, *_TIMES[:2]):
        values = [float(row[name]) for row in rows if row[name]]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        if values:
            parts.append(f"{name} {statistics.mean(values):.2f} ± {spread:.2f}")
    return f"{variant}, {steps} steps, {len(rows)} seeds: {', '.join(parts)}"


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--data", type=Path, help="folder of nuclei; none: shapes")
    parser.add_argument("--records", type=Path, default=Path("data/records"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", help="a;b;c; none: all that fit the input")
    parser.add_argument("--steps", type=int, default=1000, help="updates of each run")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument(
        "--resnet50",
        action="store_true",
        help="ResNet-50 and input of 550 pixels in place of the small network",
    )
    parser.add_argument(
        "--no_times", action="store_true", help="leave out times, for a busy device"
    )
    parser.add_argument("--limit_s", type=float, default=1e9, help="no run after it")
    parser.add_argument("--results", type=Path, default=results)
    found, _ = parser.parse_known_args(arguments)
    is_large = found.data or found.resnet50
    fitting = [x for x in VARIANTS if is_large or x not in NEED_LARGE_INPUT]
    parser.set_defaults(variants=";".join(fitting))
    options = parse_runs(parser, arguments, VARIANTS, ";")
    for name in set(options.variants) - set(fitting):
        parser.error(f"{name!r} needs a larger input than shapes have: --resnet50.")
    return options


def file_name(options: argparse.Namespace) -> str:
    """The file of results for a command line, on this device."""
    data = "nuclei" if options.data else "shapes"
    network = "_resnet50" if options.resnet50 else ""
    return f"recipe-{data}{network}-{device_name()}-jax{jax.__version__}.csv"


def main() -> None:
    """Runs what is missing, seed by seed, then prints the summary."""
    options, started, longest = parse(), time.perf_counter(), 0.0
    start_logging()
    file = options.results / file_name(options)
    for seed, variant in itertools.product(options.seeds, options.variants):
        key = {"variant": variant, "seed": str(seed), "steps": str(options.steps)}
        over = time.perf_counter() - started + longest > options.limit_s
        if over or tuple(key.values()) in done(file):
            continue
        config = make_config(options, variant, seed)
        detections = DETECTIONS if variant == "faithful" else {}
        results = run(config, detections, timed=not options.no_times)
        # The variant's own row comes last: with it, the run counts as done.
        for name, measured in reversed(results):
            named = f"{variant}, {name}" if name == LAST_WEIGHTS else name or variant
            row = key | {"variant": named} | measured
            longest = max(longest, float(row["seconds"]))
            append(file, row)
            print(row, flush=True)
    print("\n".join([*summary(file), str(file)]))


if __name__ == "__main__":
    main()
