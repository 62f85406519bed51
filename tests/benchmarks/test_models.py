"""The benchmarks of whole models run, and their batches are what training gets."""

import csv
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import layer_forms
from benchmarks.real_models import fake_batch, load_config

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


def test_fake_objects_lie_in_the_image_and_have_their_masks():
    batch = fake_batch(load_config("shapes"), 2, objects=3)
    assert batch.is_object.sum() == 6
    boxes = batch.boxes[batch.is_object]
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert 0 <= boxes.min() <= boxes.max() <= 1
    areas = batch.masks[batch.is_object].mean((1, 2))
    np.testing.assert_allclose(areas, np.prod(boxes[:, 2:] - boxes[:, :2], 1), atol=0.1)


LAYERS = {case[0].split()[0]: case for case in layer_forms.cases("float32")}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_two_forms_of_a_layer_agree(kind):
    _, ours, plain, (_, _, channels), kernel_shape = LAYERS[kind]
    generator = np.random.default_rng(0)
    shapes = [(2, 7, 9, channels), kernel_shape][: 2 if kernel_shape else 1]
    inputs = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    expected = plain(*inputs)
    np.testing.assert_allclose(ours(*inputs), expected, atol=1e-3 * expected.std())


@pytest.mark.slow
def test_layers_command_writes_its_rows(tmp_path):
    command = [sys.executable, BENCHMARKS / "layers.py", f"--results={tmp_path}"]
    sizes = ["--batch_sizes=1", "--repeats=1", "--dtypes=bfloat16"]
    subprocess.run(command + sizes, check=True)
    (file,) = tmp_path.iterdir()
    rows = list(csv.DictReader(file.open()))
    assert len(rows) > 30
    assert all(float(row[form]) > 0 for row in rows for form in ("ours_ms", "plain_ms"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "column"), [("inference", "stage"), ("train_step", "step_s")]
)
def test_command_writes_its_rows(script, column, tmp_path):
    arguments = ("--configs=shapes", "--dtypes=float32", "--batch_sizes=1,2")
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", *arguments]
        + ["--repeats=1", f"--results={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.iterdir()
    rows = list(csv.DictReader(file.open()))
    assert len(rows) >= 2
    assert all(row[column] for row in rows)
