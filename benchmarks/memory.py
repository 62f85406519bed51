"""Peak memory of predict.py on images of 0.3, 12 and 48 megapixels.

    python benchmarks/memory.py [--workdir runs/shapes]

Without a run, a small network is trained for one step: nearly random, it finds as many
objects as there may be, which is the worst case.  Each image has a process of its own,
whose largest resident set is what counts; the process without any image, which only
loads the network, is there to compare with.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags

_ROOT = Path(__file__).parent.parent
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.")
_SCORES = flags.DEFINE_multi_float("score_threshold", [0.0, 0.3], "Least scores.")
_SIZES = {"none": None, "640x480": (480, 640)}
_SIZES |= {"12 MP": (3000, 4000), "48 MP": (6000, 8000)}
# Steps are counted in batches of 8 images.
_TRAINING = ("num_steps=1", "batch_size=8")


def peak_memory_mb(arguments: list[str]) -> tuple[float, int]:
    """Runs a command.

    Args:
      arguments: of the Python interpreter.

    Returns:
      The largest resident set in MB, and the exit status.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of `ru_maxrss`
    return usage.ru_maxrss * unit / 1e6, os.waitstatus_to_exitcode(status)


def _trained(folder: Path) -> str:
    """Trains for one step."""
    command = ["train.py", "--config=configs/shapes.py", f"--workdir={folder / 'run'}"]
    command += [f"--config.train.{setting}" for setting in _TRAINING]
    command += [
        "--config.data.shapes_train_images=8",
        "--config.data.shapes_validation_images=2",
        f"--config.data.records_dir={folder / 'records'}",
    ]
    _, status = peak_memory_mb(command)
    if status:
        sys.exit(f"memory.py: the training ended with status {status}.")
    return str(folder / "run")


def _image(folder: Path, size: tuple[int, int] | None) -> Path:
    """Writes a JPEG of noise in large squares, or a file that is no image."""
    path = folder / "photo.jpg"
    if size is None:
        path.write_bytes(b"no image")
        return path
    squares = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    pixels = cv2.resize(squares, size[::-1], interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), pixels)
    return path


def main(_) -> None:
    """Measures and prints a table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        workdir = _WORKDIR.value or _trained(folder)
        print("| image | score threshold | peak MB |\n| --- | --- | --- |")
        for name, size in _SIZES.items():
            image = _image(folder, size)
            for score in _SCORES.value:
                command = ["predict.py", f"--workdir={workdir}", f"--source={image}"]
                command += [f"--output={folder / 'out'}", f"--score_threshold={score}"]
                peak, status = peak_memory_mb([*command, "--overwrite"])
                failed = f" (exit status {status})" if status and size else ""
                print(f"| {name} | {score} | {peak:.0f}{failed} |", flush=True)


if __name__ == "__main__":
    app.run(main)
