"""Times the training step of real configs on made-up data.

    python benchmarks/train_step.py --configs=yolact_resnet50 --batch_sizes=2

Reports images a second, and the share of the device's own matrix product rate (model
FLOP utilisation; operations are those of the plain network, forward and backward).
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import numpy as np
from absl import app, flags

from benchmarks import measurement, real_models, timing
from benchmarks.real_models import forward_gflops, load_config
from yolact_jax.models.arithmetic import uses_winograd

_CONFIGS = flags.DEFINE_list("configs", "yolact_resnet50,yolact_base", "Models.")
_DTYPES = flags.DEFINE_list("dtypes", "float32,bfloat16", "Types of convolutions.")
_BATCHES = flags.DEFINE_list("batch_sizes", "2,8", "Images per step.")
_FREEZE_BN = flags.DEFINE_list(
    "freeze_bn", "auto", "Frozen batch normalisation: yes, no, auto (below 6 images)."
)
_WINOGRAD = flags.DEFINE_list("winograd", "auto", "auto, yes, no.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Timed steps.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results", "Folder of results.")


def measure(name: str, dtype: str, batch_size: int, freeze: str, winograd: str) -> dict:
    """Compiles and times one training step."""
    if freeze == "auto":  # As training from pretrained weights does.
        freeze = "yes" if batch_size < 6 else "no"
    config = load_config(name, compute_dtype=dtype, freeze_bn=freeze, winograd=winograd)
    config = config.replace({"train.batch_size": batch_size})
    step, state, batch = real_models.training_step(config)
    program, compile_s = timing.compile_program(step, state, batch)
    seconds = np.median(time_steps(program, state, batch))
    # The backward pass computes two products for each of the forward pass.
    gflops = 3 * forward_gflops(config, batch_size)
    return measurement.print_row(
        {
            "config": name,
            "dtype": dtype,
            "batch_size": batch_size,
            "freeze_bn": freeze,
            "winograd": "yes" if uses_winograd(config) else "no",
            "compile_s": round(compile_s, 1),
            "step_s": round(float(seconds), 4),
            "images_per_s": round(batch_size / float(seconds), 2),
            "gflops_per_s": round(gflops / float(seconds)),
            "peak_gflops_per_s": round(timing.peak_gflops(dtype)),
            "temporary_mib": timing.temporary_mib(program),
        }
    )


def time_steps(program, state, batch) -> list[float]:
    """Seconds of each step but the first; the state is donated from step to step."""
    times = []
    for _ in range(_REPEATS.value + 1):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(program(state, batch))
        times.append(time.perf_counter() - start)
    return times[1:]


def main(_) -> None:
    """Runs all cases and writes the rows."""
    rows = (
        measure(name, dtype, int(batch_size), freeze, winograd)
        for name in _CONFIGS.value
        for dtype in _DTYPES.value
        for batch_size in _BATCHES.value
        for freeze in _FREEZE_BN.value
        for winograd in _WINOGRAD.value
    )
    timing.write_as_measured(_RESULTS.value, "train_step", rows)


if __name__ == "__main__":
    app.run(main)
