"""Times one model in XLA, its exported file in ONNX Runtime, and PyTorch, on a CPU.

    python benchmarks/exported.py --config=yolact_resnet50

Weights, image and threshold are those of `inference.py`: 300 anchors enter NMS, and all
that it keeps get masks.  All take turns, so that they see the same load.  "whole" is
from the pixels of a 640 x 480 image to its masks, "network" the network alone, which
PyTorch runs with weights of its own if it is installed.  In ONNX Runtime's profile,
"convolutions" is the share of the time that its nodes of that kind take.
"""

import collections
import functools
import importlib.metadata
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
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


def xla_network_call(subject: inference.Subject) -> Callable[[], object]:
    """Returns a function of no arguments that runs the network alone in XLA."""
    apply = functools.partial(subject.model.apply, train=False)
    arguments = subject.variables, subject.network_input()
    program, _ = timing.compile_program(apply, *arguments)
    return lambda: jax.block_until_ready(program(*arguments))


def pytorch_call(
    config: str, input_size: tuple[int, int], memory_format: str
) -> Callable[[], object]:
    """Returns a function of no arguments that runs the network in PyTorch."""
    import torch

    from benchmarks.pytorch_yolact import Yolact

    layout = getattr(torch, memory_format)
    network = Yolact(config).train(False).to(memory_format=layout)
    images = torch.randn(1, 3, *input_size).to(memory_format=layout)
    return torch.no_grad()(lambda: network(images))


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


def make_calls(
    subject: inference.Subject, path: Path
) -> tuple[dict[tuple[str, str, str], Callable[[], object]], dict]:
    """Exports the model and makes everything ready to be timed.

    Returns:
      (stage, runtime, its version) -> function of no arguments, and the inputs of the
      exported file.
    """
    names = tuple(f"class {i}" for i in range(NUM_CLASSES))
    run = Run(subject.config, names, tuple(range(1, NUM_CLASSES + 1)))
    export_onnx(run, jax.device_get(subject.variables), path)
    choices, canvas = make_choices(subject), np.asarray(subject.canvas())
    size = inference.IMAGE_SIZE
    inputs = {"image": canvas[None, : size[0], : size[1]], **vars(choices)}
    session, xla = start_session(path), ("XLA", f"jax {jax.__version__}")
    calls = {
        ("whole", *xla): xla_call(subject, choices, canvas, size),
        ("whole", "ONNX Runtime", onnxruntime.__version__): (
            lambda: session.run(None, inputs)
        ),
        ("network", *xla): xla_network_call(subject),
    }
    if importlib.util.find_spec("torch"):
        version = importlib.metadata.version("torch").partition("+")[0]
        for layout in ("contiguous_format", "channels_last"):
            call = pytorch_call(subject.name, subject.frame.size, layout)
            calls["network", f"PyTorch, {layout}", version] = call
    return calls, inputs


def measure(subject: inference.Subject, path: Path) -> list[dict]:
    """Exports the model, times all in turns, and profiles ONNX Runtime."""
    calls, inputs = make_calls(subject, path)
    times = measurement.time_calls_in_turns(list(calls.values()), _TIMED.value)
    kinds = shares(path, inputs)
    print({kind: round(share, 3) for kind, share in list(kinds.items())[:12]})
    convolutions = sum(kinds.get(kind, 0.0) for kind in ("Conv", "FusedConv"))
    return [
        measurement.print_row(
            {
                "config": subject.name,
                "stage": stage,
                "runtime": runtime,
                "version": version,
                "batch_size": 1,
                "median_ms": round(median, 1),
                "p90_ms": round(p90, 1),
                "images_per_s": round(1e3 / median, 2),
                "convolutions": (
                    round(convolutions, 2) if runtime == "ONNX Runtime" else None
                ),
            }
        )
        for (stage, runtime, version), (median, p90) in zip(calls, times, strict=True)
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
