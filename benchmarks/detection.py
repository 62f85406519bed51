"""Times post-processing: raw predictions to detections, and detections to masks.

    python benchmarks/detection.py

Detections: the plain form decodes, scores and sorts all anchors under all classes;
`detect` does so only for those that can pass the score threshold, looks at their best
pairs of anchor and class first, and falls back to the plain form when the candidates
are too many.  All return the same, bit for bit, which is checked here.  The two take
turns, so that both see the same load of the machine.

The cases differ in the number of confident anchors of 19,248.  "300 anchors" is usual
for a trained network on a photograph; in "clusters" they surround 12 objects, which
leaves few survivors and is harder; "one object" has 20; in "one place" all boxes are
the same one, and in "all" every anchor is confident, the worst cases.

Masks: `full_size_masks` assembles, crops, enlarges and thresholds a few detections at
a time; the naive form enlarges all prototypes first and combines them at full size.
Memory is what the compiler says the program needs beside arguments and results.
"""

import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import measurement, timing
from yolact_jax.config import Eval
from yolact_jax.inference.detect import Shortcuts, detect
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.ops.resize import resize_bilinear
from yolact_jax.structures import Detections, Predictions

_ANCHORS = flags.DEFINE_integer("anchors", 19248, "Anchors.")
_CLASSES = flags.DEFINE_integer("classes", 80, "Foreground classes.")
_REPEATS = flags.DEFINE_integer("repeats", 50, "Timed runs of each case.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")

_PROTOTYPES = 32
_PROTOTYPE_SIZE = 138
_IMAGE_SIZE = (480, 640)
_DETECTIONS = 100
_OPTIONS = {
    "score_threshold": 0.05,
    "iou_threshold": 0.5,
    "options": Eval(max_detections=_DETECTIONS),
    "input_size": 550,
}


_CASES = {
    "300 anchors": {"confident": 300},
    "600 anchors": {"confident": 600},
    "clusters": {"confident": 300, "objects": 12},
    "one object": {"confident": 20, "objects": 1},
    "one place": {"confident": 300, "objects": 1, "spread": 0.0},
    "all": {"confident": None},
}


def fake_predictions(confident: int | None, objects: int = 0, spread: float = 0.1):
    """Predictions of one image with some confident anchors, and the anchors.

    Args:
      confident: anchors with a high score; None for all.
      objects: how many objects they surround, as anchors of one class; 0 puts them
        anywhere.
      spread: of the anchors around an object, in sizes of the object.

    Returns:
      `Predictions` and anchors [A, 4].
    """
    rng = np.random.default_rng(0)
    count, classes = _ANCHORS.value, _CLASSES.value
    confident = count if confident is None else confident
    logits = rng.normal(size=(1, count, classes + 1)).astype(np.float32)
    logits[..., 0] += 9
    hot = rng.choice(count, confident, replace=False)
    labels = rng.integers(classes, size=confident)
    deltas = rng.normal(size=(1, count, 4))
    anchors = np.concatenate(
        [rng.uniform(size=(count, 2)), rng.uniform(0.02, 0.4, (count, 2))], axis=1
    )
    if objects:
        which = rng.integers(objects, size=confident)
        labels = rng.integers(classes, size=objects)[which]
        logits[0, hot, 1:] += rng.normal(0, 2, (objects, classes))[which]
        jitter = 1 + spread * rng.normal(size=(confident, 4))
        anchors[hot] = anchors[hot[:objects]][which] * jitter
        deltas[0, hot] *= spread
    logits[0, hot, 1 + labels] += 12
    shape = (1, _PROTOTYPE_SIZE, _PROTOTYPE_SIZE, _PROTOTYPES)
    predictions = Predictions(
        box_deltas=deltas,
        class_logits=logits,
        coefficients=np.tanh(rng.normal(size=(1, count, _PROTOTYPES))),
        prototypes=np.maximum(rng.normal(size=shape), 0),
    )
    to_float = functools.partial(jnp.asarray, dtype=jnp.float32)
    return jax.tree.map(to_float, predictions), to_float(anchors)


def naive_masks(detections: Detections, prototypes: jax.Array) -> jax.Array:
    """Enlarges all prototypes first, then combines them at full size, uncropped."""
    large = resize_bilinear(jnp.moveaxis(prototypes, -1, 0), _IMAGE_SIZE)
    logits = jnp.einsum("khw,dk->dhw", large, detections.coefficients)
    return jax.nn.sigmoid(logits) > 0.5


def measure(case: str, variants: dict, *arguments) -> tuple[list[dict], list]:
    """Compiles and runs programs in turns; returns a row and a result for each.

    Args:
      case: its name in the table.
      variants: functions by name; the first is what the others are compared with.
      *arguments: of all of them.
    """
    rows, programs = [], []
    jax.clear_caches()  # or a program of the same shapes would compile in no time
    for name, function in variants.items():
        program, compile_s = timing.compile_program(function, *arguments)
        programs.append(program)
        row = {"case": case, "variant": name, "compile_s": round(compile_s, 2)}
        rows.append(row | {"temporary_mib": timing.temporary_mib(program)})
    results = [jax.device_get(program(*arguments)) for program in programs]
    times = timing.time_in_turns(programs, *arguments, repeats=_REPEATS.value)
    for row, (median, p90) in zip(rows, times, strict=True):
        row["median_ms"], row["p90_ms"] = round(median, 2), round(p90, 2)
        row["speedup"] = round(times[0][0] / median, 2)
        measurement.print_row(row)
    return rows, results


def measure_detections() -> list[dict]:
    """Compares the plain form and `detect`, and checks that they agree exactly."""
    rows = []
    shortcuts = {"plain": Shortcuts(capacities=()), "detect": Shortcuts()}
    run = functools.partial(detect, **_OPTIONS)
    variants = {k: functools.partial(run, shortcuts=v) for k, v in shortcuts.items()}
    for case, sizes in _CASES.items():
        new, results = measure(case, variants, *fake_predictions(**sizes))
        jax.tree.map(np.testing.assert_array_equal, *results)
        rows += new
    return rows


def measure_masks() -> list[dict]:
    """Compares the masks of 100 detections on a 640 x 480 image."""
    predictions, anchors = fake_predictions(300)
    found = detect(predictions, anchors, **_OPTIONS)
    found = jax.tree.map(lambda x: x[0], found)
    prototypes = predictions.prototypes[0]
    size = jnp.array(_IMAGE_SIZE)
    variants = {
        "prototypes first": lambda found, prototypes, _: naive_masks(found, prototypes),
        "full_size_masks": functools.partial(full_size_masks, canvas_size=_IMAGE_SIZE),
    }
    return measure(f"{_DETECTIONS} masks", variants, found, prototypes, size)[0]


def main(_) -> None:
    """Runs all cases and writes the rows."""
    rows = measure_detections() + measure_masks()
    timing.write_rows(_RESULTS.value, "detection", rows)


if __name__ == "__main__":
    app.run(main)
