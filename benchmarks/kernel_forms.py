"""What each form of our own gains for a whole training step, and for whole inference.

    python benchmarks/kernel_forms.py --configs=shapes,nuclei,yolact_resnet50

Each variant has the plain form of XLA in the place of one of ours: see `FORMS`.  The
programs of all variants take turns, so that they see the same load of the machine.  A
row has the time of all cores that a step, or a picture of 640 x 480, takes without the
form, so that other programs on a CPU do not count (of an accelerator it has wall time);
its gain is that time over the one with all forms.  Layers alone are in `layers.py`.
"""

import argparse
import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measurement, real_models, timing
from benchmarks.layer_forms import windowed_max_pool
from benchmarks.real_models import NUM_CLASSES
from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.inference import find
from yolact_jax.inference.detect import Shortcuts
from yolact_jax.inference.engine import (
    canvas_side,
    make_predict_fn,
    prepare_variables,
)
from yolact_jax.inference.options import Choices
from yolact_jax.losses import yolact as losses
from yolact_jax.models import batch_norm, fpn, heads, layers, resnet
from yolact_jax.models.kernels.convolution import plain_convolution
from yolact_jax.tools.commands import large_pages
from yolact_jax.training import parts
from yolact_jax.zoo.specs import SPEC_NAMES, spec

_IMAGE_SIZE = (480, 640)
_MOST_IN_A_BATCH = {550: 2}  # Side of the input -> images, for memory and time.
_KEPT_STATISTICS = 6  # Below it, training keeps those of pretrained weights.


def plain_pointwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The plain form of `pointwise_convolution`."""
    return plain_convolution(x, kernel, stride, 0)


def plain_resize(x: jax.Array, size, *, axes=(-2, -1)) -> jax.Array:
    """The plain form of `resize_bilinear`."""
    shape = list(x.shape)
    for axis, length in zip(axes, size, strict=True):
        shape[axis] = length
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def plain_normalize(epsilon, axis_name, dtype, x, scale, bias, shift):
    """The plain form of batch normalization; its gradient is JAX's own."""
    del axis_name, shift
    mean, var = (form(x, (0, 1, 2), keepdims=True) for form in (jnp.mean, jnp.var))
    normal = (x - mean) * jax.lax.rsqrt(var + epsilon)
    y = (normal * scale[None, None, None] + bias[None, None, None]).astype(dtype)
    return y, *(jax.lax.stop_gradient(each.ravel()) for each in (mean, var))


_plain_detect = functools.partial(find.detect, shortcuts=Shortcuts(capacities=()))
FORMS: dict[str, list[tuple[object, str, Callable]]] = {
    "Winograd's algorithm": [],  # A field of the config.
    "1x1 convolution as a product": [
        (layers, "pointwise_convolution", plain_pointwise)
    ],
    "gradients of strided convolution": [(layers, "convolution", plain_convolution)],
    "max pooling": [(resnet, "max_pool", windowed_max_pool)],
    "normalization in one pass": [(batch_norm, "_normalize", plain_normalize)],
    "bilinear resizing": [
        (module, "resize_bilinear", plain_resize) for module in (fpn, heads, losses)
    ],
    "shortcuts of detection": [(find, "detect", _plain_detect)],
}
"""Form -> (module, name, plain form) of what takes its place."""
_ALL = "none"


def variants(kind: str, *, keeps_statistics: bool = False) -> list[str]:
    """The forms that matter, after `none`, with which all are in place.

    Args:
      kind: "training" or "inference".
      keeps_statistics: training does not normalize by the statistics of the batch.
    """
    never = {
        "training": {"shortcuts of detection"},
        # Stored statistics are folded into kernels; only gradients of pooling differ.
        "inference": {
            "gradients of strided convolution",
            "max pooling",
            "normalization in one pass",
        },
    }
    forms = [form for form in FORMS if form not in never[kind]]
    if keeps_statistics and kind == "training":
        forms.remove("normalization in one pass")
    return [_ALL, *forms]


