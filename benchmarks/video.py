"""Times a video from file to file, against the network alone.

    python benchmarks/video.py --model=yolact_resnet50 --num_frames=24

The clip is made up, 640 x 480; weights are random, with thresholds for which 300
anchors enter NMS and about ten objects are drawn, as on a photograph.  The whole
command's work, the compiled program from pixels to masks, and the network in it are
timed in turns.  Where other work shares the processor, compare the CPU times: those of
all threads, which do not count what others use.
"""

import dataclasses
import functools
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import av
import jax
import numpy as np
from absl import app, flags

from benchmarks import measurement, timing
from benchmarks.inference import Subject
from benchmarks.real_models import NUM_CLASSES
from yolact_jax import build
from yolact_jax.inference.options import PredictOptions
from yolact_jax.results.files import predict_files
from yolact_jax.results.predictor import Predictor

_MODEL = flags.DEFINE_string("model", "yolact_resnet50", "Name of the config.")
_FRAMES = flags.DEFINE_integer("num_frames", 24, "Frames of the clip.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of all that is timed.")
_TRACK = flags.DEFINE_bool("track", False, "Whether to follow the objects.")
_SIZE = (480, 640)
_OBJECTS = 10
_RATE = 24
Times = np.ndarray
"""[2] float64, seconds of the clock and of the processors."""


def write_clip(path: Path, num_frames: int) -> np.ndarray:
    """Writes smooth noise that moves; returns its first frame, [h, w, 3] uint8 RGB."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    picture = coarse.repeat(_SIZE[0] // 30, 0).repeat(_SIZE[1] // 40, 1)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=_RATE)
        stream.height, stream.width = _SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(num_frames):
            moved = np.roll(picture, 4 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return picture


class Whole:
    """A predictor for a clip, with thresholds that fit its random weights."""

    def __init__(self, subject: Subject, picture: np.ndarray):
        """Compiles the program."""
        self._subject = subject
        engine = build.make_engine(subject.config, subject.variables, NUM_CLASSES)
        predictions = subject.predict(subject.network_input(picture))
        threshold = float(subject.score_threshold(predictions))
        engine = dataclasses.replace(engine, candidate_threshold=threshold)
        names = [f"class {number}" for number in range(NUM_CLASSES)]
        self.predictor = Predictor(lambda: engine, names)
        found = self.predictor.predict(picture, score_threshold=0.0)
        least = float(np.sort(found.scores)[-_OBJECTS]) if len(found) else 0.0
        self._options = PredictOptions(score_threshold=least)
        self._picture = picture

    def from_file_to_file(self, clip: Path, num_frames: int) -> Times:
        """Times of a frame of everything that the command does."""
        with tempfile.TemporaryDirectory() as output:
            start = _now()
            problems = predict_files(
                self.predictor,
                clip,
                output,
                options=self._options,
                with_tracks=_TRACK.value,
            )
            if problems:
                raise RuntimeError(problems)
            return (_now() - start) / num_frames

    def program_alone(self, num_frames: int) -> Times:
        """Times of a frame of the compiled program, frames being on the device."""
        engine = self.predictor.engine
        batch = engine.batch_size
        canvas = self._subject.canvas()
        canvases = jax.device_put(np.tile(canvas, (batch, 1, 1, 1)))
        sizes = jax.device_put(np.tile(np.array([_SIZE], np.int32), (batch, 1)))
        choices = self.predictor.choices(self._options)
        run = functools.partial(
            engine.predict_fn, engine.variables, canvases, sizes, choices
        )
        return _times(run, -(-num_frames // batch)) / batch

    def network_alone(self, num_frames: int) -> Times:
        """Times of a frame of the network, one frame at a time."""
        images = self._subject.network_input()
        return _times(lambda: self._network(images), num_frames)

    @functools.cached_property
    def _network(self):
        apply = functools.partial(self._subject.model.apply, train=False)
        return functools.partial(jax.jit(apply), self._subject.variables)


def _now() -> Times:
    return np.array([time.perf_counter(), time.process_time()])


def _times(function, calls: int) -> Times:
    jax.block_until_ready(function())
    start = _now()
    for _ in range(calls):
        jax.block_until_ready(function())
    return (_now() - start) / calls


def main(_) -> None:
    """Times all in turns and writes a row for each."""
    subject = Subject(_MODEL.value, "float32", "auto")
    num_frames = _FRAMES.value
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        whole = Whole(subject, write_clip(clip, num_frames))
        ways = {
            "file to file": lambda: whole.from_file_to_file(clip, num_frames),
            "program alone": lambda: whole.program_alone(num_frames),
            "network alone": lambda: whole.network_alone(num_frames),
        }
        times = {name: [] for name in ways}
        for _ in range(_ROUNDS.value):
            for name, way in ways.items():
                times[name].append(way())
    best = {name: np.min(values, axis=0) for name, values in times.items()}
    rows = [
        measurement.print_row(
            subject.describe(whole.predictor.engine.batch_size)
            | {
                "what": name,
                "best_ms": round(1e3 * wall_s, 1),
                "cpu_ms": round(1e3 * cpu_s, 1),
                "frames_per_s": round(1 / wall_s, 3),
                "of_file_to_file": round(wall_s / best["file to file"][0], 3),
                "of_its_cpu_time": round(cpu_s / best["file to file"][1], 3),
            }
        )
        for name, (wall_s, cpu_s) in best.items()
    ]
    timing.write_rows(flags.FLAGS.results, "video", rows)


if __name__ == "__main__":
    app.run(main)
