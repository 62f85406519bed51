"""Times Fast NMS against sequential NMS, with the same candidates for all.

    python benchmarks/nms.py                     # made-up boxes and scores
    python benchmarks/nms.py --outputs file.npz  # of a network

The file holds `boxes` [A, 4] and `scores` [A, C], float32, without the background.

Every variant gets the `top_k` best boxes of each class and returns the best detections
over all classes; only the rule of suppression differs.  Compilation is timed apart;
times are the median and 90th percentile of the steady state.  "Share" is the part of
the whole step, from scores to detections, that is the rule and not the choice of
candidates and of the best, which are timed alone with a rule that keeps everything.
"Agreement" is the share of greedy NMS's detections that a variant also returns, and of
its own that greedy NMS returns: intersection over union of the two sets.

Runs on the default device of JAX.  A sweep in parts is one table in the end: rows of
the same case and variant are replaced, all others are kept.
"""

import functools
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import measurement, nms_table, timing
from yolact_jax.ops.nms.per_class import Kept, per_class_nms
from yolact_jax.ops.nms.rules import Rule
from yolact_jax.ops.nms.variants import RULES

_OUTPUTS = flags.DEFINE_string("outputs", None, "npz with boxes and scores.")
_CLASSES = flags.DEFINE_multi_integer("classes", [1, 20, 80], "Numbers of classes.")
_BOXES = flags.DEFINE_multi_integer("boxes", [200, 1000, 5000, 19248], "Boxes.")
_BATCH = flags.DEFINE_multi_integer("batch", [1, 8], "Batch sizes.")
_TOP_K = flags.DEFINE_integer("top_k", 200, "Boxes per class that enter.")
_REPEATS = flags.DEFINE_integer("repeats", 30, "Timed runs of each case.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")

_SCORE_THRESHOLD = 0.05
_IOU_THRESHOLD = 0.5
_MAX_DETECTIONS = 100


def fake_outputs(boxes: int, classes: int, batch: int, *, seed: int = 0):
    """Clusters of overlapping boxes with high scores, as around objects.

    Returns:
      boxes [batch, boxes, 4] and scores [batch, boxes, classes], float32.
    """
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0.1, 0.9, (batch, 30, 2))
    sizes = rng.uniform(0.05, 0.4, (batch, 30, 2))
    labels = rng.integers(classes, size=(batch, 30))
    which = rng.integers(30, size=(batch, boxes))
    rows = np.arange(batch)[:, None]
    jitter = rng.normal(0, 0.1, (2, batch, boxes, 2))
    center = centers[rows, which] + jitter[0] * sizes[rows, which]
    size = sizes[rows, which] * np.exp(jitter[1])
    corners = np.concatenate([center - size / 2, center + size / 2], axis=-1)
    # About 300 anchors are confident, whatever their number, as in a trained network.
    scores = rng.uniform(0, 0.01, (batch, boxes, classes))
    confident = rng.random((batch, boxes)) < min(1.0, 300 / boxes)
    image, anchor = np.nonzero(confident)
    best = rng.uniform(0.05, 1, len(image))
    scores[image, anchor, labels[image, which[image, anchor]]] = best
    return corners.astype(np.float32), scores.astype(np.float32)


def keep_all(boxes, scores, iou_threshold, labels=None):
    """The rule that drops nothing: what is left is the cost of all but the rule."""
    return scores


def jax_variant(rule: Rule) -> Callable:
    """Returns a jitted function of batches of boxes and scores."""
    nms = functools.partial(
        per_class_nms,
        rule=rule,
        score_threshold=_SCORE_THRESHOLD,
        iou_threshold=_IOU_THRESHOLD,
        top_k=_TOP_K.value,
        max_detections=_MAX_DETECTIONS,
    )
    return jax.jit(jax.vmap(nms))


def _candidates(boxes: np.ndarray, scores: np.ndarray):
    """Yields (label, anchors by decreasing score) of one image."""
    confident = np.flatnonzero(scores.max(axis=1) > _SCORE_THRESHOLD)
    for label in range(scores.shape[1]):
        order = np.argsort(-scores[confident, label], kind="stable")
        yield label, confident[order[: _TOP_K.value]]