@contextlib.contextmanager
def without(form: str) -> Iterator[dict[str, str]]:
    """Puts the plain form in the place of ours; yields fields of the config for it."""
    with contextlib.ExitStack() as stack:
        for module, name, plain in FORMS.get(form, ()):
            stack.enter_context(mock.patch.object(module, name, plain))
        yield {"model.winograd": "no"} if form == "Winograd's algorithm" else {}


def training_step(config: Config) -> tuple[Callable[[], object], float]:
    """Compiles a step; returns what makes one, each from the last, and the seconds."""
    step, state, batch = real_models.training_step(config)
    program, compile_s = timing.compile_program(step, state, batch)
    states = [state]

    def call() -> None:
        state, _ = program(states.pop(), batch)
        states.append(jax.block_until_ready(state))

    return call, compile_s


def inference(config: Config) -> tuple[Callable[[], object], float]:
    """Compiles inference of a random network; returns a call, and the seconds."""
    state = jax.jit(parts.initial_state_fn(config, NUM_CLASSES))(jax.random.key(0))
    model, frame = build.make_model(config, NUM_CLASSES), config.data.frame
    predict = make_predict_fn(model, build.make_anchors(config), frame, config.eval)
    choices = Choices(
        score_thresholds=np.zeros(NUM_CLASSES, np.float32),
        mask_margin=np.zeros((), np.float32),
        candidate_threshold=np.asarray(config.eval.candidate_threshold, np.float32),
        iou_threshold=np.asarray(config.eval.iou_threshold, np.float32),
    )
    side = canvas_side(np.empty(_IMAGE_SIZE))
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (1, side, side, 3), np.uint8)
    variables = prepare_variables(model, state.inference_variables, frame.size)
    sizes = np.array([_IMAGE_SIZE], np.int32)
    arguments = jax.device_put((variables, canvas, sizes, choices))
    program, compile_s = timing.compile_program(predict, *arguments)
    return lambda: jax.block_until_ready(program(*arguments)), compile_s


_CALLS = {"training": training_step, "inference": inference}


def make_config(name: str) -> Config:
    """The config, with a batch that a laptop has memory for."""
    config = spec(name)
    most = _MOST_IN_A_BATCH.get(config.data.frame.height, config.train.batch_size)
    freeze = "yes" if most < _KEPT_STATISTICS else "no"
    return config.replace({"train.batch_size": most, "model.freeze_bn": freeze})


def measure(name: str, kind: str, repeats: int) -> list[dict]:
    """Times all variants in turns; returns their rows."""
    config, calls, rows = make_config(name), [], []
    for form in variants(kind, keeps_statistics=config.model.freeze_bn == "yes"):
        # Traces of other variants, which differ in nothing but the patched functions.
        jax.clear_caches()
        with without(form) as fields:
            call, compile_s = _CALLS[kind](config.replace(fields))
        calls.append(call)
        images = config.train.batch_size if kind == "training" else 1
        row = {"config": name, "kind": kind, "images": images, "without": form}
        rows.append(row | {"compile_s": round(compile_s, 1)})
    is_cpu = jax.default_backend() == "cpu"
    clock = time.process_time if is_cpu else time.perf_counter
    times = measurement.time_calls_in_turns(calls, repeats, clock)
    for row, (median, p90) in zip(rows, times, strict=True):
        row["median_ms"], row["p90_ms"] = round(median, 1), round(p90, 1)
        row["gain"] = round(median / times[0][0], 3)
        measurement.print_row(row)
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    configs, kinds = map(measurement.words_of, (SPEC_NAMES, ("training", "inference")))
    default = "shapes,nuclei,yolact_resnet50"
    parser.add_argument("--configs", type=configs, default=default)
    parser.add_argument("--kinds", type=kinds, default="training,inference")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each")
    parser.add_argument("--results", default="benchmarks/results")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs all cases and writes the rows."""
    options, rows = parse(), []
    for name in options.configs:
        for kind in options.kinds:
            rows += measure(name, kind, options.repeats)
            timing.write_rows(options.results, "kernel_forms", rows)


if __name__ == "__main__":
    large_pages.start_again_with_them()
    main()
