"""The data benchmark runs, and counts every second once."""

import csv
import pathlib
import subprocess
import sys
import time

import pytest

from benchmarks.stage_timer import StageTimer

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "data.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.long
def test_command_prints_stages_and_writes_rows(coco, tmp_path):
    (coco.root / "annotations").mkdir()
    coco.file.rename(coco.root / "annotations" / "instances_train.json")
    results = tmp_path / "results"
    sizes = ("--input_size=64", "--batch_size=2", "--batches=3")
    choices = ("--mask_targets=original,center", "--caches=no,memory")
    done = run("--data", coco.root, "--results", results, *sizes, *choices)
    assert done.returncode == 0, done.stderr
    assert "images/s of CPU time" in done.stdout
    (file,) = results.glob("data-cpu-*-opencv*-grain*.csv")
    rows = list(csv.DictReader(file.open()))
    found = {(row["mask_target"], row["cache"]): row for row in rows}
    assert len(found) == len(rows) == 4
    first = found["original", "no"]
    for target in ("original", "center"):
        kept, not_kept = found[target, "memory"], found[target, "no"]
        assert float(kept["decode_ms"]) == 0 < float(not_kept["decode_ms"])
    *times, total = [float(first[name]) for name in first if name.endswith("_ms")]
    assert len(times) == 8
    assert all(took > 0 for took in times[:-1])
    assert sum(times) == pytest.approx(total, abs=0.02)
    assert first["input_size"] == "64"
    assert first["numpy"]


def test_folder_without_annotations_is_one_sentence(tmp_path):
    done = run("--data", tmp_path)
    assert done.returncode != 0
    assert "has no annotations/*.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_seconds_count_for_the_innermost_stage():
    timer = StageTimer()

    def spin(seconds):
        start = time.thread_time()
        while time.thread_time() - start < seconds:
            pass

    inner = timer.timed("inner", lambda: spin(0.2))

    def both():
        inner()
        spin(0.05)

    timer.timed("outer", both)()
    assert timer.seconds["inner"] == pytest.approx(0.2, abs=0.04)
    assert timer.seconds["outer"] == pytest.approx(0.05, abs=0.04)