def _best(kept: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
    kept.sort(key=lambda entry: -entry[0])
    return [(label, anchor) for _, label, anchor in kept[:_MAX_DETECTIONS]]


def numpy_greedy(boxes: np.ndarray, scores: np.ndarray) -> list[tuple[int, int]]:
    """The textbook algorithm, one image: [(label, anchor)], best first."""
    kept = []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for label, anchors in _candidates(boxes, scores):
        while len(anchors):
            first, rest = anchors[0], anchors[1:]
            kept.append((scores[first, label], label, int(first)))
            low = np.maximum(boxes[first, :2], boxes[rest, :2])
            high = np.minimum(boxes[first, 2:], boxes[rest, 2:])
            intersection = np.prod(np.maximum(high - low, 0), axis=1)
            iou = intersection / (area[first] + area[rest] - intersection)
            anchors = rest[iou <= _IOU_THRESHOLD]
    return _best(kept)


def torchvision_greedy(boxes: np.ndarray, scores: np.ndarray) -> list[tuple[int, int]]:
    """torchvision.ops.batched_nms on the same candidates, one image."""
    import torch
    from torchvision.ops import batched_nms

    pairs = [(c, a) for c, anchors in _candidates(boxes, scores) for a in anchors]
    labels, anchors = np.array(pairs).T
    kept = batched_nms(
        torch.from_numpy(boxes[anchors]),
        torch.from_numpy(scores[anchors, labels]),
        torch.from_numpy(labels),
        _IOU_THRESHOLD,
    )[:_MAX_DETECTIONS].numpy()
    return [pairs[i] for i in kept]


def baselines() -> dict[str, Callable]:
    """Baselines outside of JAX: NumPy, and torchvision where it is installed."""
    found = {nms_table.NUMPY: numpy_greedy}
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return found
    return found | {nms_table.TORCH: torchvision_greedy}


def agreement(found: list[set], expected: list[set]) -> float:
    """Mean intersection over union of the detections of each image."""
    ious = [
        len(a & b) / max(len(a | b), 1) for a, b in zip(found, expected, strict=True)
    ]
    return float(np.mean(ious))


def measure(boxes: np.ndarray, scores: np.ndarray, source: str) -> list[dict]:
    """Times all variants on one batch.

    Args:
      boxes: [batch, boxes, 4] float32.
      scores: [batch, boxes, classes] float32.
      source: where they are from: "made up" or a file.

    Returns:
      One row per variant.
    """
    expected = [set(numpy_greedy(*image)) for image in zip(boxes, scores, strict=True)]
    case = {"source": source} | dict(
        zip(("batch", "boxes", "classes"), scores.shape, strict=True),
        top_k=_TOP_K.value,
    )
    images = list(zip(boxes, scores, strict=True))
    arguments = jnp.asarray(boxes), jnp.asarray(scores)
    rows = []
    for name, rule in ({nms_table.KEEP_ALL: keep_all} | RULES).items():
        run, compile_s = timing.compile_program(jax_variant(rule), *arguments)
        found = _kept_sets(jax.device_get(run(*arguments)))
        times = timing.time_program(run, *arguments, repeats=_REPEATS.value)
        rows.append(_row(case, name, compile_s, *times, agreement(found, expected)))
        rows[-1]["share"] = round(1 - rows[0]["median_ms"] / rows[-1]["median_ms"], 3)
    for name, function in baselines().items():
        found = [set(function(*image)) for image in images]
        run_all = functools.partial(_run_all, function, images)
        times = measurement.time_calls(run_all, max(3, _REPEATS.value // 10))
        rows.append(_row(case, name, 0.0, *times, agreement(found, expected)))
    return rows


def _run_all(function: Callable, images: list) -> list:
    return [function(*image) for image in images]


def _kept_sets(kept: Kept) -> list[set]:
    """The (label, anchor) pairs of each image."""
    return [
        set(zip(labels[valid].tolist(), anchors[valid].tolist(), strict=True))
        for labels, anchors, valid in zip(
            kept.labels, kept.anchor_index, kept.valid, strict=True
        )
    ]


def _row(case: dict, name: str, compile_s, median, p90, agrees) -> dict:
    return case | {
        "variant": name,
        "compile_s": round(compile_s, 3),
        "median_ms": round(median, 3),
        "p90_ms": round(p90, 3),
        "agreement": round(agrees, 4),
        "share": "",
    }


def main(_) -> None:
    """Runs the sweep."""
    path = Path(_RESULTS.value) / f"{nms_table.results_name()}.csv"
    source = Path(_OUTPUTS.value).name if _OUTPUTS.value else "made up"
    if _OUTPUTS.value:
        outputs = np.load(_OUTPUTS.value)
        cases = [(outputs["boxes"][None], outputs["scores"][None])]
    else:
        sizes = itertools.product(_CLASSES.value, _BOXES.value, _BATCH.value)
        cases = (fake_outputs(boxes, c, batch) for c, boxes, batch in sizes)
    for boxes, scores in cases:
        new = measure(boxes, scores, source)
        nms_table.print_rows(new)
        # At once, so that an interruption loses only one case.
        rows = nms_table.merged(path, timing.with_driver(new))
        measurement.write_csv(path, rows)
    nms_table.plot(path.with_suffix(".png"), rows)


if __name__ == "__main__":
    app.run(main)
