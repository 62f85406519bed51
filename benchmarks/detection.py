"""Times post-processing: raw predictions to detections, and detections to masks.

    python benchmarks/detection.py

Detections: the plain form decodes, scores and sorts all anchors; the compact form
only those that can pass the score threshold, and falls back to the plain form when
these are too many.  Both return the same.  "Usual" predictions have 300 confident
anchors, as a trained network on a photograph; in "all" every anchor is confident.

Masks: `full_size_masks` assembles, crops, enlarges and thresholds a few detections at
a time; the naive form enlarges all prototypes first and combines them at full size.
Memory is what the compiler says the program needs beside arguments and results.
"""

import csv
import functools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from yolact_jax.postprocess import DetectOptions, detect, full_size_masks
from yolact_jax.resize import resize_bilinear
from yolact_jax.structures import Detections, Predictions

_ANCHORS = flags.DEFINE_integer("anchors", 19248, "Anchors.")
_CLASSES = flags.DEFINE_integer("classes", 80, "Foreground classes.")
_REPEATS = flags.DEFINE_integer("repeats", 50, "Timed runs of each case.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")

_PROTOTYPES = 32
_PROTOTYPE_SIZE = 138
_IMAGE_SIZE = (480, 640)
_DETECTIONS = 100


def fake_predictions(confident: int) -> tuple[Predictions, jax.Array]:
    """Predictions of one image with some confident anchors, and the anchors."""
    rng = np.random.default_rng(0)
    count, classes = _ANCHORS.value, _CLASSES.value
    logits = rng.normal(size=(1, count, classes + 1)).astype(np.float32)
    logits[..., 0] += 9
    hot = rng.choice(count, confident, replace=False)
    logits[0, hot, 1 + rng.integers(classes, size=confident)] += 12
    anchors = np.concatenate(
        [rng.uniform(size=(count, 2)), rng.uniform(0.02, 0.4, (count, 2))], axis=1
    )
    shape = (1, _PROTOTYPE_SIZE, _PROTOTYPE_SIZE, _PROTOTYPES)
    predictions = Predictions(
        box_deltas=rng.normal(size=(1, count, 4)),
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


def timed(compiled, *arguments) -> tuple[float, float]:
    """Median and 90th percentile in milliseconds."""
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times)), float(np.percentile(times, 90))


def measure(case: str, variant: str, function, *arguments) -> dict:
    """Compiles, runs and times one program; returns a row."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_s = time.perf_counter() - start
    median, p90 = timed(compiled, *arguments)
    memory = compiled.memory_analysis()
    row = {
        "case": case,
        "variant": variant,
        "compile_s": round(compile_s, 2),
        "median_ms": round(median, 2),
        "p90_ms": round(p90, 2),
        "temporary_mib": round(memory.temp_size_in_bytes / 2**20, 1),
    }
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def measure_detections() -> list[dict]:
    """Compares the plain and the compact form, and checks that they agree."""
    rows = []
    for case, confident in (("usual", 300), ("all", _ANCHORS.value)):
        predictions, anchors = fake_predictions(confident)
        results = []
        for variant, capacity in (("plain", 0), ("compact", DetectOptions.capacity)):
            run = functools.partial(
                detect,
                score_threshold=0.05,
                iou_threshold=0.5,
                options=DetectOptions(capacity=capacity),
            )
            rows.append(measure(f"detect, {case}", variant, run, predictions, anchors))
            results.append(jax.device_get(jax.jit(run)(predictions, anchors)))
        for a, b in zip(*map(jax.tree.leaves, results), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    return rows


def measure_masks() -> list[dict]:
    """Compares the masks of 100 detections on a 640 x 480 image."""
    predictions, anchors = fake_predictions(300)
    found = detect(
        predictions,
        anchors,
        score_threshold=0.05,
        iou_threshold=0.5,
        options=DetectOptions(max_detections=_DETECTIONS),
    )
    found = jax.tree.map(lambda x: x[0], found)
    prototypes = predictions.prototypes[0]
    size = jnp.array(_IMAGE_SIZE)
    ours = functools.partial(full_size_masks, canvas_size=_IMAGE_SIZE)
    return [
        measure("masks", "prototypes first", naive_masks, found, prototypes),
        measure("masks", "full_size_masks", ours, found, prototypes, size),
    ]


def main(_) -> None:
    """Runs all cases and writes the rows."""
    rows = measure_detections() + measure_masks()
    platform = jax.devices()[0].platform
    path = Path(_RESULTS.value) / f"detection-{platform}-jax{jax.__version__}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}")


if __name__ == "__main__":
    app.run(main)
