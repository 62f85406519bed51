"""Times one model in XLA and its exported file in ONNX Runtime, on a CPU.

    python benchmarks/exported.py --config=yolact_resnet50

Weights, image and threshold are those of `inference.py`: 300 anchors enter NMS, and all
that it keeps get masks.  Both runtimes take turns, so that they see the same load.
"whole" is from the pixels of a 640 x 480 image to its masks; in ONNX Runtime's profile,
"convolutions" is the share of the time that its nodes of that kind take.
"""

import collections
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import numpy as np
import onnxruntime
from absl import app, flags

from benchmarks import inference, measurement, timing
from benchmarks.real_models import NUM_CLASSES
from yolact_jax.export.onnx.file import export_onnx
from yolact_jax.inference.engine import make_predict_fn
from yolact_jax.inference.options import Choices
from yolact_jax.run.folder import Run

_CONFIG = flags.DEFINE_string("config", "yolact_resnet50", "Model.")
_TIMED = flags.DEFINE_integer("timed", 9, "Timed calls.")
_FOLDER = flags.DEFINE_string("folder", "benchmarks/results", "Folder of results.")


def make_choices(subject: inference.Subject) -> Choices:
    """Lets as many anchors pass as with a trained network on a photograph."""
    predictions = subject.predict(subject.network_input())
    scalars = (0.0, subject.score_threshold(predictions), 0.5)
    scores = np.zeros(NUM_CLASSES, np.float32)
    return Choices(scores, *(np.asarray(x, np.float32) for x in scalars))


def xla_call(subject: inference.Subject, choices: Choices, canvas, size):
    """Returns a function of no arguments that detects in XLA."""
    predict = make_predict_fn(
        subject.model, subject.anchors, subject.frame, subject.options
    )
    arguments = subject.variables, canvas[None], np.array([size], np.int32), choices
    program, _ = timing.compile_program(predict, *arguments)
    return lambda: jax.block_until_ready(program(*arguments))


def start_session(path: Path, *, profile: bool = False) -> onnxruntime.InferenceSession:
    """Opens a file with as many threads as there are cores."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = profile
    options.profile_file_prefix = str(path.with_suffix(""))
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def shares(path: Path, inputs: dict) -> dict[str, float]:
    """Share of the time of each kind of node, largest first."""
    session = start_session(path, profile=True)
    for _ in range(3):
        session.run(None, inputs)
    events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, float] = collections.Counter()
    for event in events:
        if event.get("cat") == "Node":
            spent[event["args"].get("op_name", "")] += event["dur"]
    whole = sum(spent.values())
    return {kind: time / whole for kind, time in spent.most_common()}


def measure(subject: inference.Subject, path: Path) -> list[dict]:
    """Exports the model, times both, and profiles ONNX Runtime."""
    variables = jax.device_get(subject.variables)
    names = tuple(f"class {i}" for i in range(NUM_CLASSES))
    run = Run(subject.config, names, tuple(range(1, NUM_CLASSES + 1)))
    export_onnx(run, variables, path)
    choices, canvas = make_choices(subject), np.asarray(subject.canvas())
    size = inference.IMAGE_SIZE
    inputs = {"image": canvas[None, : size[0], : size[1]], **vars(choices)}
    session = start_session(path)
    calls = [
        xla_call(subject, choices, canvas, size),
        lambda: session.run(None, inputs),
    ]
    times = measurement.time_calls_in_turns(calls, _TIMED.value)
    kinds = shares(path, inputs)
    print({kind: round(share, 3) for kind, share in list(kinds.items())[:12]})
    convolutions = sum(kinds.get(kind, 0.0) for kind in ("Conv", "FusedConv"))
    runtimes = (
        ("XLA", f"jax {jax.__version__}", None),
        ("ONNX Runtime", onnxruntime.__version__, round(convolutions, 2)),
    )
    return [
        measurement.print_row(
            {
                "config": subject.name,
                "stage": "whole",
                "runtime": runtime,
                "version": version,
                "batch_size": 1,
                "median_ms": round(median, 1),
                "p90_ms": round(p90, 1),
                "images_per_s": round(1e3 / median, 2),
                "convolutions": share,
            }
        )
        for (runtime, version, share), (median, p90) in zip(
            runtimes, times, strict=True
        )
    ]


def main(_) -> None:
    """Writes the rows."""
    subject = inference.Subject(_CONFIG.value, "float32", "auto")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(subject, Path(folder) / "model.onnx")
    name = f"exported-cpu-onnxruntime{onnxruntime.__version__}.csv"
    measurement.write_csv(Path(_FOLDER.value) / name, rows)


if __name__ == "__main__":
    app.run(main)
