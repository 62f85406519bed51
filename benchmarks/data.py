"""Images per second that one core prepares for training, and what takes the time.

    python benchmarks/data.py --data data/coco

`--data` is any folder in COCO format: json files in `annotations/`, and folders of
images.  Of several json files the one with "train" in its name is taken, and the images
from the folder that has its first image; `--annotations` and `--images` choose others.

All is measured in CPU time of this process, with one loading thread: other programs on
the machine change the wall time, but hardly this.  Rows with the machine and the
versions go to a file in `benchmarks/results` named by both.  With several
`--mask_targets` or `--caches`, all combinations take turns.
"""

import contextlib
import datetime
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from unittest import mock

import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import measurement
from benchmarks.stage_timer import StageTimer
from yolact_jax.cli import start_logging
from yolact_jax.config import Augment, InputFrame
from yolact_jax.data import images, pipeline
from yolact_jax.data.augment import photometric, rasterize, sample, targets, view
from yolact_jax.data.records.cache import CachedSource, Source
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.data.sources.coco_builder import prepare_coco

_DATA = flags.DEFINE_string("data", None, "Folder in COCO format.")
_ANNOTATIONS = flags.DEFINE_string("annotations", None, "Json file, if not in --data.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of images, if not in --data.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", 550, "Side of the input, pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Images per batch.")
_TARGETS = flags.DEFINE_list("mask_targets", "original", "Of `data.mask_target`.")
_CACHES = flags.DEFINE_list("caches", "no", "Of `data.cache`; full when it is timed.")
_TURNS = flags.DEFINE_integer("turns", 1, "Measurements of each combination.")
_BATCHES = flags.DEFINE_integer("batches", 100, "Batches to measure.")
_RESULTS = flags.DEFINE_string(
    "results", str(Path(__file__).parent / "results"), "Folder of results."
)

_WARMUP_BATCHES = 8
_MAX_OBJECTS = 100
# Stage -> the functions whose time it is, without that of other stages in them.
_STAGES = {
    "decode": [(images, "decode_values")],
    "geometry": [(sample, "choose_view"), (sample, "select")],
    "colour": [(photometric, "apply")],
    "resize": [(view, "draw_view")],
    "rasterise": [(rasterize, "object_masks"), (targets, "original_masks")],
    "collate": [(pipeline, "collate")],
}


class _TimedSource:
    """A source whose reading is timed."""

    def __init__(self, source: Source, timer: StageTimer):
        self._read = timer.timed("read", source.__getitem__)
        self.num_objects = source.num_objects

    def __getitem__(self, index: int):
        return self._read(index)


@contextlib.contextmanager
def _timed_stages(timer: StageTimer) -> Iterator[None]:
    """Times the functions of the stages."""
    with contextlib.ExitStack() as stack:
        for stage, functions in _STAGES.items():
            for module, name in functions:
                wrapped = timer.timed(stage, getattr(module, name))
                stack.enter_context(mock.patch.object(module, name, wrapped))
        yield


