"""Times predictions on images of 0.3, 12 and 48 megapixels, with few and many objects.

    python benchmarks/large_images.py

The network has random weights, so the threshold is what shows 5 objects at 640x480,
and then 0, which shows all.  Compilation is left out: the median of later calls counts.
Each image has a process of its own, whose largest resident set so far is given too.
"""

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.real_models import NUM_CLASSES, load_config
from yolact_jax import build
from yolact_jax.data.images import read_image
from yolact_jax.results.predictor import Predictor

_MODEL = flags.DEFINE_string("model", "yolact_resnet50", "Config of the network.")
_CALLS = flags.DEFINE_integer("calls", 5, "Timed calls.")
_SIZE = flags.DEFINE_string("size", None, "Only this image, in this process.")
_SIZES = {"640x480": (480, 640), "12 MP": (3000, 4000), "48 MP": (6000, 8000)}
_FEW = 5


def make_predictor() -> Predictor:
    """Makes a predictor with random weights, for which all anchors are candidates."""
    config = load_config(_MODEL.value)
    model = build.make_model(config, NUM_CLASSES)
    images = jnp.zeros((1, *config.data.frame.size, 3))
    variables = jax.jit(lambda: model.init(jax.random.key(0), images, train=True))()
    names = [str(label) for label in range(NUM_CLASSES)]
    engine = build.make_engine(config, variables, NUM_CLASSES)
    engine = dataclasses.replace(engine, candidate_threshold=0.0)
    return Predictor(lambda: engine, names)


def with_fewer_candidates(predictor: Predictor, least: float) -> Predictor:
    """Lets only anchors of a better score enter NMS, as after training."""
    engine = dataclasses.replace(predictor.engine, candidate_threshold=least)
    return Predictor(lambda: engine, predictor.class_names)


def seconds(function, *args, **kwargs) -> float:
    """Returns the median time of some calls."""
    times = []
    for _ in range(_CALLS.value):
        start = time.perf_counter()
        function(*args, **kwargs)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def peak_mb() -> float:
    """Returns the largest resident set of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(name: str) -> None:
    """Measures one size, and prints a row of the table."""
    squares = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    pixels = cv2.resize(squares, _SIZES[name][::-1], interpolation=cv2.INTER_NEAREST)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        cv2.imwrite(str(path), pixels)
        decoding = seconds(read_image, path)
        image = read_image(path)
    predictor = make_predictor()
    small = cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_NEAREST)
    scores = predictor.predict(small, score_threshold=0.0).scores
    predictor = with_fewer_candidates(predictor, float(scores[-1]))
    cells = [name, f"{decoding * 1e3:.0f}"]
    for least in (float(scores[_FEW - 1]), 0.0):
        count = len(predictor.predict(image, score_threshold=least))
        call = seconds(predictor.predict, image, score_threshold=least)
        cells += [str(count), f"{call * 1e3:.0f}", f"{peak_mb():.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def main(_) -> None:
    """Measures all sizes, each in a process."""
    if _SIZE.value:
        measure(_SIZE.value)
        return
    columns = ["image", "decoding, ms", *["objects", "call, ms", "peak, MB"] * 2]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    for size in _SIZES:
        command = [
            sys.executable,
            __file__,
            f"--size={size}",
            f"--model={_MODEL.value}",
        ]
        subprocess.run([*command, f"--calls={_CALLS.value}"], check=False)


if __name__ == "__main__":
    app.run(main)
