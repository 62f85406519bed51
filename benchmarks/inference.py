"""Times inference of real configs: uint8 image to detections and full-size masks.

    python benchmarks/inference.py --configs=yolact_resnet50 --batch_sizes=1

Weights are random and images made up, 640 x 480.  As with a trained network on a
photograph, the background is by far the most likely class, 300 anchors pass the score
threshold, which is set for that, and 100 masks are returned.  Stages are timed as
programs of their own, with batch size 1.
"""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import measurement, timing
from benchmarks.real_models import NUM_CLASSES, forward_gflops, load_config
from yolact_jax import build
from yolact_jax.inference.detect import detect
from yolact_jax.inference.engine import make_predict_fn, prepare_variables
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.inference.options import Choices
from yolact_jax.models.arithmetic import uses_winograd
from yolact_jax.models.fpn import FPN
from yolact_jax.models.heads import PredictionHead, ProtoNet
from yolact_jax.models.normalize import normalize_images
from yolact_jax.ops.resize import resize_valid
from yolact_jax.structures import Predictions

_CONFIGS = flags.DEFINE_list("configs", "yolact_resnet50,yolact_base", "Models.")
_DTYPES = flags.DEFINE_list("dtypes", "float32,bfloat16", "Types of convolutions.")
_BATCHES = flags.DEFINE_list("batch_sizes", "1,4", "Images per call.")
_WINOGRAD = flags.DEFINE_list("winograd", "auto", "auto, yes, no.")
_STAGES = flags.DEFINE_bool("stages", True, "Whether to time the stages too.")
_REPEATS = flags.DEFINE_integer("repeats", 9, "Timed calls.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")
IMAGE_SIZE = (480, 640)
_CONFIDENT = 300
_BACKGROUND_LOGIT = 12.0


class Subject:
    """A config, its network with random weights, and inputs for it."""

    def __init__(self, name: str, dtype: str, winograd: str):
        """Builds the network of a config.

        Args:
          name: of the config.
          dtype: type of the convolutions.
          winograd: see ``config.model.winograd``.
        """
        self.config = load_config(name, compute_dtype=dtype, winograd=winograd)
        self.name, self.dtype = name, dtype
        self.frame = self.config.data.frame
        self.winograd = uses_winograd(self.config)
        self.model = build.make_model(self.config, NUM_CLASSES)
        self.anchors = jnp.asarray(build.make_anchors(self.config))
        images = jnp.zeros((1, *self.frame.size, 3))
        init = jax.jit(lambda: self.model.init(jax.random.key(0), images, train=True))
        variables = _with_likely_background(init())
        self.variables = prepare_variables(self.model, variables, self.frame.size)
        self.options = self.config.eval

    def predict(self, images: jax.Array) -> Predictions:
        """Runs the network."""
        apply = jax.jit(functools.partial(self.model.apply, train=False))
        return apply(self.variables, images)

    def describe(self, batch_size: int) -> dict:
        """The first columns of a row."""
        return {
            "config": self.name,
            "dtype": self.dtype,
            "winograd": "yes" if self.winograd else "no",
            "batch_size": batch_size,
        }

    def canvas(self) -> jax.Array:
        """A made-up image of `IMAGE_SIZE` in the corner of a square."""
        side, (height, width) = max(IMAGE_SIZE), IMAGE_SIZE
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        canvas = jnp.zeros((side, side, 3), jnp.uint8)
        return canvas.at[:height, :width].set(pixels)

    def network_input(self, picture: np.ndarray | None = None) -> jax.Array:
        """What the network gets for it, or for another [h, w, 3] uint8 picture."""
        pixels = self.canvas() if picture is None else jnp.asarray(picture)
        size = IMAGE_SIZE if picture is None else picture.shape[:2]
        image = resize_valid(pixels, jnp.array(size), self.frame)
        return normalize_images(image[None], self.model.normalization)

    def score_threshold(self, predictions) -> jax.Array:
        """The score which `_CONFIDENT` anchors exceed in their best class."""
        scores = jax.nn.softmax(predictions.class_logits[0])[:, 1:]
        return jnp.sort(scores.max(axis=-1))[-_CONFIDENT]


def _with_likely_background(variables: dict) -> dict:
    params = variables["params"]
    head = params["head"]
    bias = head["class"]["bias"].reshape(-1, 1 + NUM_CLASSES)
    bias = bias.at[:, 0].set(_BACKGROUND_LOGIT).reshape(-1)
    head = head | {"class": head["class"] | {"bias": bias}}
    return variables | {"params": params | {"head": head}}