def measure(
    source: Source,
    *,
    batches: int,
    batch_size: int,
    input_size: int,
    mask_target: str = "original",
) -> dict[str, float]:
    """Runs the training pipeline with full augmentation.

    Args:
      source: the split.
      batches: how many to measure.
      batch_size: images per batch.
      input_size: side of the network input, pixels.
      mask_target: see `config.Data`.

    Returns:
      `images_per_cpu_s`, `images_per_wall_s`, and CPU milliseconds per image of each
      stage, of `other`, which is the rest, and in `all`.
    """
    timer = StageTimer()
    arguments = {
        "batch_size": batch_size,
        "frame": InputFrame(input_size, input_size),
        "mask_size": 2 * -(-input_size // 8),
        "mask_target": mask_target,
        "max_objects": _MAX_OBJECTS,
        "augment": Augment(),
        "seed": 0,
        "num_workers": 0,
        "num_threads": 1,
    }
    source = _TimedSource(source, timer)
    with _timed_stages(timer), pipeline.training_batches(source, **arguments) as loaded:
        for _ in range(_WARMUP_BATCHES):
            next(loaded)
        timer.seconds.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(batches):
            next(loaded)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stages = {stage: timer.seconds[stage] for stage in ("read", *_STAGES)}
    count = batches * batch_size
    stages["other"] = max(cpu - sum(stages.values()), 0.0)
    return {
        "images_per_cpu_s": count / cpu,
        "images_per_wall_s": count / wall,
        **{f"{stage}_ms": 1e3 * s / count for stage, s in stages.items()},
        "all_ms": 1e3 * cpu / count,
    }


def find_set(folder: Path) -> tuple[Path, Path]:
    """Finds a json file and its images in a COCO-format folder.

    Args:
      folder: with `annotations/*.json`, or json files of its own.

    Returns:
      The json file and the folder of images.

    Raises:
      ValueError: there is no such file, or no folder has its first image.
    """
    files = sorted([*folder.glob("annotations/*.json"), *folder.glob("*.json")])
    if not files:
        raise ValueError(f"--data {folder}: has no annotations/*.json.")
    file = next((f for f in files if "train" in f.name), files[0])
    name = json.loads(file.read_bytes())["images"][0]["file_name"]
    folders = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    found = next((f for f in folders if (f / name).is_file()), None)
    if found is None:
        raise ValueError(f"--data {folder}: no folder in it has {name} of {file.name}.")
    return file, found


def machine() -> dict[str, str | int]:
    """Describes the processor and the versions that matter."""
    packages = ("numpy", "opencv-python-headless", "simplejpeg", "grain")
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def results_name() -> str:
    """Names the results by processor and versions."""
    versions = [
        f"{package.partition('-')[0]}{metadata.version(package)}"
        for package in ("opencv-python-headless", "simplejpeg", "grain")
    ]
    return "-".join(["data-cpu", platform.machine(), *versions]) + ".csv"


def _print_table(row: dict[str, float]) -> None:
    """Prints the milliseconds of each stage, and the rates."""
    for name in (name for name in row if name.endswith("_ms")):
        share = row[name] / row["all_ms"]
        print(f"{name.removesuffix('_ms'):10} {row[name]:7.3f} ms {share:6.1%}")
    print(f"{row['images_per_cpu_s']:.0f} images/s of CPU time (one core)")
    print(f"{row['images_per_wall_s']:.0f} images/s of wall time, one loading thread")


def main(_) -> None:
    """Measures, prints and saves."""
    start_logging()
    try:
        file, folder = find_set(Path(_DATA.value)) if _DATA.value else (None, None)
        with tempfile.TemporaryDirectory() as records:
            dataset = prepare_coco(
                data_dir=records,
                train_annotations=_ANNOTATIONS.value or file,
                train_images=_IMAGES.value or folder,
                validation_annotations=None,
                validation_images=None,
                skip_bad=True,
            )
            settings = {
                "batch_size": _BATCH_SIZE.value,
                "batches": _BATCHES.value,
                "input_size": _INPUT_SIZE.value,
            }
            source = dataset.source("train")
            print(f"{np.count_nonzero(source.num_objects)} images with objects")
            rows = [{**choice, **row} for choice, row in _choices(source, settings)]
    except ValueError as error:
        sys.exit(f"data.py: {error}")
    file = Path(_RESULTS.value) / results_name()
    measurement.write_csv(file, [machine() | settings | row for row in rows])
    print(file)


def _choices(
    source: RecordSource, settings: dict[str, int]
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """Measures all that the flags ask for in turns, and prints it."""
    sources: dict[str, Source] = {
        kind: source if kind == "no" else CachedSource(source, kind)
        for kind in _CACHES.value
    }
    for kind in sources.keys() - {"no"}:
        for _ in sources[kind]:  # Decodes them all.
            pass
    for _ in range(_TURNS.value):
        for target, (kind, each) in itertools.product(_TARGETS.value, sources.items()):
            row = measure(each, mask_target=target, **settings)
            print(f"mask_target {target}, cache {kind}")
            _print_table(row)
            rounded = {name: round(value, 3) for name, value in row.items()}
            yield {"mask_target": target, "cache": kind}, rounded


if __name__ == "__main__":
    app.run(main)