def measure_whole(subject: Subject, batch_size: int, threshold: jax.Array) -> dict:
    """Times everything from the pixels on."""
    predict = make_predict_fn(
        subject.model, subject.anchors, subject.frame, subject.options
    )
    arguments = (
        subject.variables,
        jnp.tile(subject.canvas(), (batch_size, 1, 1, 1)),
        jnp.tile(jnp.array([IMAGE_SIZE]), (batch_size, 1)),
        Choices(
            score_thresholds=jnp.zeros(NUM_CLASSES),
            mask_margin=jnp.float32(0),
            candidate_threshold=threshold,
            iou_threshold=jnp.float32(0.5),
        ),
    )
    gflops = forward_gflops(subject.config, batch_size)
    return measure(subject, "whole", batch_size, gflops, predict, *arguments)


def measure_stages(subject: Subject) -> list[dict]:
    """Times the parts, each as a program of its own; batch size 1."""
    model, config = subject.model, subject.config
    common = {
        "features": config.model.features,
        "dtype": model.dtype,
        "winograd": model.winograd,
    }
    images = subject.network_input()
    predictions = subject.predict(images)
    rows = [
        measure(
            subject,
            "network",
            1,
            forward_gflops(config, 1),
            lambda v, x: model.apply(v, x, train=False),
            subject.variables,
            images,
        )
    ]

    def stage(name: str, module, *inputs, **options):
        part = {
            key: tree[name] for key, tree in subject.variables.items() if name in tree
        }

        def apply(part, *inputs):
            return module.apply(part, *inputs, **options)

        rows.append(measure(subject, name, 1, None, apply, part, *inputs))
        return jax.jit(apply)(part, *inputs)

    maps = stage("backbone", model.backbone, images, use_running_average=True)
    levels = stage("fpn", FPN(**common), maps)
    prototypes = ProtoNet(config.model.num_prototypes, **common)
    stage("protonet", prototypes, levels[0])
    head = PredictionHead(
        NUM_CLASSES, model.anchors_per_cell, config.model.num_prototypes, **common
    )
    stage("head", AllLevels(head), levels)
    return rows + measure_postprocessing(subject, predictions)


class AllLevels:
    """A head applied to every pyramid level."""

    def __init__(self, head: PredictionHead):
        """Wraps the head."""
        self._head = head

    def apply(self, variables: dict, levels: list[jax.Array]):
        """Predicts from all levels."""
        return [self._head.apply(variables, level) for level in levels]


def measure_postprocessing(subject: Subject, predictions) -> list[dict]:
    """Times detection, and the masks of what it found."""

    def find(predictions, threshold):
        return detect(
            predictions,
            subject.anchors,
            score_threshold=threshold,
            iou_threshold=0.5,
            options=subject.options,
            input_size=subject.frame.size,
        )

    def masks(detections, prototypes):
        size = jnp.array(IMAGE_SIZE)
        return full_size_masks(detections, prototypes, size, IMAGE_SIZE)

    threshold = subject.score_threshold(predictions)
    detection = measure(
        subject, "decode and NMS", 1, None, find, predictions, threshold
    )
    found = jax.jit(find)(predictions, threshold)
    first = jax.tree.map(lambda x: x[0], found), predictions.prototypes[0]
    return [detection, measure(subject, "masks", 1, None, masks, *first)]


def measure(subject, stage, batch_size, gflops, function, *arguments) -> dict:
    """Compiles and times one program; returns a row."""
    program, compile_s = timing.compile_program(function, *arguments)
    median, p90 = timing.time_program(program, *arguments, repeats=_REPEATS.value)
    return measurement.print_row(
        subject.describe(batch_size)
        | {
            "stage": stage,
            "compile_s": round(compile_s, 1),
            "median_ms": round(median, 2),
            "p90_ms": round(p90, 2),
            "images_per_s": round(1e3 * batch_size / median, 2),
            "gflops_per_s": round(1e3 * gflops / median) if gflops else None,
            "temporary_mib": timing.temporary_mib(program),
        }
    )


def measure_subject(subject: Subject) -> Iterator[dict]:
    """Measures the whole for all batch sizes, then the stages."""
    predictions = subject.predict(subject.network_input())
    threshold = subject.score_threshold(predictions)
    for batch_size in _BATCHES.value:
        yield measure_whole(subject, int(batch_size), threshold)
    if _STAGES.value:
        yield from measure_stages(subject)


def main(_) -> None:
    """Runs all cases and writes the rows."""
    rows = (
        row
        for name in _CONFIGS.value
        for dtype in _DTYPES.value
        for winograd in _WINOGRAD.value
        for row in measure_subject(Subject(name, dtype, winograd))
    )
    timing.write_as_measured(_RESULTS.value, "inference", rows)


if __name__ == "__main__":
    app.run(main)
